//! Ports for programs that cannot be given port 0, and for stories that want the same port twice.

use std::net::{Ipv4Addr, TcpListener};

/// Returns a port at which nobody listens on the loopback. It is below those that the kernel gives to whoever asks for
/// any port, so that nobody else comes by it.
#[track_caller]
pub fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let tried = std::iter::repeat_with(|| fastrand::u16(10_000..32_000)).take(1000);
    tried.into_iter().find(is_free).expect("a port is free")
}

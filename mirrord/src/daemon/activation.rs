//! What passes between the daemon and the service manager that has started it: the socket to listen at, and the messages
//! that the daemon is ready, alive, stopping. Without a service manager none of this happens.

use std::{io, os::unix::net::UnixListener, time::Duration};

use anyhow::{Context, bail};
use common::{client::Client, paths::Paths, protocol::Failure};
use interprocess::{
    local_socket::tokio::Listener, os::unix::uds_local_socket::tokio::Listener as UnixSocket,
};
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// How often the watchdog is fed within its limit (`WatchdogSec`), so that one late message does no harm.
const FEEDS_PER_LIMIT: u32 = 3;

/// Takes the socket at which the service manager listens for the daemon; `None` without one. To be called before there are
/// threads, because it changes the environment.
///
/// # Errors
/// Fails where the socket is not the one at which clients look.
pub(crate) fn socket(paths: &Paths) -> anyhow::Result<Option<UnixListener>> {
    let mut passed = ListenFd::from_env();
    if passed.len() > 1 {
        bail!(
            "the service manager listens at {} sockets for mirrord",
            passed.len()
        );
    }
    let listener = passed
        .take_unix_listener(0)
        .context("cannot use what the service manager listens at")?;
    let Some(listener) = listener else {
        return Ok(None);
    };
    let address = listener.local_addr().ok();
    let path = address.as_ref().and_then(|address| address.as_pathname());
    let expected = paths.socket();
    if path != Some(expected.as_path()) {
        let path = path.map_or_else(String::new, |path| path.display().to_string());
        let failure = Failure::here(format!(
            "the service listens at '{path}', and this daemon belongs at '{}'",
            expected.display()
        ));
        return Err(failure
            .hinted("'mirrord service install' where git and mirrord find each other sets it right")
            .into());
    }
    if !expected.exists() {
        // No client could connect, and only the service manager can make the socket again.
        let failure = Failure::here(format!(
            "the service's socket '{}' is gone",
            expected.display()
        ));
        return Err(failure
            .hinted("'mirrord service install' has it made anew")
            .into());
    }
    Ok(Some(listener))
}

/// Listens at a socket that the service manager keeps. It stays when this daemon ends, and clients wait at it for the next
/// one.
///
/// # Errors
/// Fails where the socket cannot be used.
pub(crate) fn listen(socket: UnixListener) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    Ok(UnixSocket::try_from(std::os::fd::OwnedFd::from(socket))?.into())
}

/// Tells the service manager that clients are served from now on.
///
/// # Errors
/// Fails where the service manager cannot be told.
pub(crate) fn notify_ready() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("serving")])
}

/// Tells the service manager that the daemon is stopping.
pub(crate) fn notify_stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Tells the service manager why the daemon does not start; 'mirrord service status' shows it.
pub(crate) fn notify_failed(reason: &str) {
    notify(&[NotifyState::Status(&reason.replace('\n', " "))]);
}

/// Feeds the service manager's watchdog for as long as a client that connects is greeted and `check`, which takes the locks
/// that all conversations share, returns. Runs until dropped, and returns at once where there is no watchdog.
pub(crate) async fn feed_watchdog(paths: &Paths, check: impl Fn()) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let pause = limit / FEEDS_PER_LIMIT;
    loop {
        // Not at once: this connection to a daemon that is already ending would start the next one.
        tokio::time::sleep(pause).await;
        match connect_as_client(paths, pause).await {
            Ok(()) => {
                check();
                notify(&[NotifyState::Watchdog]);
            }
            Err(reason) => tracing::warn!("this daemon does not reach itself: {reason}"),
        }
    }
}

/// Connects to the daemon as its clients do, and waits for the greeting.
async fn connect_as_client(paths: &Paths, within: Duration) -> Result<(), String> {
    match tokio::time::timeout(within, Client::connect(paths)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(err)) => Err(err.to_string()),
        Err(_) => Err(format!("no greeting within {} ms", within.as_millis())),
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(state) {
        tracing::warn!("cannot tell the service manager how this daemon is: {err}");
    }
}

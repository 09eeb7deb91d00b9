//! What a daemon has from the service manager that started it, and what it tells it: the socket that it listens at, that
//! it is ready, that it is alive, that it stops. Without a service manager nothing of it happens.

use std::{io, os::unix::net::UnixListener, time::Duration};

use anyhow::{Context, bail};
use common::{client::Client, paths::Paths, protocol::Failure};
use interprocess::{
    local_socket::tokio::Listener, os::unix::uds_local_socket::tokio::Listener as UnixSocket,
};
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// A daemon feeds the watchdog so many times in the time after which it bites.
const FIRST_FD: u32 = 3;

/// Takes the socket that the service manager listens at for us; `None` when it does not. Only before there are threads.
pub(crate) fn socket(paths: &Paths) -> anyhow::Result<Option<UnixListener>> {
    let mut given = ListenFd::from_env();
    if given.len() > 1 {
        bail!(
            "the service manager listens at {} sockets for mirrord",
            given.len()
        );
    }
    let listener = given
        .take_unix_listener(0)
        .context("cannot use what the service manager listens at")?;
    let Some(listener) = listener else {
        return Ok(None);
    };
    let address = listener.local_addr().ok();
    let theirs = address.as_ref().and_then(|address| address.as_pathname());
    let ours = paths.socket();
    if theirs != Some(ours.as_path()) {
        let theirs = theirs.map_or_else(String::new, |path| path.display().to_string());
        let failure = Failure::here(format!(
            "the service listens at '{theirs}', and this daemon belongs at '{}'",
            ours.display()
        ));
        return Err(failure
            .hinted("'mirrord service install' where git and mirrord find each other sets it right")
            .into());
    }
    if !ours.exists() {
        // Nobody could come, and nobody can put it back but the service manager.
        let failure = Failure::here(format!("the service's socket '{}' is gone", ours.display()));
        return Err(failure
            .hinted("'mirrord service install' has it made anew")
            .into());
    }
    Ok(Some(listener))
}

/// Listens at a socket that the service manager keeps: it stays when we end, and whoever comes meanwhile waits at it.
pub(crate) fn listen(socket: UnixListener) -> io::Result<Listener> {
    socket.set_nonblocking(true)?;
    Ok(UnixSocket::try_from(std::os::fd::OwnedFd::from(socket))?.into())
}

/// Says that clients are served from now on.
pub(crate) fn say_ready() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready, NotifyState::Status("serving")])
}

/// Says that the end has begun.
pub(crate) fn say_stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Says why there is no daemon, where 'mirrord service status' finds it.
pub(crate) fn say_failed(why: &str) {
    tell(&[NotifyState::Status(&why.replace('\n', " "))]);
}

/// Tells the service manager that we are alive as long as it is true: somebody who connects is greeted, and what all
/// conversations share can be looked at. Runs until dropped; at once over where nobody wants to know.
pub(crate) async fn prove_alive(paths: &Paths, look: impl Fn()) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    let pause = limit / FIRST_FD;
    loop {
        // Not at once: whoever comes at the end of a daemon that has just begun would start the next one.
        tokio::time::sleep(pause).await;
        match greeted(paths, pause).await {
            Ok(()) => {
                look();
                tell(&[NotifyState::Watchdog]);
            }
            Err(why) => tracing::warn!("this daemon does not reach itself: {why}"),
        }
    }
}

/// Comes to the daemon as its clients do.
async fn greeted(paths: &Paths, within: Duration) -> Result<(), String> {
    match tokio::time::timeout(within, Client::connect(paths)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(err)) => Err(err.to_string()),
        Err(_) => Err(format!("no greeting within {} ms", within.as_millis())),
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(state) {
        tracing::warn!("cannot tell the service manager how this daemon is: {err}");
    }
}

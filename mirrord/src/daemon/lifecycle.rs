//! The daemon's life: lock, clean up, listen, serve (`server`), stop in order.

use std::{io, os::unix::net::UnixListener, sync::Arc};

use anyhow::Context;
use common::{daemon_process, paths::Paths};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    activation,
    lock::{self, Rival},
    server::{Ending, Home, Server},
    socket::Socket,
};
use crate::{
    credentials::{Credentials, secrets::Secrets},
    mirrors::{
        journal::Journal,
        registry::{Mirror, Registry, Survey},
    },
    process::memory,
    repository::retrack,
    schedule::Schedule,
    sync::Engine,
    upstream::Upstreams,
};

/// The signal of a write beyond `ulimit -f`, on Linux and macOS. The daemon handles it, so that the write fails and the
/// daemon lives.
const SIGXFSZ: i32 = 25;

/// Who has started the daemon.
#[derive(Debug)]
pub(crate) enum Starter {
    /// A person, who watches it.
    Person,
    /// A client that found none.
    Client,
    /// The service manager, which may listen for it.
    Service(Option<UnixListener>),
}

impl Starter {
    /// What is done about a daemon that runs already.
    fn rival(&self) -> Rival {
        match self {
            Self::Person => Rival::Stays,
            // The client has found no socket: the daemon that has the lock no longer listens.
            Self::Client => Rival::Ends,
            // The daemon that has the lock was started by a person or a client.
            Self::Service(_) => Rival::IsReplaced,
        }
    }
}

/// Makes this process the daemon and serves until `shutdown` resolves. `ready` is called when clients can connect.
///
/// # Errors
/// Fails where another daemon runs, and where the home or the socket cannot be used.
pub(crate) async fn run(
    paths: Paths,
    starter: Starter,
    shutdown: impl Future<Output = Ending>,
    ready: impl FnOnce() -> io::Result<()>,
) -> anyhow::Result<()> {
    // Before the lock is taken: a client that reads this process's id in it may send the signal, which would end this process.
    let socket_missed = signal(SignalKind::from_raw(daemon_process::CHECK_SOCKET.as_raw()));
    let socket_missed = socket_missed.context("cannot set up signals")?;
    let lock = Arc::new(lock::take(&paths.lock(), starter.rival())?);
    raise_limits();
    memory::limit();
    // The only provider in this build; an error says that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _write_limit = signal(SignalKind::from_raw(SIGXFSZ)).context("cannot set up signals")?;
    let registry = Registry::new(paths.mirrors());
    // No request changes a mirror yet, so that one survey serves all that follows.
    let mut survey = registry
        .sweep()
        .with_context(|| format!("cannot clean up '{}'", paths.mirrors().display()))?;
    finish_retracks(&mut survey);
    let socket = match starter {
        Starter::Service(Some(socket)) => Socket::of_manager(&paths, socket)?,
        Starter::Service(None) | Starter::Person | Starter::Client => Socket::new(&paths)?,
    };
    let upstreams = Upstreams::new(&paths);
    let credentials = open_credentials(&paths, &survey);
    let server = Server::new(
        Engine::new(
            registry,
            upstreams,
            credentials,
            Schedule::new(paths.rests()),
            Journal::new(paths.journal()),
            paths.config(),
        ),
        paths.clone(),
    );
    tracing::info!(
        "mirrord {} listens at '{}'",
        env!("CARGO_PKG_VERSION"),
        socket.path().display()
    );
    schedule(&server.engine, &survey.mirrors);
    drop(survey);
    ready().context("cannot say that the daemon is ready")?;
    let (home, served) = (paths.clone(), server.clone());
    let watchdog = tokio::spawn(async move {
        activation::feed_watchdog(&home, || served.take_shared_locks()).await;
    });
    let home = Home {
        lock: lock.clone(),
        socket_missed,
    };
    server.clone().run(socket, home, shutdown).await;
    watchdog.abort();
    let ending = server.clone();
    let _ = tokio::task::spawn_blocking(move || ending.engine.upstreams.end()).await;
    tracing::info!("stopped");
    // When a process ends, the system closes its files in the order in which they were opened: first the lock, then the
    // connections of the clients that wait for the end. So the next daemon can start when a client learns of the end.
    std::mem::forget((lock, server));
    Ok(())
}

/// Finishes the changes of refspecs that a daemon has begun before it was killed.
fn finish_retracks(survey: &mut Survey) {
    for mirror in &mut survey.mirrors {
        if mirror.settings.track_change.is_none() {
            continue;
        }
        let finished =
            retrack::sweep(&mirror.git_dir).and_then(|()| retrack::finish_change(mirror));
        if let Err(err) = finished {
            // The next use of the mirror tries again.
            tracing::warn!(
                "cannot finish the change of '{}': {err}",
                mirror.settings.name
            );
        }
    }
}

/// Opens the stored credentials. A secret that no mirror names was left by a daemon that was killed, and is removed.
fn open_credentials(paths: &Paths, survey: &Survey) -> Credentials {
    let secrets = Secrets::new(paths.secrets());
    let mirrors = survey.mirrors.iter();
    let named = mirrors.filter_map(|mirror| mirror.settings.auth.secret());
    // A mirror that cannot be read today may name one.
    if survey.unreadable.is_empty()
        && let Err(err) = secrets.sweep(&named.cloned().collect::<Vec<_>>())
    {
        tracing::warn!("cannot clean up the secrets: {err}");
    }
    Credentials::new(secrets)
}

/// Schedules the background syncs of all mirrors.
fn schedule(engine: &Engine, mirrors: &[Mirror]) {
    for mirror in mirrors {
        let state = engine.state(mirror);
        engine.schedule.add(mirror, state.synced, state.needs_you);
    }
}

/// Resolves when the system or a person wants the daemon to stop.
pub(crate) async fn stopped_by_signal() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Raises the soft limit of descriptors to the hard one: a hundred waiting clients and the children of their syncs need more
/// than the customary 1024.
fn raise_limits() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
}

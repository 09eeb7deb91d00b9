//! The daemon's life: lock, sweep, listen, serve, stop in order.

pub(crate) mod activation;
pub(crate) mod connections;
pub(crate) mod jobs;
pub(crate) mod lock;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod socket;

use std::{io, os::unix::net::UnixListener, sync::Arc};

use anyhow::Context;
use common::{daemon_process, paths::Paths};
use tokio::signal::unix::{SignalKind, signal};

use self::{
    lock::Rival,
    server::{Ending, Server, Watched},
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

/// A file that is larger than a limit allows is an error of that write, not the end of the daemon.
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
    /// What is done about a daemon that is there already.
    fn rival(&self) -> Rival {
        match self {
            Self::Person => Rival::Stays,
            // Whoever is there does not listen any more.
            Self::Client => Rival::Ends,
            // Whoever is there was started by one of those two.
            Self::Service(_) => Rival::IsReplaced,
        }
    }
}

/// Makes this process the daemon and serves until `shutdown` resolves. `ready` is called when clients can connect.
pub(crate) async fn run(
    paths: Paths,
    starter: Starter,
    shutdown: impl Future<Output = Ending>,
    ready: impl FnOnce() -> io::Result<()>,
) -> anyhow::Result<()> {
    // Before anybody can see that the lock is ours, and tell us to look.
    let look = signal(SignalKind::from_raw(daemon_process::CHECK_SOCKET.as_raw()));
    let look = look.context("cannot set up signals")?;
    let lock = Arc::new(lock::take(&paths.lock(), starter.rival())?);
    raise_limits();
    memory::limit();
    // Twice is no harm: there is one provider in this build.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _quiet = signal(SignalKind::from_raw(SIGXFSZ)).context("cannot set up signals")?;
    let registry = Registry::new(paths.mirrors());
    // Nobody else changes anything yet: one look is enough for all that follows.
    let mut survey = registry
        .sweep()
        .with_context(|| format!("cannot clean up '{}'", paths.mirrors().display()))?;
    for mirror in &mut survey.mirrors {
        if mirror.settings.leaving.is_none() {
            continue;
        }
        let finished =
            retrack::sweep(&mirror.git_dir).and_then(|()| retrack::finish_change(mirror));
        if let Err(err) = finished {
            // Whoever uses it next tries again.
            tracing::warn!(
                "cannot finish the change of '{}': {err}",
                mirror.settings.name
            );
        }
    }
    let socket = match starter {
        Starter::Service(Some(socket)) => Socket::of_manager(&paths, socket)?,
        Starter::Service(None) | Starter::Person | Starter::Client => Socket::new(&paths)?,
    };
    let upstreams = Upstreams::new(&paths);
    let credentials = credentials(&paths, &survey);
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
    plan(&server.engine, &survey.mirrors);
    drop(survey);
    ready().context("cannot say that the daemon is ready")?;
    let (alive, served) = (paths.clone(), server.clone());
    let proving = tokio::spawn(async move {
        activation::prove_alive(&alive, || served.look()).await;
    });
    let watched = Watched {
        lock: lock.clone(),
        look,
    };
    server.clone().run(socket, watched, shutdown).await;
    proving.abort();
    let ending = server.clone();
    let _ = tokio::task::spawn_blocking(move || ending.engine.upstreams.end()).await;
    tracing::info!("stopped");
    // The system closes what is open when this process ends, in the order in which it was opened: first the lock, then
    // the connections of those who wait for the end. So the next daemon can start when they hear of it, and not before.
    std::mem::forget((lock, server));
    Ok(())
}

/// What is stored to sign in with. What no mirror names, a daemon before left when it was killed.
fn credentials(paths: &Paths, survey: &Survey) -> Credentials {
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

/// Plans the syncs of all mirrors that nobody will ask for.
fn plan(engine: &Engine, mirrors: &[Mirror]) {
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

/// A hundred waiting clients and the children of their syncs need more descriptors than the customary soft limit.
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

//! The daemon's life: lock, sweep, listen, serve, stop in order.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, Write},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use common::{paths::Paths, protocol::Failure};
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName, tokio::Listener};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    credentials::Credentials, journal::Journal, registry::Registry, retrack, schedule::Schedule,
    secrets::Secrets, server::Server, sync::Engine, upstream::Upstreams,
};

/// A daemon that was started while its predecessor stops waits for it: that may still be serving somebody.
const PREDECESSOR: Duration = Duration::from_secs(40);

/// A file that is larger than a limit allows is an error of that write, not the end of the daemon.
const SIGXFSZ: i32 = 25;

/// Makes this process the daemon and serves until `shutdown` resolves. `ready` is called when clients can connect.
///
/// # Errors
/// Fails when another daemon runs, or the socket or the mirrors' folder cannot be used.
pub(crate) async fn run(
    paths: Paths,
    wait: bool,
    shutdown: impl Future<Output = ()>,
    ready: impl FnOnce() -> io::Result<()>,
) -> anyhow::Result<()> {
    let lock = lock(&paths, wait)?;
    raise_limits();
    // Twice is no harm: there is one provider in this build.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _quiet = signal(SignalKind::from_raw(SIGXFSZ)).context("cannot set up signals")?;
    let registry = Registry::new(paths.mirrors());
    registry
        .sweep()
        .with_context(|| format!("cannot clean up '{}'", paths.mirrors().display()))?;
    for mut mirror in registry.all().context("cannot read the mirrors")? {
        if mirror.settings.leaving.is_none() {
            continue;
        }
        let finished = retrack::sweep(&mirror.git_dir).and_then(|()| retrack::finish(&mut mirror));
        if let Err(err) = finished {
            // Whoever uses it next tries again.
            tracing::warn!(
                "cannot finish the change of '{}': {err}",
                mirror.settings.name
            );
        }
    }
    let listener = listen(&paths)?;
    let upstreams = Upstreams::new(&paths);
    let credentials = credentials(&paths, &registry)?;
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
        paths.socket().display()
    );
    plan(&server.engine)?;
    ready().context("cannot say that the daemon is ready")?;
    server.clone().run(listener, shutdown).await;
    let ending = server.clone();
    let _ = tokio::task::spawn_blocking(move || ending.engine.upstreams.end()).await;
    tracing::info!("stopped");
    // The system closes what is open when this process ends, in the order in which it was opened: first the lock, then
    // the connections of those who wait for the end. So the next daemon can start when they hear of it, and not before.
    std::mem::forget((lock, server));
    Ok(())
}

/// What is stored to sign in with. What no mirror names, a daemon before left when it was killed.
fn credentials(paths: &Paths, registry: &Registry) -> anyhow::Result<Credentials> {
    let secrets = Secrets::new(paths.secrets());
    let mirrors = registry.all().context("cannot read the mirrors")?;
    let named = mirrors
        .iter()
        .filter_map(|mirror| mirror.settings.auth.secret());
    // A mirror that cannot be read today may name one.
    if registry.is_whole()
        && let Err(err) = secrets.sweep(&named.cloned().collect::<Vec<_>>())
    {
        tracing::warn!("cannot clean up the secrets: {err}");
    }
    Ok(Credentials::new(secrets))
}

/// Plans the syncs of all mirrors that nobody will ask for.
fn plan(engine: &Engine) -> anyhow::Result<()> {
    for mirror in engine.registry.all().context("cannot read the mirrors")? {
        let state = engine.state(&mirror);
        engine.schedule.add(&mirror, state.synced, state.needs_you);
    }
    Ok(())
}

/// Resolves when the system or a person wants the daemon to stop.
///
/// # Errors
/// Fails when signals cannot be waited for.
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

/// The lock decides who is the daemon. The system gives it back when its holder dies, however it dies.
fn lock(paths: &Paths, wait: bool) -> anyhow::Result<File> {
    let path = paths.lock();
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open '{}'", path.display()))?;
    let deadline = Instant::now() + PREDECESSOR;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(fs::TryLockError::WouldBlock) if wait && Instant::now() < deadline => {
                // Nothing tells when a lock becomes free, save waiting for it without an end.
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(fs::TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let failure =
                    Failure::here(format!("mirrord already runs (process {})", pid.trim()));
                return Err(failure.hinted("'mirrord stop' stops it").into());
            }
            Err(fs::TryLockError::Error(err)) => bail!("cannot lock '{}': {err}", path.display()),
        }
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Only the holder of the lock gets here, so a socket that exists is a dead daemon's.
fn listen(paths: &Paths) -> anyhow::Result<Listener> {
    let socket = paths.socket();
    let cannot = || format!("cannot listen at '{}'", socket.display());
    let options = ListenerOptions::new()
        .name(
            socket
                .as_path()
                .to_fs_name::<GenericFilePath>()
                .with_context(cannot)?,
        )
        .try_overwrite(true);
    let listener = options.create_tokio().with_context(cannot)?;
    // The directory is 0700 already; some systems cannot make the socket so from the start.
    fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .with_context(cannot)?;
    Ok(listener)
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

//! Lets mirrors go when their time has come or upstream has something new, without anybody asking.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{git::client_context::UserConfig, protocol::Cause};
use tokio::{sync::Mutex, task::JoinSet, time::Instant};

use crate::{daemon::lock::Lock, requests::fetch, schedule::Clock, sync::Engine};

/// What the user has configured is read again after this time.
const REREAD_INTERVAL: Duration = Duration::from_secs(10);

/// What the user's git reads wherever they stand, and when that was read.
type Known = Mutex<Option<(Arc<UserConfig>, Instant)>>;

/// Lets one mirror after the other go. Runs until dropped, and what is on its way is dropped then, too.
pub(crate) async fn drive(engine: Arc<Engine>, lock: Arc<Lock>) {
    let known = Arc::new(Known::default());
    let (mut clock, mut away) = (Clock::new(), JoinSet::new());
    loop {
        tokio::select! {
            (git_dir, cause) = engine.schedule.next_due(&mut clock) => {
                if !lock.is_in_place() {
                    // What lies there now is another daemon's, and this one is about to end.
                    return;
                }
                away.spawn(go(engine.clone(), known.clone(), git_dir, cause));
            }
            Some(_) = away.join_next() => {}
        }
    }
}

async fn go(engine: Arc<Engine>, known: Arc<Known>, git_dir: PathBuf, cause: Cause) {
    let away = InFlight::new(&engine.unasked);
    match engine.registry.mirror_at(&git_dir) {
        Ok(Some(mirror)) => {
            let config = config(&known).await;
            let gone = fetch::sync_mirror(&engine, &mirror, &config, cause).await;
            if let Err(failure) = gone {
                tracing::debug!("'{}': {failure}", mirror.settings.name);
            }
        }
        Ok(None) => engine.schedule.remove(&git_dir),
        Err(err) => tracing::warn!("{err}"),
    }
    drop(away);
    engine.schedule.returned(&git_dir);
}

async fn config(known: &Known) -> Arc<UserConfig> {
    let mut known = known.lock().await;
    if let Some((config, read)) = &*known
        && read.elapsed() < REREAD_INTERVAL
    {
        return config.clone();
    }
    let read = tokio::task::spawn_blocking(UserConfig::read_at_large).await;
    let config = match read {
        Ok(Ok(config)) => config,
        Ok(Err(err)) => {
            tracing::warn!("cannot read git's configuration: {err}");
            UserConfig::default()
        }
        Err(_) => UserConfig::default(),
    };
    let config = Arc::new(config);
    *known = Some((config.clone(), Instant::now()));
    config
}

/// One that is on its way.
struct InFlight<'e>(&'e AtomicUsize);

impl<'e> InFlight<'e> {
    fn new(count: &'e AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

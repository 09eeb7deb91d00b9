//! Syncs mirrors in the background, when the schedule says that they are due.

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

/// The user's git configuration is read again after this time.
const REREAD_INTERVAL: Duration = Duration::from_secs(10);

/// The user's global git configuration, and when it was read.
struct CachedConfig {
    config: Arc<UserConfig>,
    read_at: Instant,
}

type ConfigCache = Mutex<Option<CachedConfig>>;

/// Syncs each mirror that is due. Runs until dropped, which ends the syncs that are under way, too.
pub(crate) async fn run(engine: Arc<Engine>, lock: Arc<Lock>) {
    let cache = Arc::new(ConfigCache::default());
    let (mut clock, mut syncs) = (Clock::new(), JoinSet::new());
    loop {
        tokio::select! {
            (git_dir, cause) = engine.schedule.next_due(&mut clock) => {
                if !lock.is_in_place() {
                    // The directory that is there now is another daemon's, and this one is about to end.
                    return;
                }
                syncs.spawn(sync(engine.clone(), cache.clone(), git_dir, cause));
            }
            Some(_) = syncs.join_next() => {}
        }
    }
}

async fn sync(engine: Arc<Engine>, cache: Arc<ConfigCache>, git_dir: PathBuf, cause: Cause) {
    let in_flight = InFlight::new(&engine.scheduled_syncs);
    match engine.registry.mirror_at(&git_dir) {
        Ok(Some(mirror)) => {
            let config = user_config(&cache).await;
            let synced = fetch::sync_mirror(&engine, &mirror, &config, cause).await;
            if let Err(failure) = synced {
                tracing::debug!("'{}': {failure}", mirror.settings.name);
            }
        }
        Ok(None) => engine.schedule.remove(&git_dir),
        Err(err) => tracing::warn!("{err}"),
    }
    drop(in_flight);
    engine.schedule.finish(&git_dir);
}

/// The user's global git configuration, read again from time to time.
async fn user_config(cache: &ConfigCache) -> Arc<UserConfig> {
    let mut cache = cache.lock().await;
    if let Some(cached) = &*cache
        && cached.read_at.elapsed() < REREAD_INTERVAL
    {
        return cached.config.clone();
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
    *cache = Some(CachedConfig {
        config: config.clone(),
        read_at: Instant::now(),
    });
    config
}

/// Counts a background sync for as long as it is under way.
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

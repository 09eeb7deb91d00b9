//! Upkeep of mirrors while everybody goes on using them: damage is mended, many small packs become few, what nothing
//! reaches any more goes, and large mirrors get what makes them quick to read.
//!
//! This file decides when a mirror is maintained: after a sync or a push has changed it, after a client was refused its
//! packs, and when the daemon's sweep finds that it is time. `maintain.rs` does it, for one mirror at a time.

pub(crate) mod check;
mod compare;
mod cruft;
mod exclusive;
mod indexes;
mod lost;
mod maintain;
mod mend;
mod packs;
mod repack;
#[cfg(test)]
mod store;
#[cfg(target_os = "linux")]
mod touches;
mod whole;
mod workspace;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Semaphore, SemaphorePermit, broadcast},
    task::JoinSet,
    time::{Instant, timeout},
};

use self::maintain::Report;
use crate::{
    mirrors::{
        gate::{Gate, Gates},
        journal::Journal,
        registry::Mirror,
    },
    process::{blocking::blocking_io, watch::Watch},
    repository::{checked, verified},
    schedule::{
        Schedule,
        turns::{Lane, Turn, Turns},
    },
};

/// How long after a failure a mirror is left as it is.
const RETRY_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// How long the end of the daemon waits for a child that was killed, and for what it left to be removed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How many mirrors may be under maintenance, most of them waiting for their turn or for readers to end. The others cost
/// no more than an entry in a map.
const MAX_STARTED: usize = 16;

/// Maintains mirrors, one at a time.
pub(crate) struct Upkeep {
    /// Permits for mirrors under maintenance.
    started: Semaphore,
    /// The permit for what takes time: one mirror at a time.
    turn: Semaphore,
    /// The turns of syncs, which come before upkeep.
    turns: Turns,
    /// Where a sync of a mirror is asked for that lacks something.
    schedule: Arc<Schedule>,
    /// Where packs are named that were laid aside.
    journal: Arc<Journal>,
    #[cfg(target_os = "linux")]
    touches: touches::Touches,
    /// Cancels all children.
    watch: Watch,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: JoinSet<()>,
    /// The mirrors under maintenance, or waiting for their turn; each with its state after the last change since.
    under_way: HashMap<PathBuf, Option<Mirror>>,
    /// The mirrors whose maintenance failed, and until when each is left as it is.
    failed: HashMap<PathBuf, Instant>,
}

impl Upkeep {
    /// Creates an upkeep with nothing to do.
    pub(crate) fn new(turns: Turns, schedule: Arc<Schedule>, journal: Arc<Journal>) -> Arc<Self> {
        Arc::new(Self {
            turns,
            schedule,
            journal,
            #[cfg(target_os = "linux")]
            touches: touches::Touches::new(),
            started: Semaphore::new(MAX_STARTED),
            turn: Semaphore::new(1),
            watch: Watch::new("", broadcast::channel(1).0, Vec::new()),
            state: Mutex::default(),
        })
    }

    /// Maintains a mirror that a sync or a push has just changed, if it needs that. Returns at once; the log tells what
    /// fails, and a later change tries again.
    pub(crate) fn after_change(self: &Arc<Self>, gates: &Gates, mirror: &Mirror) {
        self.start(gates.gate(&mirror.git_dir), mirror.clone());
    }

    /// Maintains a mirror that somebody reads if its packs cannot be handed out, even when that has just failed. Returns at
    /// once.
    pub(crate) fn after_read(self: &Arc<Self>, gates: &Gates, mirror: &Mirror) {
        let (upkeep, gate, mirror) = (self.clone(), gates.gate(&mirror.git_dir), mirror.clone());
        tokio::spawn(async move {
            let git_dir = mirror.git_dir.clone();
            #[cfg(target_os = "linux")]
            upkeep.watch(git_dir.clone()).await;
            if let Ok(false) = blocking_io(move || Ok(verified::are_all_verified(&git_dir))).await {
                upkeep.state().failed.remove(&mirror.git_dir);
                upkeep.start(gate, mirror);
            }
        });
    }

    fn start(self: &Arc<Self>, gate: Arc<Gate>, mirror: Mirror) {
        let mut state = self.state();
        while state.tasks.try_join_next().is_some() {}
        let git_dir = &mirror.git_dir;
        if let Some(changed) = state.under_way.get_mut(git_dir) {
            *changed = Some(mirror.clone());
            return;
        }
        let failed = state.failed.get(git_dir);
        if self.watch.is_cancelled() || failed.is_some_and(|until| Instant::now() < *until) {
            return;
        }
        state.failed.remove(git_dir);
        state.under_way.insert(git_dir.clone(), None);
        let upkeep = self.clone();
        state.tasks.spawn(async move {
            let mut next = Some(mirror);
            while let Some(mirror) = next {
                // The semaphore is never closed.
                let Ok(_started) = upkeep.started.acquire().await else {
                    return;
                };
                let began = Instant::now();
                let report = Box::pin(upkeep.maintain(&gate, &mirror)).await;
                next = upkeep.record(&mirror, began.elapsed(), report);
            }
        });
    }

    /// Waits for the turn of background work, which takes one mirror at a time, and keeps it for as long as the result
    /// lives. Returns None when the daemon stops.
    pub(crate) async fn turn(&self) -> Option<(SemaphorePermit<'_>, Turn)> {
        let turn = self.turn.acquire().await.ok()?;
        let among_all = self.turns.take("", Lane::Upkeep).await?;
        Some((turn, among_all))
    }

    /// Ends what is under way, and starts nothing new.
    pub(crate) fn stop(&self) {
        self.watch.cancel();
    }

    /// Waits until what was under way has ended, and its temporary files are gone.
    pub(crate) async fn ended(&self) {
        let mut tasks = std::mem::take(&mut self.state().tasks);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("a repack does not end");
        }
    }

    /// Records how maintenance went, in the log. Returns the mirror if it has changed meanwhile: it is maintained once more.
    fn record(
        &self,
        mirror: &Mirror,
        took: Duration,
        report: io::Result<Option<Report>>,
    ) -> Option<Mirror> {
        let mut state = self.state();
        let changed = state.under_way.remove(&mirror.git_dir).flatten();
        let name = &mirror.settings.name;
        match report {
            Ok(None) => {}
            Ok(Some(report)) => {
                let Report {
                    before,
                    after,
                    bytes,
                    waits,
                } = report;
                let took = took.as_millis();
                let rest = match waits {
                    true => "; some go when nobody reads it",
                    false => "",
                };
                tracing::info!(
                    "'{name}' had {before} packs and has {after}, {bytes} bytes of them new, after {took} ms{rest}"
                );
            }
            // The mirror was removed, or the daemon stops.
            Err(_) if self.watch.is_cancelled() || !mirror.git_dir.exists() => return None,
            Err(err) => {
                checked::request_check_if_complained(&mirror.git_dir, &err.to_string());
                tracing::warn!("cannot repack '{name}': {err}");
                let until = Instant::now() + RETRY_INTERVAL;
                state.failed.insert(mirror.git_dir.clone(), until);
                return None;
            }
        }
        let changed = changed.filter(|_| !self.watch.is_cancelled())?;
        state.under_way.insert(mirror.git_dir.clone(), None);
        Some(changed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Whether a mirror needs maintenance although neither a sync nor a push has changed it.
pub(crate) fn is_wanted(git_dir: &Path) -> io::Result<bool> {
    let now = SystemTime::now();
    Ok(!whole::is_known_whole(git_dir)?
        || verified::is_touched(git_dir)?
        || check::is_due(git_dir, now)?
        || packs::has_leftovers(git_dir, now)?)
}

#[cfg(test)]
mod tests;

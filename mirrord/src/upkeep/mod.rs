//! Keeps mirrors in shape while everybody goes on using them, one mirror at a time: many small packs become few, what
//! nothing reaches any more goes, and large mirrors get what makes them quick to read.
//!
//! A repack writes a new pack beside the old ones and takes nothing away; nobody waits for it. What the new one replaces
//! is dropped in a moment in which nobody reads the mirror, and stays until there is one.

mod alone;
pub(crate) mod check;
mod compare;
mod indexes;
mod lost;
mod mend;
mod packs;
mod repack;
#[cfg(test)]
mod store;
#[cfg(target_os = "linux")]
mod touches;
mod unreached;
mod whole;

use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use common::packs::derived;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Semaphore, SemaphorePermit, broadcast},
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::{
    mirrors::{
        gate::{Gate, Gates},
        journal::Journal,
        registry::Mirror,
    },
    process::{blocking::blocking_io, watch::Watch},
    repository::{checked, tips, verified},
    schedule::{
        Schedule,
        turns::{Lane, Turn, Turns},
    },
};

/// More packs than this make each look for an object slow.
const MAX_PACKS: usize = 50;

/// What has failed is not tried again before this time is over.
const RETRY_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// How long the end of the daemon waits for a child that was killed, and for what it left to be removed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// So many mirrors are looked after or wait for somebody in the middle of it; of more, next to nothing is kept meanwhile.
const MAX_BACKLOG: usize = 16;

/// Looks after mirrors, one at a time.
pub(crate) struct Upkeep {
    /// Those that have begun.
    begun: Semaphore,
    /// Origin mirror is being repacked.
    turn: Semaphore,
    /// Among the syncs, of which all go first.
    turns: Turns,
    /// Lets mirrors go that need something of upstream.
    schedule: Arc<Schedule>,
    /// What was laid aside is told there.
    journal: Arc<Journal>,
    #[cfg(target_os = "linux")]
    touches: touches::Touches,
    /// Ends all of it.
    watch: Watch,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: JoinSet<()>,
    /// The mirrors that are looked after, or wait for their turn; each as it was after the last change since.
    under_way: HashMap<PathBuf, Option<Mirror>>,
    /// Where it failed, and until when it is left at that.
    failed: HashMap<PathBuf, Instant>,
}

/// What a look at a mirror finds.
struct Look {
    /// How many packs there are.
    packs: usize,
    /// Whether something lies there that is nobody's.
    has_leftovers: bool,
    /// Whether it is time to look for objects that nothing reaches.
    is_time: bool,
    /// Whether it is to be made quick to read.
    is_large: bool,
}

impl Look {
    fn at(git_dir: &Path) -> io::Result<Self> {
        let now = SystemTime::now();
        Ok(Self {
            packs: packs::count(git_dir)?,
            has_leftovers: packs::has_leftovers(git_dir, now)?,
            is_time: unreached::is_time(git_dir, now)?,
            is_large: indexes::are_wanted(git_dir)?,
        })
    }

    fn has_too_much(&self) -> bool {
        self.packs > MAX_PACKS || self.has_leftovers
    }
}

/// What was done to a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tended {
    /// How many packs there were.
    before: usize,
    /// How many there are.
    after: usize,
    /// How many bytes were written.
    bytes: u64,
    /// Whether packs that are not needed any more wait for the end of those who read.
    waits: bool,
}

impl Upkeep {
    /// Nothing to do yet.
    pub(crate) fn new(turns: Turns, schedule: Arc<Schedule>, journal: Arc<Journal>) -> Arc<Self> {
        Arc::new(Self {
            turns,
            schedule,
            journal,
            #[cfg(target_os = "linux")]
            touches: touches::Touches::new(),
            begun: Semaphore::new(MAX_BACKLOG),
            turn: Semaphore::new(1),
            watch: Watch::new("", broadcast::channel(1).0, Vec::new()),
            state: Mutex::default(),
        })
    }

    /// Looks after a mirror that a sync or a push has just changed, if it needs that. Returns at once; what fails is told
    /// in the log, and tried again after a later change.
    pub(crate) fn after_change(self: &Arc<Self>, gates: &Gates, mirror: &Mirror) {
        self.begin(gates.gate(&mirror.git_dir), mirror.clone());
    }

    /// Has the packs of a mirror looked into that somebody reads and that cannot be handed out, also where that has just
    /// failed. Returns at once.
    pub(crate) fn after_read(self: &Arc<Self>, gates: &Gates, mirror: &Mirror) {
        let (upkeep, gate, mirror) = (self.clone(), gates.gate(&mirror.git_dir), mirror.clone());
        tokio::spawn(async move {
            let git_dir = mirror.git_dir.clone();
            #[cfg(target_os = "linux")]
            upkeep.watch(git_dir.clone()).await;
            if let Ok(false) = blocking_io(move || Ok(verified::are_all_verified(&git_dir))).await {
                upkeep.state().failed.remove(&mirror.git_dir);
                upkeep.begin(gate, mirror);
            }
        });
    }

    fn begin(self: &Arc<Self>, gate: Arc<Gate>, mirror: Mirror) {
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
                // It is never closed.
                let Ok(_begun) = upkeep.begun.acquire().await else {
                    return;
                };
                let began = Instant::now();
                let tended = Box::pin(upkeep.tend(&gate, &mirror)).await;
                next = upkeep.note(&mirror, began.elapsed(), tended);
            }
        });
    }

    /// Waits until nothing else is done to mirrors for which nobody waits, and holds that up for as long as the result
    /// lives. None comes when the daemon stops.
    pub(crate) async fn turn(&self) -> Option<(SemaphorePermit<'_>, Turn)> {
        let turn = self.turn.acquire().await.ok()?;
        let among_all = self.turns.take("", Lane::Upkeep).await?;
        Some((turn, among_all))
    }

    /// Ends what is under way, and begins nothing new.
    pub(crate) fn stop(&self) {
        self.watch.cancel();
    }

    /// Waits until what was under way has ended, and has left nothing.
    pub(crate) async fn ended(&self) {
        let mut tasks = std::mem::take(&mut self.state().tasks);
        let ended = async { while tasks.join_next().await.is_some() {} };
        if timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("a repack does not end");
        }
    }

    /// Notes how it went. Returns the mirror if it has changed meanwhile, and is to be looked after once more.
    fn note(
        &self,
        mirror: &Mirror,
        took: Duration,
        tended: io::Result<Option<Tended>>,
    ) -> Option<Mirror> {
        let mut state = self.state();
        let changed = state.under_way.remove(&mirror.git_dir).flatten();
        let name = &mirror.settings.name;
        match tended {
            Ok(None) => {}
            Ok(Some(tended)) => {
                let Tended {
                    before,
                    after,
                    bytes,
                    waits,
                } = tended;
                let took = took.as_millis();
                let rest = match waits {
                    true => "; some go when nobody reads it",
                    false => "",
                };
                tracing::info!(
                    "'{name}' had {before} packs and has {after}, {bytes} bytes of them new, after {took} ms{rest}"
                );
            }
            // It was removed, or the daemon stops.
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

    /// Does what a mirror needs, if it needs anything.
    async fn tend(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<Option<Tended>> {
        let look = || {
            let git_dir = mirror.git_dir.clone();
            blocking_io(move || Look::at(&git_dir))
        };
        self.check(gate, mirror).await?;
        if !self.make_whole(gate, mirror).await? {
            // What would be put together now is not all there.
            return Ok(None);
        }
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        if let Err(err) = blocking_io(move || tips::renew(&git_dir, &watch)).await {
            // Clones make one of their own.
            checked::request_check_if_complained(&mirror.git_dir, &err.to_string());
            tracing::debug!("no pack of tips for '{}': {err}", mirror.settings.name);
        }
        let git_dir = mirror.git_dir.clone();
        if let Err(err) = blocking_io(move || derived::trim(&git_dir, SystemTime::now())).await {
            tracing::debug!("old parts of '{}' stay: {err}", mirror.settings.name);
        }
        let mut now = look().await?;
        if !now.has_too_much() && !now.is_time && !now.is_large {
            return Ok(None);
        }
        let Some(held) = self.only_one(&mirror.git_dir).await? else {
            return Ok(None);
        };
        let (before, mut bytes, mut waits) = (now.packs, 0, false);
        while now.has_too_much() {
            let git_dir = mirror.git_dir.clone();
            let replaced = blocking_io(move || packs::replaced(&git_dir)).await?;
            if !replaced.is_empty() || now.has_leftovers {
                let Some(alone) = self.alone(gate, &mirror.git_dir).await? else {
                    waits = true;
                    break;
                };
                let git_dir = mirror.git_dir.clone();
                blocking_io(move || {
                    let _alone = alone;
                    // What stays of it is in nobody's way.
                    let _ = derived::sweep(&git_dir);
                    packs::drop_replaced(&git_dir, &replaced, SystemTime::now())
                })
                .await?;
            } else {
                let Some(written) = self.repack(mirror).await? else {
                    break;
                };
                bytes += written;
            }
            now = look().await?;
        }
        if now.is_time && !waits {
            waits = !self.drop_unreached(gate, mirror).await?;
            now = look().await?;
        }
        // Else what is to go would be named by what is written now.
        if now.is_large && !waits {
            self.index(mirror, held).await?;
        }
        let tended = Tended {
            before,
            after: now.packs,
            bytes,
            waits,
        };
        Ok((before > MAX_PACKS).then_some(tended))
    }

    /// Looks for what nothing reaches any more when it is this mirror's turn, and drops what may go. Returns whether it
    /// could.
    async fn drop_unreached(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<bool> {
        let going = {
            let Some(_turn) = self.turn().await else {
                return Ok(false);
            };
            let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
            blocking_io(move || unreached::sort(&git_dir, SystemTime::now(), &watch)).await?
        };
        if going.is_empty() {
            return Ok(true);
        }
        let Some(alone) = self.alone(gate, &mirror.git_dir).await? else {
            return Ok(false);
        };
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        blocking_io(move || {
            let _alone = alone;
            unreached::drop_all(&git_dir, &going, &watch)
        })
        .await?;
        Ok(true)
    }

    /// Makes a large mirror quick to read when it is its turn.
    async fn index(&self, mirror: &Mirror, held: File) -> io::Result<()> {
        let Some(_turn) = self.turn().await else {
            return Ok(());
        };
        let began = Instant::now();
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        blocking_io(move || indexes::write(&git_dir, &held, &watch)).await?;
        let (name, took) = (&mirror.settings.name, began.elapsed().as_millis());
        tracing::info!("'{name}' has an index over all of its packs after {took} ms");
        Ok(())
    }

    /// Puts packs together when it is this mirror's turn. Returns how many bytes that gave, if there was a need.
    async fn repack(&self, mirror: &Mirror) -> io::Result<Option<u64>> {
        let Some(_turn) = self.turn().await else {
            return Ok(None);
        };
        let (mirror, watch) = (mirror.clone(), self.watch.clone());
        blocking_io(move || {
            let written = repack::repack(&mirror, &watch)?;
            // Else it would be done over and over.
            if written.is_some() && packs::replaced(&mirror.git_dir)?.is_empty() {
                return Err(io::Error::other("the new pack replaces none"));
            }
            Ok(written)
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Whether a mirror is to be looked at although nothing has changed in it.
pub(crate) fn is_wanted(git_dir: &Path) -> io::Result<bool> {
    let now = SystemTime::now();
    Ok(!whole::is_well(git_dir)?
        || verified::is_touched(git_dir)?
        || check::is_due(git_dir, now)?
        || packs::has_leftovers(git_dir, now)?)
}

#[cfg(test)]
mod tests;

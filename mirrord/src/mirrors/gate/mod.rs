//! Who uses a mirror at the moment: pushes reserve refs, syncs write them, clients read, and a change of the mirror itself
//! (its refspecs, its directory, its removal) waits until nobody does.
//!
//! A push and a sync do not wait for each other. If a sync ran at any time since a push reserved its refs, nobody can tell
//! which of the two knows the newer state of upstream. The push then leaves its refs to the next sync. Until that sync has
//! run the mirror is in doubt, and nobody is served from it without asking upstream. A file in the mirror records the
//! doubt, because a daemon may be killed in between.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use gix::bstr::BString;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::process::durable;

/// The file in a mirror that says: something may have reached upstream through this mirror that is not in its refs.
const DOUBT: &str = "doubt";

/// The gates of all mirrors, by their directories.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<PathBuf, Arc<Gate>>>);

impl Gates {
    /// The gate of a mirror.
    pub(crate) fn gate(&self, git_dir: &Path) -> Arc<Gate> {
        let new = || Arc::new(Gate::new(git_dir));
        self.0
            .lock()
            .entry(git_dir.to_owned())
            .or_insert_with(new)
            .clone()
    }
}

/// The locks of one mirror, which everybody takes who uses it.
pub(crate) struct Gate {
    doubt_file: PathBuf,
    state: Mutex<State>,
    /// Notified at each change of the state, for those who wait in blocking code.
    changed: Condvar,
    /// Notified at each change of the state, for those who wait in async code.
    changed_async: Notify,
    /// Whether the leftovers of a dead daemon have been swept.
    swept: Mutex<bool>,
    /// Locked while the packs are compared with what was verified of them, and changed ones are set aside.
    pub(crate) comparing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// The refs of pushes that run.
    reserved: BTreeSet<BString>,
    /// Refs that upstream may have accepted in a push and that were not written to the mirror, each with the number of
    /// syncs that had begun by then. A sync that begins later writes them.
    unsettled: BTreeMap<BString, u64>,
    /// Whether only a sync can end the doubt: the doubt is from another daemon, or from a change of the mirror.
    needs_sync: bool,
    syncs_begun: u64,
    syncs_ended: u64,
    /// How many clients read the mirror, or have opened a push to it.
    readers: usize,
    /// Whether a push is being settled. No sync begins meanwhile.
    settling: bool,
    /// Whether the mirror itself is being changed. Nothing else begins meanwhile.
    changing: bool,
}

/// The refs that one push has reserved. Dropping it releases them.
pub(crate) struct Reservation {
    gate: Arc<Gate>,
    names: BTreeSet<BString>,
    /// How many syncs had ended when the refs were reserved.
    syncs_ended: u64,
    /// Whether upstream may have something of the push that is not written to the mirror.
    in_doubt: bool,
}

/// A sync that runs. Dropping it ends the sync.
pub(crate) struct RunningSync {
    gate: Arc<Gate>,
    /// The number of this sync among those of the mirror.
    number: u64,
}

/// A client that reads the mirror. Dropping it ends the reading.
pub(crate) struct ReadGuard(Arc<Gate>);

/// A change of the mirror. Dropping it ends the change.
pub(crate) struct ChangeGuard(Arc<Gate>);

impl State {
    /// Whether somebody is in the way of a change. An `exclusive` change excludes readers, too.
    fn is_busy(&self, exclusive: bool) -> bool {
        self.changing
            || self.settling
            || !self.reserved.is_empty()
            || self.syncs_begun != self.syncs_ended
            || (exclusive && self.readers > 0)
    }
}

impl Gate {
    fn new(git_dir: &Path) -> Self {
        let doubt_file = git_dir.join(DOUBT);
        let needs_sync = doubt_file.exists();
        Self {
            doubt_file,
            state: Mutex::new(State {
                needs_sync,
                ..State::default()
            }),
            changed: Condvar::new(),
            changed_async: Notify::new(),
            swept: Mutex::default(),
            comparing: tokio::sync::Mutex::default(),
        }
    }

    /// Reserves all of these refs at once, as soon as no other push has one of them.
    pub(crate) async fn reserve(self: &Arc<Self>, names: BTreeSet<BString>) -> Reservation {
        let syncs_ended = self
            .wait_until(|state| {
                let is_free = !state.changing && state.reserved.is_disjoint(&names);
                is_free.then(|| {
                    state.reserved.extend(names.iter().cloned());
                    state.syncs_ended
                })
            })
            .await;
        Reservation {
            gate: self.clone(),
            names,
            syncs_ended,
            in_doubt: false,
        }
    }

    /// Begins to read the mirror, as soon as it is not being changed.
    pub(crate) async fn begin_read(self: &Arc<Self>) -> ReadGuard {
        self.wait_until(|state| (!state.changing).then(|| state.readers += 1))
            .await;
        ReadGuard(self.clone())
    }

    /// Begins a change as soon as nobody writes refs; an `exclusive` one as soon as nobody reads the mirror either. Those
    /// who want to use the mirror before it begins do not wait for it.
    pub(crate) async fn begin_change(self: &Arc<Self>, exclusive: bool) -> ChangeGuard {
        self.wait_until(|state| (!state.is_busy(exclusive)).then(|| state.changing = true))
            .await;
        ChangeGuard(self.clone())
    }

    /// Begins an exclusive change without waiting. None when somebody reads the mirror or writes its refs.
    pub(crate) fn try_begin_change(self: &Arc<Self>) -> Option<ChangeGuard> {
        let mut state = self.state.lock();
        if state.is_busy(true) {
            return None;
        }
        state.changing = true;
        Some(ChangeGuard(self.clone()))
    }

    /// Runs `sweep` the first time it is called, to remove the leftovers of a dead daemon: within the first sync or change,
    /// before which no push can be open.
    pub(crate) fn sweep_once(&self, sweep: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut swept = self.swept.lock();
        if !*swept {
            sweep()?;
            *swept = true;
        }
        Ok(())
    }

    /// Returns the refs that are reserved, and those that a push has left to the next sync.
    pub(crate) fn refs_of_pushes(&self) -> BTreeSet<BString> {
        let state = self.state.lock();
        let reserved = state.reserved.iter();
        reserved.chain(state.unsettled.keys()).cloned().collect()
    }

    /// Whether something may have reached upstream that is not written to the mirror.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt_file.exists()
    }

    /// Begins a sync. Blocks while a push is being settled or the mirror is being changed.
    pub(crate) fn begin_sync(self: &Arc<Self>) -> RunningSync {
        let mut state = self.block_until(|state| !state.settling && !state.changing);
        state.syncs_begun += 1;
        let (gate, number) = (self.clone(), state.syncs_begun);
        RunningSync { gate, number }
    }

    /// Ends the doubt if there is no reason for it any more.
    fn end_doubt(&self, state: &State) {
        if state.reserved.is_empty()
            && state.unsettled.is_empty()
            && !state.needs_sync
            && let Err(err) = fs::remove_file(&self.doubt_file)
            && err.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove '{}': {err}", self.doubt_file.display());
        }
    }

    /// Waits until `take` returns something of the state.
    async fn wait_until<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let changed = self.changed_async.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(taken) = take(&mut self.state.lock()) {
                return taken;
            }
            changed.await;
        }
    }

    /// Blocks until the state fulfils a condition, and returns it locked.
    fn block_until(&self, condition: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        self.changed
            .wait_while(&mut state, |state| !condition(state));
        state
    }

    /// Changes the state and notifies all who wait for that.
    fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
        self.changed_async.notify_waiters();
    }
}

impl RunningSync {
    /// Records that this sync has written all that upstream had when the sync began.
    pub(crate) fn record_caught_up(&self) {
        let mut state = self.gate.state.lock();
        state
            .unsettled
            .retain(|_, syncs_begun| *syncs_begun >= self.number);
        // No change of the mirror happens beside a sync.
        state.needs_sync = false;
        self.gate.end_doubt(&state);
    }
}

impl ChangeGuard {
    /// Records on disk that upstream must be asked before the next answer, however fresh the mirror is. Blocks.
    pub(crate) fn mark_in_doubt(&self) -> io::Result<()> {
        self.0.state.lock().needs_sync = true;
        durable::replace(&self.0.doubt_file, b"")
    }
}

impl Reservation {
    /// Records on disk that something will be sent to upstream, so that a daemon that finds the mirror after a kill asks
    /// upstream first. Blocks.
    pub(crate) fn mark_in_doubt(&mut self) -> io::Result<()> {
        self.in_doubt = true;
        let _state = self.gate.state.lock();
        if !self.gate.doubt_file.exists() {
            durable::replace(&self.gate.doubt_file, b"")?;
        }
        Ok(())
    }

    /// Runs `write`, during which no sync begins, and releases the refs. `write` is told whether no sync has run at any
    /// time since the refs were reserved: then the push knows the newest state of upstream. Blocks.
    ///
    /// # Errors
    /// Fails as `write` does; the mirror then stays in doubt.
    pub(crate) fn write_while_no_sync_begins<T>(
        mut self,
        write: impl FnOnce(bool) -> io::Result<T>,
    ) -> io::Result<T> {
        let gate = self.gate.clone();
        let syncs_begun = {
            let mut state = gate.block_until(|state| !state.settling);
            state.settling = true;
            state.syncs_begun
        };
        let _settling = Settling(&gate);
        let no_sync_ran = syncs_begun == self.syncs_ended;
        let written = write(no_sync_ran);
        self.in_doubt &= !no_sync_ran || written.is_err();
        // The refs are released while no sync can begin yet.
        drop(self);
        written
    }
}

/// A push that is being settled.
struct Settling<'m>(&'m Gate);

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.0.update(|state| state.settling = false);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Self { names, gate, .. } = self;
        gate.update(|state| {
            state.reserved.retain(|name| !names.contains(name));
            if self.in_doubt {
                let syncs_begun = state.syncs_begun;
                let names = names.iter().cloned();
                state
                    .unsettled
                    .extend(names.map(|name| (name, syncs_begun)));
            }
            gate.end_doubt(state);
        });
    }
}

impl Drop for RunningSync {
    fn drop(&mut self) {
        self.gate.update(|state| state.syncs_ended += 1);
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        self.0.update(|state| state.readers -= 1);
    }
}

impl Drop for ChangeGuard {
    fn drop(&mut self) {
        self.0.update(|state| state.changing = false);
    }
}

#[cfg(test)]
mod tests;

//! Who uses a mirror, and when: pushes hold refs, syncs write them, clients read, and a change of the mirror itself (its
//! refspecs, its place, its end) waits for all of them and holds up none that would come meanwhile.
//!
//! Between a push and a sync there is no waiting. Which of them knows upstream's last word cannot be told when a sync asked
//! while a push was on its way, and so the push then leaves its refs to the next sync. Until then the mirror is in doubt,
//! and nobody is served from it without asking upstream. A file says so, because a daemon may be killed in between.

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

/// In a mirror: something may have reached upstream through it that is not in its refs.
const DOUBT: &str = "doubt";

/// The gates of all mirrors, by where these lie.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<PathBuf, Arc<Gate>>>);

impl Gates {
    /// The gate of a mirror.
    pub(crate) fn of(&self, git_dir: &Path) -> Arc<Gate> {
        let new = || Arc::new(Gate::new(git_dir));
        self.0
            .lock()
            .entry(git_dir.to_owned())
            .or_insert_with(new)
            .clone()
    }
}

/// Through which everybody goes who uses a mirror.
pub(crate) struct Gate {
    doubt: PathBuf,
    state: Mutex<State>,
    /// Told to those who wait in blocking code, and to those who do not, whenever the state has changed.
    freed: (Condvar, Notify),
    /// Whether what a dead daemon left has been swept.
    swept: Mutex<bool>,
    /// Held while the packs are compared with what was verified, and what differs is laid aside.
    pub(crate) comparing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Refs of pushes that are under way.
    held: BTreeSet<BString>,
    /// Refs of pushes that upstream may have accepted and that are not written, each with how many syncs had begun then:
    /// only one that begins later knows more.
    left: BTreeMap<BString, u64>,
    /// Whether there is a reason for doubt that only a sync can take away: another daemon's, or a change.
    until_sync: bool,
    /// How many syncs have begun, and how many have ended.
    syncs: (u64, u64),
    /// Clients that read the mirror, or have opened a push to it.
    readers: usize,
    /// A push is being settled: no sync begins in the meantime.
    settling: bool,
    /// The mirror itself is being changed: nothing begins in the meantime.
    changing: bool,
}

/// Refs that one push holds; dropping it gives them back.
pub(crate) struct Reservation {
    gate: Arc<Gate>,
    names: BTreeSet<BString>,
    /// How many syncs had ended when it was made.
    ended: u64,
    /// Something may reach upstream that is not written here.
    in_doubt: bool,
}

/// A sync that runs; dropping it ends it.
pub(crate) struct Running {
    gate: Arc<Gate>,
    /// Which of all syncs it is.
    number: u64,
}

/// A client that reads the mirror; dropping it says that it has gone.
pub(crate) struct Reading(Arc<Gate>);

/// A change of the mirror; dropping it ends it.
pub(crate) struct Changing(Arc<Gate>);

impl State {
    /// Whether somebody is in the way of a change; with `alone`, who only reads is as well.
    fn is_busy(&self, alone: bool) -> bool {
        self.changing
            || self.settling
            || !self.held.is_empty()
            || self.syncs.0 != self.syncs.1
            || (alone && self.readers > 0)
    }
}

impl Gate {
    fn new(git_dir: &Path) -> Self {
        let doubt = git_dir.join(DOUBT);
        let until_sync = doubt.exists();
        Self {
            doubt,
            state: Mutex::new(State {
                until_sync,
                ..State::default()
            }),
            freed: Default::default(),
            swept: Mutex::default(),
            comparing: tokio::sync::Mutex::default(),
        }
    }

    /// Reserves all of these refs at once, as soon as no other push holds one of them.
    pub(crate) async fn reserve(self: &Arc<Self>, names: BTreeSet<BString>) -> Reservation {
        let ended = self
            .when(|state| {
                let free = !state.changing && state.held.is_disjoint(&names);
                free.then(|| {
                    state.held.extend(names.iter().cloned());
                    state.syncs.1
                })
            })
            .await;
        Reservation {
            gate: self.clone(),
            names,
            ended,
            in_doubt: false,
        }
    }

    /// Says that somebody reads the mirror, as soon as it is not being changed.
    pub(crate) async fn read(self: &Arc<Self>) -> Reading {
        self.when(|state| (!state.changing).then(|| state.readers += 1))
            .await;
        Reading(self.clone())
    }

    /// Begins a change as soon as nobody writes refs; with `alone`, as soon as nobody reads the mirror either.
    pub(crate) async fn change(self: &Arc<Self>, alone: bool) -> Changing {
        self.when(|state| {
            let free = !state.is_busy(alone);
            free.then(|| state.changing = true)
        })
        .await;
        Changing(self.clone())
    }

    /// Begins a change for which nobody is waited for: `None` when somebody reads the mirror or writes its refs.
    pub(crate) fn change_now(self: &Arc<Self>) -> Option<Changing> {
        let mut state = self.state.lock();
        if state.is_busy(true) {
            return None;
        }
        state.changing = true;
        Some(Changing(self.clone()))
    }

    /// Sweeps what a dead daemon left: once, within the first sync or change, before which no push can be open.
    pub(crate) fn sweep_once(&self, sweep: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut swept = self.swept.lock();
        if !*swept {
            sweep()?;
            *swept = true;
        }
        Ok(())
    }

    /// The refs that pushes change, or have changed since a sync last wrote them.
    pub(crate) fn touched(&self) -> BTreeSet<BString> {
        let state = self.state.lock();
        state
            .held
            .iter()
            .chain(state.left.keys())
            .cloned()
            .collect()
    }

    /// Whether something may have reached upstream that is not written here.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.doubt.exists()
    }

    /// A sync begins. Blocks while a push is being settled or the mirror is being changed.
    pub(crate) fn begin_sync(self: &Arc<Self>) -> Running {
        let mut state = self.block_until(|state| !state.settling && !state.changing);
        state.syncs.0 += 1;
        let (gate, number) = (self.clone(), state.syncs.0);
        Running { gate, number }
    }

    /// Ends the doubt where there is no reason for it any more.
    fn trust(&self, state: &State) {
        if state.held.is_empty()
            && state.left.is_empty()
            && !state.until_sync
            && let Err(err) = fs::remove_file(&self.doubt)
            && err.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove '{}': {err}", self.doubt.display());
        }
    }

    /// Waits until `take` gives something of the state.
    async fn when<T>(&self, mut take: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let freed = self.freed.1.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Some(taken) = take(&mut self.state.lock()) {
                return taken;
            }
            freed.await;
        }
    }

    fn block_until(&self, free: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        self.freed.0.wait_while(&mut state, |state| !free(state));
        state
    }

    /// Changes the state and tells all who wait for it.
    fn free(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
        self.freed.0.notify_all();
        self.freed.1.notify_waiters();
    }
}

impl Running {
    /// This sync has written all that upstream had when it began.
    pub(crate) fn caught_up(&self) {
        let mut state = self.gate.state.lock();
        state.left.retain(|_, begun| *begun >= self.number);
        // No change comes in beside a sync.
        state.until_sync = false;
        self.gate.trust(&state);
    }
}

impl Changing {
    /// Notes that the next answer must be upstream's, however fresh the mirror is. It lasts when this returns. Blocks.
    pub(crate) fn doubt(&self) -> io::Result<()> {
        self.0.state.lock().until_sync = true;
        durable::replace(&self.0.doubt, b"")
    }
}

impl Reservation {
    /// Notes that something will be sent to upstream, so that whoever finds the mirror after a kill asks upstream first.
    /// It lasts when this returns. Blocks.
    pub(crate) fn doubt(&mut self) -> io::Result<()> {
        self.in_doubt = true;
        let _state = self.gate.state.lock();
        if !self.gate.doubt.exists() {
            durable::replace(&self.gate.doubt, b"")?;
        }
        Ok(())
    }

    /// Runs `write`, during which no sync begins, and gives the refs back. It is told whether upstream's last word is
    /// known: whether no sync has run at any time since the reservation was made. Blocks.
    ///
    /// # Errors
    /// Fails as `write` does; the mirror then stays in doubt.
    pub(crate) fn settle<T>(mut self, write: impl FnOnce(bool) -> io::Result<T>) -> io::Result<T> {
        let gate = self.gate.clone();
        let begun = {
            let mut state = gate.block_until(|state| !state.settling);
            state.settling = true;
            state.syncs.0
        };
        let _settling = Settling(&gate);
        let known = begun == self.ended;
        let written = write(known);
        self.in_doubt &= !known || written.is_err();
        // Before a sync can begin.
        drop(self);
        written
    }
}

/// A push that is being settled.
struct Settling<'m>(&'m Gate);

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.0.free(|state| state.settling = false);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Self { names, gate, .. } = self;
        gate.free(|state| {
            state.held.retain(|name| !names.contains(name));
            if self.in_doubt {
                let begun = state.syncs.0;
                let names = names.iter().cloned();
                state.left.extend(names.map(|name| (name, begun)));
            }
            gate.trust(state);
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gate.free(|state| state.syncs.1 += 1);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.free(|state| state.readers -= 1);
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.0.free(|state| state.changing = false);
    }
}

#[cfg(test)]
mod tests;

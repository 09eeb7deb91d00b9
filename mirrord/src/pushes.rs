//! The pushes that are under way, and the syncs beside them: who may write which refs of a mirror, and when.
//!
//! A push is open from when the mirror was made fresh for it. It holds its refs from before it goes to upstream until it
//! is settled; another push of one of them waits. Between a push and a sync there is no waiting. Which of them knows
//! upstream's last word cannot be told when a sync asked while a push was on its way, and so the push then leaves the
//! refs as they are: the next sync, which comes before anybody is served, tells.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gix::bstr::BString;
use tokio::sync::Notify;

use crate::{quarantine::Quarantine, registry::Mirror};

/// The pushes of all mirrors.
#[derive(Default)]
pub(crate) struct Pushes {
    opened: Mutex<HashMap<String, Arc<Opened>>>,
    mirrors: Mutex<HashMap<PathBuf, Arc<OfMirror>>>,
}

/// A push that is open.
pub(crate) struct Opened {
    /// The mirror that it goes through.
    pub mirror: Mirror,
    /// Where what the client sends is kept until upstream has accepted it.
    pub quarantine: Quarantine,
}

/// What pushes hold of one mirror.
#[derive(Default)]
pub(crate) struct OfMirror {
    state: Mutex<State>,
    freed: Notify,
    /// Held while a push is being settled: no sync begins in the meantime. Only blocking code takes it.
    settling: Mutex<()>,
    /// Whether what a dead daemon left has been swept.
    swept: Mutex<bool>,
}

#[derive(Default)]
struct State {
    /// Refs of pushes that are under way.
    held: BTreeSet<BString>,
    /// How many syncs have begun, and how many have ended.
    syncs: (u64, u64),
}

/// Refs that one push holds; dropping it gives them back.
pub(crate) struct Reservation {
    mirror: Arc<OfMirror>,
    names: BTreeSet<BString>,
    /// How many syncs had ended when it was made.
    ended: u64,
}

/// A sync that runs; dropping it ends it.
pub(crate) struct Running(Arc<OfMirror>);

impl Pushes {
    /// Opens a push under an id.
    pub(crate) fn open(&self, id: &str, opened: Opened) {
        lock(&self.opened).insert(id.to_owned(), Arc::new(opened));
    }

    /// The push that is open under an id.
    pub(crate) fn opened(&self, id: &str) -> Option<Arc<Opened>> {
        lock(&self.opened).get(id).cloned()
    }

    /// Closes a push. What it has brought goes with it, unless it is being carried out.
    pub(crate) fn close(&self, id: &str) {
        lock(&self.opened).remove(id);
    }

    /// What pushes hold of a mirror.
    pub(crate) fn of(&self, git_dir: &Path) -> Arc<OfMirror> {
        lock(&self.mirrors)
            .entry(git_dir.to_owned())
            .or_default()
            .clone()
    }
}

impl OfMirror {
    /// Reserves all of these refs at once, as soon as no other push holds one of them.
    pub(crate) async fn reserve(self: &Arc<Self>, names: BTreeSet<BString>) -> Reservation {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            {
                let mut state = lock(&self.state);
                if state.held.is_disjoint(&names) {
                    state.held.extend(names.iter().cloned());
                    let (mirror, ended) = (self.clone(), state.syncs.1);
                    return Reservation {
                        mirror,
                        names,
                        ended,
                    };
                }
            }
            freed.await;
        }
    }

    /// Sweeps what a dead daemon left: once, before the first push can be open, whose own it would take for that.
    pub(crate) fn sweep_once(&self, sweep: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let mut swept = lock(&self.swept);
        if !*swept {
            sweep()?;
            *swept = true;
        }
        Ok(())
    }

    /// A sync begins. Blocks while a push is being settled.
    pub(crate) fn begin_sync(self: &Arc<Self>) -> Running {
        let _turn = lock(&self.settling);
        lock(&self.state).syncs.0 += 1;
        Running(self.clone())
    }
}

impl Reservation {
    /// Runs `write`, during which no sync begins, and gives the refs back. It is told whether upstream's last word is
    /// known: whether no sync has run at any time since the reservation was made. Blocks.
    pub(crate) fn settle<T>(self, write: impl FnOnce(bool) -> T) -> T {
        let mirror = self.mirror.clone();
        let _turn = lock(&mirror.settling);
        let begun = lock(&mirror.state).syncs.0;
        write(begun == self.ended)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        lock(&self.mirror.state)
            .held
            .retain(|name| !self.names.contains(name));
        self.mirror.freed.notify_waiters();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.0.state).syncs.1 += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<BString> {
        list.iter().map(|name| BString::from(*name)).collect()
    }

    fn mirror() -> Arc<OfMirror> {
        Pushes::default().of(Path::new("/m"))
    }

    #[tokio::test]
    async fn a_push_of_a_ref_waits_for_the_one_before_it_and_for_no_other() {
        let mirror = mirror();
        let first = mirror.reserve(names(&["a", "b"])).await;
        drop(mirror.reserve(names(&["c"])).await);
        let mut second = Box::pin(mirror.reserve(names(&["b", "d"])));
        assert!(futures_are_pending(&mut second).await);
        drop(mirror.reserve(names(&["d"])).await);
        first.settle(|_| ());
        drop(second.await);
    }

    async fn futures_are_pending(future: &mut (impl Future + Unpin)) -> bool {
        tokio::select! {
            biased;
            _ = future => false,
            () = std::future::ready(()) => true,
        }
    }

    #[tokio::test]
    async fn a_push_knows_the_last_word_unless_a_sync_ran_beside_it() {
        let mirror = mirror();
        drop(mirror.begin_sync());
        let alone = mirror.reserve(names(&["a"])).await;
        assert!(alone.settle(|known| known));

        let during = mirror.reserve(names(&["a"])).await;
        drop(mirror.begin_sync());
        assert!(!during.settle(|known| known), "one began and ended");

        let sync = mirror.begin_sync();
        let across = mirror.reserve(names(&["a"])).await;
        drop(sync);
        assert!(!across.settle(|known| known), "one ran already");

        let sync = mirror.begin_sync();
        let within = mirror.reserve(names(&["a"])).await;
        assert!(!within.settle(|known| known), "one runs still");
        drop(sync);
    }
}

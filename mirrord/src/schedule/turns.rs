//! Whose turn it is: so many syncs at once, so many of them at one host, and somebody at a terminal before all that
//! nobody waits for.
//!
//! What nobody waits for has at most half of the turns, here and at each host: a person who comes finds one that is free,
//! or one that somebody else waits for.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use common::protocol::Cause;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

/// In this order those who wait get their turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Somebody waits.
    Person,
    /// Upstream has something new.
    Webhook,
    /// It is time.
    Schedule,
    /// A mirror wants to be kept in shape.
    Upkeep,
}

impl From<Cause> for Lane {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Fetch | Cause::Push | Cause::Command => Self::Person,
            Cause::Webhook => Self::Webhook,
            Cause::Schedule => Self::Schedule,
        }
    }
}

/// The turns that there are.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Inner>);

struct Inner {
    /// How many there are at once.
    all: usize,
    /// How many at one host: one slow host must not take the turns of all others.
    per_host: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    taken: Taken,
    hosts: HashMap<String, Taken>,
    /// In the order in which they go.
    waiting: BTreeMap<(Lane, u64), Waiting>,
    came: u64,
}

/// Turns that are taken.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    all: usize,
    /// Of these, those for which nobody waits.
    unasked: usize,
}

struct Waiting {
    host: String,
    go: oneshot::Sender<Turn>,
}

/// A turn; dropping it gives it to the next.
pub(crate) struct Turn {
    turns: Turns,
    host: String,
    lane: Lane,
}

impl Turns {
    /// So many at once, and so many of them at one host.
    pub(crate) fn new(all: usize, per_host: usize) -> Self {
        Self(Arc::new(Inner {
            all,
            per_host,
            state: Mutex::default(),
        }))
    }

    /// Waits for a turn at a host; `None` when there will be none any more. Whoever stops waiting loses nothing and takes
    /// nothing.
    pub(crate) async fn take(&self, host: &str, lane: Lane) -> Option<Turn> {
        let (go, turn) = oneshot::channel();
        {
            let mut state = self.state();
            if state.closed {
                return None;
            }
            state.came += 1;
            let place = (lane, state.came);
            let host = host.to_owned();
            state.waiting.insert(place, Waiting { host, go });
        }
        self.admit();
        turn.await.ok()
    }

    /// From now on nobody gets a turn.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }

    /// Gives out what is free.
    fn admit(&self) {
        let mut admitted = Vec::new();
        {
            let mut state = self.state();
            let State {
                taken,
                hosts,
                waiting,
                ..
            } = &mut *state;
            let most = (self.0.all, self.0.per_host);
            waiting.retain(|_, one| !one.go.is_closed());
            let mut places = Vec::new();
            for (place, one) in waiting.iter() {
                if taken.all >= most.0 {
                    break;
                }
                let at_host = hosts.get(&one.host).copied().unwrap_or_default();
                if taken.has_one(place.0, most.0) && at_host.has_one(place.0, most.1) {
                    taken.add(place.0);
                    hosts.entry(one.host.clone()).or_default().add(place.0);
                    places.push(*place);
                }
            }
            for place in places {
                if let Some(Waiting { host, go }) = waiting.remove(&place) {
                    let turns = self.clone();
                    let lane = place.0;
                    admitted.push((go, Turn { turns, host, lane }));
                }
            }
        }
        // One who has gone meanwhile gives the turn back, for which the state must be free.
        for (go, turn) in admitted {
            let _ = go.send(turn);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl Taken {
    /// Whether there is one more for this lane, of so many.
    fn has_one(self, lane: Lane, most: usize) -> bool {
        let half = (most / 2).max(1);
        self.all < most && (lane == Lane::Person || self.unasked < half)
    }

    fn add(&mut self, lane: Lane) {
        self.all += 1;
        self.unasked += usize::from(lane != Lane::Person);
    }

    fn remove(&mut self, lane: Lane) {
        self.all -= 1;
        self.unasked -= usize::from(lane != Lane::Person);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        {
            let mut state = self.turns.state();
            state.taken.remove(self.lane);
            if let Some(at_host) = state.hosts.get_mut(&self.host) {
                at_host.remove(self.lane);
                if at_host.all == 0 {
                    state.hosts.remove(&self.host);
                }
            }
        }
        self.turns.admit();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{task::JoinHandle, time::timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// Somebody who waits for a turn already.
    async fn waiting(turns: &Turns, host: &'static str, lane: Lane) -> JoinHandle<Option<Turn>> {
        let before = turns.state().came;
        let turns = turns.clone();
        let waits = turns.clone();
        let waiting = tokio::spawn(async move { waits.take(host, lane).await });
        while turns.state().came == before {
            tokio::task::yield_now().await;
        }
        waiting
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_goes_before_a_webhook_and_that_before_the_schedule() {
        let turns = Turns::new(1, 1);
        let first = turns.take("a", Lane::Schedule).await;
        let schedule = waiting(&turns, "a", Lane::Schedule).await;
        let webhook = waiting(&turns, "b", Lane::Webhook).await;
        let person = waiting(&turns, "a", Lane::Person).await;
        drop(first);
        settle().await;
        assert!(person.is_finished() && !webhook.is_finished() && !schedule.is_finished());
        drop(person.await);
        settle().await;
        assert!(webhook.is_finished() && !schedule.is_finished());
        drop(webhook.await);
        assert!(schedule.await.expect("no panic").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_has_half_of_the_turns_and_a_person_finds_one_free() {
        let turns = Turns::new(16, 8);
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(turns.take("a", Lane::Schedule).await);
        }
        let fifth = timeout(LONG, turns.take("a", Lane::Webhook)).await;
        assert!(fifth.is_err(), "half of the eight turns at one host");
        for _ in 0..4 {
            taken.push(turns.take("a", Lane::Person).await);
        }
        let ninth = timeout(LONG, turns.take("a", Lane::Person)).await;
        assert!(ninth.is_err(), "no more than eight at one host");
        for host in ["b", "b", "c", "c"] {
            taken.push(turns.take(host, Lane::Schedule).await);
        }
        let more = timeout(LONG, turns.take("d", Lane::Schedule)).await;
        assert!(more.is_err(), "half of the sixteen turns");
        assert!(turns.take("d", Lane::Person).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_without_a_free_turn_does_not_hold_up_the_others() {
        let turns = Turns::new(4, 1);
        let slow = turns.take("slow", Lane::Person).await;
        let next = waiting(&turns, "slow", Lane::Person).await;
        assert!(turns.take("other", Lane::Schedule).await.is_some());
        drop(slow);
        assert!(next.await.expect("no panic").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_waiting_takes_no_turn_along() {
        let turns = Turns::new(1, 1);
        let first = turns.take("a", Lane::Person).await;
        let gone = waiting(&turns, "a", Lane::Person).await;
        let next = waiting(&turns, "a", Lane::Schedule).await;
        gone.abort();
        settle().await;
        drop(first);
        assert!(next.await.expect("no panic").is_some());
        assert!(turns.take("a", Lane::Person).await.is_some());
        let state = turns.state();
        assert_eq!((state.taken.all, state.taken.unasked), (0, 0));
        assert!(state.hosts.is_empty() && state.waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_what_will_never_come() {
        let turns = Turns::new(1, 1);
        let _first = turns.take("a", Lane::Person).await;
        let waits = waiting(&turns, "a", Lane::Person).await;
        turns.close();
        assert!(waits.await.expect("no panic").is_none());
        assert!(turns.take("b", Lane::Person).await.is_none());
    }
}

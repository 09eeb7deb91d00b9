//! Turns: a limit on how many syncs run at once, in all and at one host. Clients come before background work.
//!
//! Background work takes at most half of the turns, in all and at each host: a client waits for other clients only.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use common::protocol::Cause;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

/// The kinds of work, in the order in which they get turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// A sync that a client waits for.
    Client,
    /// A sync because upstream says that something has changed.
    Webhook,
    /// A sync at its scheduled time.
    Schedule,
    /// The upkeep of a mirror.
    Upkeep,
}

impl From<Cause> for Lane {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Fetch | Cause::Push | Cause::Command => Self::Client,
            Cause::Webhook => Self::Webhook,
            Cause::Schedule => Self::Schedule,
        }
    }
}

/// The turns of all mirrors.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Inner>);

struct Inner {
    /// How many turns there are.
    max: usize,
    /// How many of them at one host: one slow host must not take the turns of all others.
    max_per_host: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    taken: Taken,
    hosts: HashMap<String, Taken>,
    /// In the order in which they get turns: by lane, then by arrival.
    waiting: BTreeMap<(Lane, u64), Waiting>,
    arrivals: u64,
}

/// How many turns are taken.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    all: usize,
    /// How many of them by background work.
    background: usize,
}

struct Waiting {
    host: String,
    turn: oneshot::Sender<Turn>,
}

/// A turn. When it is dropped, the next one gets it.
pub(crate) struct Turn {
    turns: Turns,
    host: String,
    lane: Lane,
}

impl Turns {
    /// `max` turns, of which one host gets at most `max_per_host`.
    pub(crate) fn new(max: usize, max_per_host: usize) -> Self {
        Self(Arc::new(Inner {
            max,
            max_per_host,
            state: Mutex::default(),
        }))
    }

    /// Waits for a turn at a host. Returns `None` once there are no turns any more. Dropping the future takes no turn.
    pub(crate) async fn take(&self, host: &str, lane: Lane) -> Option<Turn> {
        let (sender, turn) = oneshot::channel();
        {
            let mut state = self.state();
            if state.closed {
                return None;
            }
            state.arrivals += 1;
            let key = (lane, state.arrivals);
            let host = host.to_owned();
            state.waiting.insert(key, Waiting { host, turn: sender });
        }
        self.give_free_turns();
        turn.await.ok()
    }

    /// Ends all waits. From now on there are no turns.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
    }

    /// Gives the free turns to the first who wait.
    fn give_free_turns(&self) {
        let mut given = Vec::new();
        {
            let mut state = self.state();
            let State {
                taken,
                hosts,
                waiting,
                ..
            } = &mut *state;
            let Inner {
                max, max_per_host, ..
            } = *self.0;
            waiting.retain(|_, waiting| !waiting.turn.is_closed());
            let mut next = Vec::new();
            for (key @ (lane, _), Waiting { host, .. }) in waiting.iter() {
                if taken.all >= max {
                    break;
                }
                let at_host = hosts.get(host).copied().unwrap_or_default();
                if taken.allows(*lane, max) && at_host.allows(*lane, max_per_host) {
                    taken.add(*lane);
                    hosts.entry(host.clone()).or_default().add(*lane);
                    next.push(*key);
                }
            }
            for key in next {
                if let Some(Waiting { host, turn }) = waiting.remove(&key) {
                    let (turns, lane) = (self.clone(), key.0);
                    given.push((turn, Turn { turns, host, lane }));
                }
            }
        }
        // Without the lock: a turn that nobody waits for any more is dropped, which takes it.
        for (sender, turn) in given {
            let _ = sender.send(turn);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl Taken {
    /// Whether this lane may have one more of `max` turns.
    fn allows(self, lane: Lane, max: usize) -> bool {
        let half = (max / 2).max(1);
        self.all < max && (lane == Lane::Client || self.background < half)
    }

    fn add(&mut self, lane: Lane) {
        self.all += 1;
        self.background += usize::from(lane != Lane::Client);
    }

    fn remove(&mut self, lane: Lane) {
        self.all -= 1;
        self.background -= usize::from(lane != Lane::Client);
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
        self.turns.give_free_turns();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{task::JoinHandle, time::timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    /// Starts to wait for a turn.
    async fn waiting(turns: &Turns, host: &'static str, lane: Lane) -> JoinHandle<Option<Turn>> {
        let before = turns.state().arrivals;
        let turns = turns.clone();
        let waits = turns.clone();
        let waiting = tokio::spawn(async move { waits.take(host, lane).await });
        while turns.state().arrivals == before {
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
    async fn a_client_comes_before_a_webhook_and_that_before_the_schedule() {
        let turns = Turns::new(1, 1);
        let first = turns.take("a", Lane::Schedule).await;
        let schedule = waiting(&turns, "a", Lane::Schedule).await;
        let webhook = waiting(&turns, "b", Lane::Webhook).await;
        let client = waiting(&turns, "a", Lane::Client).await;
        drop(first);
        settle().await;
        assert!(client.is_finished() && !webhook.is_finished() && !schedule.is_finished());
        drop(client.await);
        settle().await;
        assert!(webhook.is_finished() && !schedule.is_finished());
        drop(webhook.await);
        assert!(schedule.await.expect("no panic").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn background_work_has_half_of_the_turns_and_a_client_finds_one_free() {
        let turns = Turns::new(16, 8);
        let mut taken = Vec::new();
        for _ in 0..4 {
            taken.push(turns.take("a", Lane::Schedule).await);
        }
        let fifth = timeout(LONG, turns.take("a", Lane::Webhook)).await;
        assert!(fifth.is_err(), "half of the eight turns at one host");
        for _ in 0..4 {
            taken.push(turns.take("a", Lane::Client).await);
        }
        let ninth = timeout(LONG, turns.take("a", Lane::Client)).await;
        assert!(ninth.is_err(), "no more than eight at one host");
        for host in ["b", "b", "c", "c"] {
            taken.push(turns.take(host, Lane::Schedule).await);
        }
        let more = timeout(LONG, turns.take("d", Lane::Schedule)).await;
        assert!(more.is_err(), "half of the sixteen turns");
        assert!(turns.take("d", Lane::Client).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_without_a_free_turn_does_not_delay_the_others() {
        let turns = Turns::new(4, 1);
        let slow = turns.take("slow", Lane::Client).await;
        let next = waiting(&turns, "slow", Lane::Client).await;
        assert!(turns.take("other", Lane::Schedule).await.is_some());
        drop(slow);
        assert!(next.await.expect("no panic").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_takes_no_turn() {
        let turns = Turns::new(1, 1);
        let first = turns.take("a", Lane::Client).await;
        let gone = waiting(&turns, "a", Lane::Client).await;
        let next = waiting(&turns, "a", Lane::Schedule).await;
        gone.abort();
        settle().await;
        drop(first);
        assert!(next.await.expect("no panic").is_some());
        assert!(turns.take("a", Lane::Client).await.is_some());
        let state = turns.state();
        assert_eq!((state.taken.all, state.taken.background), (0, 0));
        assert!(state.hosts.is_empty() && state.waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_wait_lasts_once_turns_are_closed() {
        let turns = Turns::new(1, 1);
        let _first = turns.take("a", Lane::Client).await;
        let waits = waiting(&turns, "a", Lane::Client).await;
        turns.close();
        assert!(waits.await.expect("no panic").is_none());
        assert!(turns.take("b", Lane::Client).await.is_none());
    }
}

//! An upstream that is known to give no answer: whoever has a copy need not wait for that again.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Engine, Outcome, Task};
use crate::{mirrors::registry::Target, upstream::Trouble};

/// How long it counts that an upstream gave no answer. A fetch that comes later waits again, to see for itself.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// An upstream that gives no answer, as syncs and those who waited for one have seen it.
#[derive(Debug, Clone)]
pub(super) struct Hang {
    /// Since when there is no answer.
    since: Instant,
    /// When that was last seen.
    seen: Instant,
    /// How long was waited in vain when it was last seen.
    waited: Duration,
    /// Whether something of a sync has moved since then.
    moves: watch::Receiver<()>,
    /// Whether a sync is on its way that will tell.
    is_tried: bool,
}

impl Hang {
    fn new(
        before: Option<&Self>,
        waited: Duration,
        moves: &watch::Sender<()>,
        is_tried: bool,
    ) -> Self {
        let now = Instant::now();
        let begin = now.checked_sub(waited).unwrap_or(now);
        Self {
            since: before.map_or(begin, |before| before.since),
            seen: now,
            waited,
            moves: moves.subscribe(),
            is_tried,
        }
    }

    /// What is known after a sync that took so long.
    pub(super) fn after(
        before: Option<Self>,
        result: &Result<Outcome, Trouble>,
        took: Duration,
        moves: &watch::Sender<()>,
    ) -> Option<Self> {
        match result {
            Err(trouble) if trouble.no_answer => {
                Some(Self::new(before.as_ref(), took, moves, false))
            }
            // Upstream answered, or is out of reach in a way that is seen at once.
            _ => None,
        }
    }

    /// For how long there has been no answer, where somebody has waited in vain for at least `limit`.
    fn lasts(&self, limit: Duration) -> Option<Duration> {
        let counts = self.is_tried || self.seen.elapsed() < MAX_AGE;
        // A sender that is gone moves nothing.
        let has_moved = self.moves.has_changed().unwrap_or_default();
        (counts && !has_moved && self.waited >= limit).then(|| self.since.elapsed())
    }
}

impl Engine {
    /// For how long an upstream has given no answer, where it is known that waiting for `limit` is in vain.
    pub(crate) fn hangs(&self, target: &Target, limit: Duration) -> Option<Duration> {
        let task = self.known_task(target)?;
        task.state.lock().hang.as_ref()?.lasts(limit)
    }

    /// Records that somebody waited for `limit` in vain. The sync goes on.
    pub(crate) fn record_hang(&self, target: &Target, limit: Duration) {
        if let Some(task) = self.known_task(target) {
            let mut state = task.state.lock();
            state.hang = Some(Hang::new(state.hang.as_ref(), limit, &task.moves, true));
        }
    }

    /// Whether somebody must ask for a sync that tells whether an upstream answers again; only the first who asks.
    pub(crate) fn is_to_be_tried(&self, target: &Target) -> bool {
        let Some(task) = self.known_task(target) else {
            return false;
        };
        let mut state = task.state.lock();
        match &mut state.hang {
            Some(hang) => !std::mem::replace(&mut hang.is_tried, true),
            None => false,
        }
    }

    fn known_task(&self, target: &Target) -> Option<Task> {
        self.tasks.lock().get(target).cloned()
    }
}

#[cfg(test)]
mod tests {
    use common::protocol::{Failure, FailureKind};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn failed(no_answer: bool) -> Result<Outcome, Trouble> {
        let failure = Failure::new(FailureKind::Unreachable, "no answer");
        Err(Trouble {
            no_answer,
            ..failure.into()
        })
    }

    #[test]
    fn an_upstream_hangs_until_something_moves() {
        let moves = watch::Sender::default();
        let hang = Hang::new(None, LIMIT, &moves, true);
        assert!(hang.lasts(LIMIT).is_some_and(|lasts| lasts >= LIMIT));
        moves.send_replace(());
        assert!(hang.lasts(LIMIT).is_none());
    }

    #[test]
    fn who_is_to_wait_longer_than_anybody_has_sees_for_themselves() {
        let moves = watch::Sender::default();
        let hang = Hang::new(None, LIMIT, &moves, false);
        assert!(hang.lasts(2 * LIMIT).is_none());
    }

    #[test]
    fn a_sync_without_an_answer_lengthens_it_and_any_other_ends_it() {
        let moves = watch::Sender::default();
        let before = Some(Hang::new(None, 3 * LIMIT, &moves, true));
        let hang = Hang::after(before.clone(), &failed(true), LIMIT, &moves).expect("it hangs");
        assert!(hang.lasts(LIMIT).is_some_and(|lasts| lasts >= 3 * LIMIT));
        assert!(!hang.is_tried, "the next fetch tries again");
        assert!(Hang::after(before.clone(), &failed(false), LIMIT, &moves).is_none());
        assert!(Hang::after(before, &Ok(Outcome::Gone), LIMIT, &moves).is_none());
    }

    #[test]
    fn what_was_seen_long_ago_counts_only_while_a_sync_is_on_its_way() {
        let moves = watch::Sender::default();
        let mut hang = Hang::new(None, LIMIT, &moves, false);
        let Some(seen) = hang.seen.checked_sub(MAX_AGE) else {
            return;
        };
        hang.seen = seen;
        assert!(hang.lasts(LIMIT).is_none());
        hang.is_tried = true;
        assert!(hang.lasts(LIMIT).is_some());
    }
}

//! An upstream that is known to give no answer: a fetch that has a copy does not wait for it again.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{
    engine::{Engine, Task},
    job::Outcome,
};
use crate::{mirrors::registry::Target, upstream::Trouble};

/// How long it counts that an upstream gave no answer. A later fetch waits for an answer again.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// The time for which an upstream has given no answer, by syncs and by clients that waited for one.
#[derive(Debug, Clone)]
pub(super) struct Hang {
    /// When the first wait without an answer began.
    since: Instant,
    /// When the last one ended.
    last_wait_ended: Instant,
    /// How long the last one took.
    waited: Duration,
    /// Has changed if a sync has made progress since then.
    moves: watch::Receiver<()>,
    /// Whether a sync runs that will find out whether upstream answers again.
    is_retried: bool,
}

impl Hang {
    fn new(
        before: Option<&Self>,
        waited: Duration,
        moves: &watch::Sender<()>,
        is_retried: bool,
    ) -> Self {
        let now = Instant::now();
        let begin = now.checked_sub(waited).unwrap_or(now);
        Self {
            since: before.map_or(begin, |before| before.since),
            last_wait_ended: now,
            waited,
            moves: moves.subscribe(),
            is_retried,
        }
    }

    /// The hang after a sync that took this long, if upstream did not answer.
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
            // Upstream answered, or the connection failed at once.
            _ => None,
        }
    }

    /// How long upstream has given no answer, if the last wait was at least `limit`.
    fn duration(&self, limit: Duration) -> Option<Duration> {
        let counts = self.is_retried || self.last_wait_ended.elapsed() < MAX_AGE;
        // A sender that is gone moves nothing.
        let has_moved = self.moves.has_changed().unwrap_or_default();
        (counts && !has_moved && self.waited >= limit).then(|| self.since.elapsed())
    }
}

impl Engine {
    /// How long an upstream has given no answer, if a wait of `limit` was in vain.
    pub(crate) fn hang_duration(&self, target: &Target, limit: Duration) -> Option<Duration> {
        let task = self.known_task(target)?;
        task.state.lock().hang.as_ref()?.duration(limit)
    }

    /// Records that a client waited for `limit` in vain. The sync goes on.
    pub(crate) fn record_hang(&self, target: &Target, limit: Duration) {
        if let Some(task) = self.known_task(target) {
            let mut state = task.state.lock();
            state.hang = Some(Hang::new(state.hang.as_ref(), limit, &task.moves, true));
        }
    }

    /// Returns true to the first caller, who has to request a sync that finds out whether upstream answers again.
    pub(crate) fn claim_retry(&self, target: &Target) -> bool {
        let Some(task) = self.known_task(target) else {
            return false;
        };
        let mut state = task.state.lock();
        match &mut state.hang {
            Some(hang) => !std::mem::replace(&mut hang.is_retried, true),
            None => false,
        }
    }

    fn known_task(&self, target: &Target) -> Option<Task> {
        self.tasks().get(target).cloned()
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
    fn an_upstream_hangs_until_a_sync_makes_progress() {
        let moves = watch::Sender::default();
        let hang = Hang::new(None, LIMIT, &moves, true);
        assert!(
            hang.duration(LIMIT)
                .is_some_and(|duration| duration >= LIMIT)
        );
        moves.send_replace(());
        assert!(hang.duration(LIMIT).is_none());
    }

    #[test]
    fn a_fetch_with_a_longer_limit_than_any_before_waits() {
        let moves = watch::Sender::default();
        let hang = Hang::new(None, LIMIT, &moves, false);
        assert!(hang.duration(2 * LIMIT).is_none());
    }

    #[test]
    fn a_sync_without_an_answer_lengthens_the_hang_and_any_other_ends_it() {
        let moves = watch::Sender::default();
        let before = Some(Hang::new(None, 3 * LIMIT, &moves, true));
        let hang = Hang::after(before.clone(), &failed(true), LIMIT, &moves).expect("it hangs");
        assert!(
            hang.duration(LIMIT)
                .is_some_and(|duration| duration >= 3 * LIMIT)
        );
        assert!(!hang.is_retried, "the next fetch tries again");
        assert!(Hang::after(before.clone(), &failed(false), LIMIT, &moves).is_none());
        assert!(Hang::after(before, &Ok(Outcome::Gone), LIMIT, &moves).is_none());
    }

    #[test]
    fn an_old_wait_counts_only_while_a_retry_runs() {
        let moves = watch::Sender::default();
        let mut hang = Hang::new(None, LIMIT, &moves, false);
        let Some(long_ago) = hang.last_wait_ended.checked_sub(MAX_AGE) else {
            return;
        };
        hang.last_wait_ended = long_ago;
        assert!(hang.duration(LIMIT).is_none());
        hang.is_retried = true;
        assert!(hang.duration(LIMIT).is_some());
    }
}

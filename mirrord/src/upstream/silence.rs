//! For how long upstream has been waited for since it last got anywhere.
//!
//! Only waiting counts: while what came is being stored nobody waits for upstream. And only what gets us further ends
//! it: words that come in drops are no news.

use std::time::{Duration, Instant};

/// How long somebody waits, with what has been waited before.
#[derive(Debug, Default)]
pub(super) struct NoProgress {
    waited: Duration,
    since: Option<Instant>,
}

impl NoProgress {
    /// From now on upstream is waited for.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = Some(now);
    }

    /// Something came, whatever it is.
    pub(super) fn end(&mut self, now: Instant) {
        self.waited = self.lasts(now);
        self.since = None;
    }

    /// Upstream got somewhere.
    pub(super) fn broken(&mut self, now: Instant) {
        self.waited = Duration::ZERO;
        self.since = self.since.map(|_| now);
    }

    /// How much of a budget is left.
    pub(super) fn left(&self, budget: Duration, now: Instant) -> Duration {
        budget.saturating_sub(self.lasts(now))
    }

    fn lasts(&self, now: Instant) -> Duration {
        let lasts = self.since.map(|since| now.saturating_duration_since(since));
        self.waited + lasts.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

    #[test]
    fn drops_do_not_end_it_and_progress_does() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut silence = NoProgress::default();
        for second in 0..29 {
            silence.begin(at(second));
            silence.end(at(second + 1));
        }
        assert_eq!(
            silence.left(NO_PROGRESS_TIMEOUT, at(29)),
            Duration::from_secs(1)
        );
        silence.begin(at(29));
        assert_eq!(silence.left(NO_PROGRESS_TIMEOUT, at(31)), Duration::ZERO);
        silence.broken(at(31));
        assert_eq!(
            silence.left(NO_PROGRESS_TIMEOUT, at(41)),
            Duration::from_secs(20)
        );
    }

    #[test]
    fn our_own_work_is_not_upstreams_silence() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut silence = NoProgress::default();
        silence.begin(at(0));
        silence.end(at(10));
        assert_eq!(
            silence.left(NO_PROGRESS_TIMEOUT, at(1000)),
            Duration::from_secs(20)
        );
        silence.broken(at(1000));
        assert_eq!(
            silence.left(NO_PROGRESS_TIMEOUT, at(2000)),
            NO_PROGRESS_TIMEOUT
        );
    }
}

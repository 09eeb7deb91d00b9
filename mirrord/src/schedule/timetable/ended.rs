//! What follows a sync that has ended: when its mirror is synced next, and what becomes of its host's back-off.

use std::{path::Path, time::Duration};

use common::protocol::{FailureKind, Why};
use tokio::time::Instant;

use super::{MINUTE, PROBE_INTERVAL, Planned, REFUSED_FACTOR, Timetable};
use crate::schedule::jitter::retry_wait;

/// How a sync ended, as far as that decides when the next one is.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::schedule) struct Ended<'e> {
    /// Why it failed, if it did.
    pub failure: Option<(FailureKind, &'e str)>,
    /// Whether somebody has to do something before another one can succeed.
    pub needs_you: bool,
    /// The `Retry-After` of the host.
    pub retry_after: Option<Duration>,
}

impl Timetable {
    /// Records how a sync of a mirror ended, scheduled or for a client. Returns whether the back-off of its host has changed.
    pub(in crate::schedule) fn record_end(
        &mut self,
        git_dir: &Path,
        ended: Ended<'_>,
        now: Instant,
    ) -> bool {
        let Some(planned) = self.mirrors.get_mut(git_dir) else {
            return false;
        };
        let host = planned.host.clone();
        let Some((kind, message)) = ended.failure else {
            self.plan_after_success(git_dir, now);
            return self.record_answer(&host, now);
        };
        if kind == FailureKind::Cancelled {
            return false;
        }
        planned.failures = planned.failures.saturating_add(1);
        if ended.needs_you {
            self.unplan(git_dir, Why::NeedsYou);
            return self.record_answer(&host, now);
        }
        let host_changed = match kind {
            FailureKind::Unreachable => {
                let Self { hosts, jitter, .. } = self;
                hosts.record_failure(&host, ended.retry_after, message, now, jitter);
                true
            }
            FailureKind::Here
            | FailureKind::NoDaemon
            | FailureKind::NoMirror
            | FailureKind::Usage => false,
            _ => self.record_answer(&host, now),
        };
        self.plan_after_failure(git_dir, kind, now);
        host_changed
    }

    fn plan_after_success(&mut self, git_dir: &Path, now: Instant) {
        let Some(planned) = self.mirrors.get_mut(git_dir) else {
            return;
        };
        planned.failures = 0;
        match planned.every {
            // Upstream changed while the sync ran.
            _ if planned.is_changed => self.plan_for_change(git_dir, now),
            Some(every) => {
                let due = now + self.jitter.about(every);
                self.plan(git_dir, due, Why::Interval);
            }
            None => self.unplan(git_dir, Why::Never),
        }
    }

    fn plan_after_failure(&mut self, git_dir: &Path, kind: FailureKind, now: Instant) {
        let Some(planned) = self.mirrors.get(git_dir) else {
            return;
        };
        let Planned {
            host,
            every,
            failures,
            is_changed,
            ..
        } = planned;
        let retry = retry_wait(*failures, &mut self.jitter);
        let (wait, why) = match (*every, kind) {
            (None, _) if !is_changed => return self.unplan(git_dir, Why::Never),
            (Some(every), FailureKind::Refused | FailureKind::Wiped) => {
                (every.max(REFUSED_FACTOR * retry), Why::Refused)
            }
            _ => (retry, Why::Retry),
        };
        let due = match self.hosts.get(host, now) {
            Some(backoff) => (now + wait).max(backoff.until + self.jitter.below(PROBE_INTERVAL)),
            None => now + wait,
        };
        self.plan(git_dir, due, why);
    }

    /// Ends the back-off of a host that has answered. The syncs that waited for it start soon, and not all at once. Returns
    /// whether there was a back-off.
    fn record_answer(&mut self, host: &str, now: Instant) -> bool {
        if !self.hosts.record_answer(host) {
            return false;
        }
        let waiting: Vec<_> = self
            .mirrors
            .iter()
            .filter(|(_, planned)| planned.why == Why::HostRests && planned.host == host)
            .map(|(git_dir, planned)| (git_dir.clone(), planned.due, planned.every))
            .collect();
        for (git_dir, due, every) in waiting {
            let within = every.unwrap_or(MINUTE).min(MINUTE);
            let soon = now + self.jitter.below(within);
            self.plan(&git_dir, due.map_or(soon, |due| due.min(soon)), Why::Retry);
        }
        true
    }
}

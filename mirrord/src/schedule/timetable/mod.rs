//! When each mirror is brought in step without anybody asking: rules of a time that is given to them, and no clock.
//!
//! Times are those of a monotonic clock, so that a wall clock that is set by years misses nothing and spins nothing. All
//! waits are jittered: a thousand mirrors neither start at once nor ever come to go together.

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use common::protocol::{Cause, FailureKind, Next, Why};
use tokio::time::Instant;

use super::{
    host_backoff::{Gate, HostBackoff, Rest},
    jitter::{Jitter, backoff},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A daemon that has just started, most often because somebody signed in or wants something, has other things to do.
const STARTUP_SPREAD: Duration = Duration::from_secs(30);

/// What is overdue after a start or a sleep is spread over this time.
const CATCH_UP_SPREAD: Duration = Duration::from_secs(10 * 60);

/// What upstream refuses, somebody must mend: it is looked at again, as often as its settings say but so many times less
/// often than what may pass by itself.
const MAX_REFUSALS: u32 = 4;

/// Between two departures of one mirror for what upstream says. A storm of words costs one look in this time.
const COALESCE_INTERVAL: Duration = Duration::from_secs(2);

/// While one has gone to see whether a host is back, the others look again after about this time.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// When each mirror goes next.
pub(super) struct Timetable {
    jitter: Jitter,
    mirrors: HashMap<PathBuf, Planned>,
    /// Those that will go, the next one first.
    order: BTreeSet<(Instant, PathBuf)>,
    rests: HostBackoff,
}

/// A mirror as it is planned.
struct Planned {
    host: String,
    every: Option<Duration>,
    due: Option<Instant>,
    why: Why,
    /// How often it has failed in a row.
    failures: u32,
    /// It has gone, and is not back.
    running: bool,
    /// Upstream has said that it has something new.
    hinted: bool,
    /// When it last went for that.
    told: Option<Instant>,
}

/// How a sync ended, as far as it decides when the next one is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ended<'e> {
    /// What went wrong, when something did.
    pub failure: Option<(FailureKind, &'e str)>,
    /// Whether that needs somebody.
    pub needs_you: bool,
    /// For how long upstream wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl Timetable {
    /// With nothing planned.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            jitter: Jitter::new(seed),
            mirrors: HashMap::new(),
            order: BTreeSet::new(),
            rests: HostBackoff::default(),
        }
    }

    /// Plans a mirror that a daemon finds when it starts, or that somebody has just made. `age` is how old what it has is,
    /// as far as anybody knows.
    pub(super) fn add(
        &mut self,
        git_dir: &Path,
        host: &str,
        every: Option<Duration>,
        age: Option<Duration>,
        needs_you: bool,
        now: Instant,
    ) {
        self.remove(git_dir);
        let why = match every {
            None => Why::Never,
            Some(_) if needs_you => Why::NeedsYou,
            Some(_) => Why::Interval,
        };
        self.mirrors.insert(
            git_dir.to_owned(),
            Planned {
                host: host.to_owned(),
                every,
                due: None,
                why,
                failures: u32::from(needs_you),
                running: false,
                hinted: false,
                told: None,
            },
        );
        if let (Some(every), Why::Interval) = (every, why) {
            let left = age.map(|age| self.jitter.about(every).saturating_sub(age));
            let soon = STARTUP_SPREAD.min(every) + self.jitter.below(CATCH_UP_SPREAD.min(every));
            self.plan(git_dir, now + left.unwrap_or_default().max(soon), why);
        }
    }

    /// Plans a mirror by another interval.
    pub(super) fn set_every(&mut self, git_dir: &Path, every: Option<Duration>, now: Instant) {
        let Some(planned) = self.mirrors.get_mut(git_dir) else {
            return;
        };
        if planned.every == every {
            return;
        }
        planned.every = every;
        let (why, hinted) = (planned.why, planned.hinted);
        match every {
            _ if hinted || why == Why::NeedsYou => {}
            None => self.unplan(git_dir, Why::Never),
            Some(every) => {
                let due = now + self.jitter.about(every);
                self.plan(git_dir, due, Why::Interval);
            }
        }
    }

    /// Forgets a mirror.
    pub(super) fn remove(&mut self, git_dir: &Path) {
        self.unplan(git_dir, Why::Never);
        self.mirrors.remove(git_dir);
    }

    /// Upstream has something new, or says so. However often it says so before the mirror goes, it goes once. Says whether
    /// the mirror is known.
    pub(super) fn hint(&mut self, git_dir: &Path, now: Instant) -> bool {
        let Some(planned) = self.mirrors.get_mut(git_dir) else {
            return false;
        };
        planned.hinted = true;
        // What is refused is not refused less for being asked more often.
        let in_vain = matches!(planned.why, Why::NeedsYou | Why::Refused);
        if !planned.running && !in_vain {
            self.plan_hinted(git_dir, now);
        }
        true
    }

    /// A mirror goes before its time.
    pub(super) fn go_now(&mut self, git_dir: &Path, now: Instant) {
        if let Some(planned) = self.mirrors.get(git_dir)
            && !planned.running
            && matches!(planned.why, Why::Interval | Why::Never)
        {
            self.plan(git_dir, now, Why::Interval);
        }
    }

    /// What kept a mirror from going is over.
    pub(super) fn resume(&mut self, git_dir: &Path, now: Instant) {
        if let Some(planned) = self.mirrors.get_mut(git_dir)
            && planned.why == Why::NeedsYou
        {
            planned.failures = 0;
            self.plan(git_dir, now, Why::Retry);
        }
    }

    /// The next mirror that is due, and why; it counts as gone until [`Timetable::returned`].
    pub(super) fn next_due(&mut self, now: Instant) -> Option<(PathBuf, Cause)> {
        loop {
            let (due, git_dir) = self.order.first()?.clone();
            if due > now {
                return None;
            }
            let planned = self.mirrors.get_mut(&git_dir)?;
            let why = planned.why;
            if planned.running {
                // Somebody else's sync has planned it anew in the meantime.
                self.plan(&git_dir, now + PROBE_INTERVAL, why);
                continue;
            }
            let later = match self.rests.pass(&planned.host, now) {
                Gate::Open => {
                    planned.running = true;
                    let hinted = std::mem::take(&mut planned.hinted);
                    if hinted {
                        planned.told = Some(now);
                    }
                    self.unplan(&git_dir, why);
                    let cause = if hinted {
                        Cause::Webhook
                    } else {
                        Cause::Schedule
                    };
                    return Some((git_dir, cause));
                }
                Gate::Until(until) => until + self.jitter.below(MINUTE),
                Gate::Probed => now + PROBE_INTERVAL + self.jitter.below(PROBE_INTERVAL),
            };
            self.plan(&git_dir, later, Why::HostRests);
        }
    }

    /// A mirror that had gone is back. [`Timetable::ended`] has said how its sync was, if there was one.
    pub(super) fn returned(&mut self, git_dir: &Path, now: Instant) {
        let Some(planned) = self.mirrors.get_mut(git_dir) else {
            return;
        };
        planned.running = false;
        let (due, why, every) = (planned.due, planned.why, planned.every);
        let (host, hinted) = (planned.host.clone(), planned.hinted);
        self.rests.unprobed(&host);
        match (due, every) {
            _ if why == Why::NeedsYou => {}
            _ if hinted && !matches!(why, Why::Retry | Why::HostRests | Why::Refused) => {
                self.plan_hinted(git_dir, now);
            }
            (None, Some(every)) => {
                let due = now + self.jitter.about(every);
                self.plan(git_dir, due, Why::Interval);
            }
            _ => {}
        }
    }

    /// A sync of a mirror has ended, whoever wanted it. Says whether what is known of its host has changed.
    pub(super) fn ended(&mut self, git_dir: &Path, ended: Ended<'_>, now: Instant) -> bool {
        let Some(planned) = self.mirrors.get_mut(git_dir) else {
            return false;
        };
        let (host, every, hinted) = (planned.host.clone(), planned.every, planned.hinted);
        let Some((kind, why)) = ended.failure else {
            planned.failures = 0;
            match every {
                // While it ran.
                _ if hinted => self.plan_hinted(git_dir, now),
                Some(every) => {
                    let due = now + self.jitter.about(every);
                    self.plan(git_dir, due, Why::Interval);
                }
                None => self.unplan(git_dir, Why::Never),
            }
            return self.is_back(&host, now);
        };
        if kind == FailureKind::Cancelled {
            return false;
        }
        planned.failures = planned.failures.saturating_add(1);
        let failures = planned.failures;
        if ended.needs_you {
            self.unplan(git_dir, Why::NeedsYou);
            // It has answered.
            return self.is_back(&host, now);
        }
        let host_changed = match kind {
            FailureKind::Unreachable => {
                let asked_for = ended.retry_after;
                self.rests
                    .failed(&host, asked_for, why, now, &mut self.jitter);
                true
            }
            FailureKind::Here | FailureKind::Usage => false,
            _ => self.is_back(&host, now),
        };
        let retry = backoff(failures, &mut self.jitter);
        let (wait, why) = match (every, kind) {
            (None, _) if !hinted => {
                self.unplan(git_dir, Why::Never);
                return host_changed;
            }
            (Some(every), FailureKind::Refused | FailureKind::Wiped) => {
                (every.max(MAX_REFUSALS * retry), Why::Refused)
            }
            _ => (retry, Why::Retry),
        };
        let due = match self.rests.of(&host, now) {
            Some(rest) => (now + wait).max(rest.until + self.jitter.below(PROBE_INTERVAL)),
            None => now + wait,
        };
        self.plan(git_dir, due, why);
        host_changed
    }

    /// A mirror that had gone waits with the others of its host, which has failed in the meantime. Says how that one is.
    pub(super) fn hold(&mut self, git_dir: &Path, now: Instant) -> Option<Rest> {
        let planned = self.mirrors.get_mut(git_dir)?;
        let rest = self.rests.of(&planned.host, now)?.clone();
        let due = rest.until + self.jitter.below(MINUTE);
        self.plan(git_dir, due, Why::HostRests);
        Some(rest)
    }

    /// A host has answered: those that were held up by it go soon, and not all at once.
    fn is_back(&mut self, host: &str, now: Instant) -> bool {
        if !self.rests.worked(host) {
            return false;
        }
        let held_up: Vec<_> = self
            .mirrors
            .iter()
            .filter(|(_, planned)| planned.why == Why::HostRests && planned.host == host)
            .map(|(git_dir, planned)| (git_dir.clone(), planned.due, planned.every))
            .collect();
        for (git_dir, due, every) in held_up {
            let within = every.unwrap_or(MINUTE).min(MINUTE);
            let soon = now + self.jitter.below(within);
            self.plan(&git_dir, due.map_or(soon, |due| due.min(soon)), Why::Retry);
        }
        true
    }

    /// Time has passed that the clock has not counted: the machine slept. What is overdue goes once, spread out.
    pub(super) fn slept(&mut self, time: Duration, now: Instant) {
        self.rests.slept(time, now);
        for (due, git_dir) in std::mem::take(&mut self.order) {
            let left = due.saturating_duration_since(now);
            let due = match left.checked_sub(time) {
                Some(left) => now + left,
                None => now + self.jitter.below(CATCH_UP_SPREAD),
            };
            if let Some(planned) = self.mirrors.get_mut(&git_dir) {
                planned.due = Some(due);
                self.order.insert((due, git_dir));
            }
        }
    }

    /// When the next mirror is due.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// What the next sync of a mirror depends on.
    pub(super) fn next(&self, git_dir: &Path, now: Instant) -> Option<Next> {
        let planned = self.mirrors.get(git_dir)?;
        Some(Next {
            wait: planned.due.map(|due| due.saturating_duration_since(now)),
            why: planned.why,
            running: planned.running,
        })
    }

    /// The rest of a host, while it lasts.
    pub(super) fn rest(&self, host: &str, now: Instant) -> Option<&Rest> {
        self.rests.of(host, now)
    }

    /// Takes over what a daemon before this has noted of hosts.
    pub(super) fn read_rests(&mut self, path: &Path, now: Instant, wall: SystemTime) {
        self.rests = HostBackoff::read(path, now, wall);
    }

    /// Writes down what is known of hosts.
    pub(super) fn write_rests(
        &self,
        path: &Path,
        now: Instant,
        wall: SystemTime,
    ) -> std::io::Result<()> {
        self.rests.write(path, now, wall)
    }

    /// It goes at once, or a moment after it last went: whoever pushes again and again has everything checked together.
    fn plan_hinted(&mut self, git_dir: &Path, now: Instant) {
        let told = self.mirrors.get(git_dir).and_then(|planned| planned.told);
        let due = told.map_or(now, |told| now.max(told + COALESCE_INTERVAL));
        self.plan(git_dir, due, Why::Webhook);
    }

    fn plan(&mut self, git_dir: &Path, due: Instant, why: Why) {
        self.unplan(git_dir, why);
        if let Some(planned) = self.mirrors.get_mut(git_dir) {
            planned.due = Some(due);
            self.order.insert((due, git_dir.to_owned()));
        }
    }

    fn unplan(&mut self, git_dir: &Path, why: Why) {
        if let Some(planned) = self.mirrors.get_mut(git_dir) {
            planned.why = why;
            if let Some(due) = planned.due.take() {
                self.order.remove(&(due, git_dir.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests;

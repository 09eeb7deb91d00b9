//! When each mirror is synced next in the background. The rules are pure: the caller hands in the time. `ended` has the rules
//! for what follows a sync.
//!
//! Times are those of a monotonic clock, so that setting the wall clock neither delays a sync nor starts many. All waits have
//! jitter: a thousand mirrors neither start at once nor come to start together.

mod ended;

use std::{
    collections::{BTreeSet, HashMap},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use common::protocol::{Cause, Next, Why};
use tokio::time::Instant;

pub(super) use self::ended::Ended;
use super::{
    host_backoff::{Admission, Backoff, HostBackoff},
    jitter::Jitter,
};

const MINUTE: Duration = Duration::from_secs(60);

/// The shortest wait after the daemon has started, which is most often because somebody signed in or runs git: that comes
/// first.
const STARTUP_WAIT: Duration = Duration::from_secs(30);

/// The time over which syncs are spread that are overdue after a start or a sleep.
const CATCH_UP_SPREAD: Duration = Duration::from_secs(10 * 60);

/// How much longer than after other failures the wait is after a refusal, which does not pass by itself.
const REFUSED_FACTOR: u32 = 4;

/// The shortest time between two syncs of one mirror for webhooks: a storm of them costs one sync in this time.
const COALESCE_INTERVAL: Duration = Duration::from_secs(2);

/// How long a sync is put off while another one probes its host or syncs its mirror.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// When each mirror is synced next.
pub(super) struct Timetable {
    jitter: Jitter,
    mirrors: HashMap<PathBuf, Planned>,
    /// The mirrors that are due at some time, the next one first.
    order: BTreeSet<(Instant, PathBuf)>,
    hosts: HostBackoff,
}

/// A mirror in the timetable.
struct Planned {
    host: String,
    /// The setting `every`.
    every: Option<Duration>,
    due: Option<Instant>,
    why: Why,
    /// How many of its syncs have failed in a row.
    failures: u32,
    /// Whether its scheduled sync runs.
    running: bool,
    /// Whether upstream has said that something has changed since its last sync started.
    is_changed: bool,
    /// When its last sync for such a change started.
    last_change_sync: Option<Instant>,
}

impl Timetable {
    /// An empty timetable.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            jitter: Jitter::new(seed),
            mirrors: HashMap::new(),
            order: BTreeSet::new(),
            hosts: HostBackoff::default(),
        }
    }

    /// Adds a mirror that the daemon finds when it starts, or that has just been made. `age` is the time since its last
    /// sync, if that is known.
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
                is_changed: false,
                last_change_sync: None,
            },
        );
        if let (Some(every), Why::Interval) = (every, why) {
            let left = age.map(|age| self.jitter.about(every).saturating_sub(age));
            let soon = STARTUP_WAIT.min(every) + self.jitter.below(CATCH_UP_SPREAD.min(every));
            self.plan(git_dir, now + left.unwrap_or_default().max(soon), why);
        }
    }

    /// Changes the interval of a mirror.
    pub(super) fn set_every(&mut self, git_dir: &Path, every: Option<Duration>, now: Instant) {
        let Some(planned) = self.mirrors.get_mut(git_dir) else {
            return;
        };
        if planned.every == every {
            return;
        }
        planned.every = every;
        let (why, is_changed) = (planned.why, planned.is_changed);
        match every {
            _ if is_changed || why == Why::NeedsYou => {}
            None => self.unplan(git_dir, Why::Never),
            Some(every) => {
                let due = now + self.jitter.about(every);
                self.plan(git_dir, due, Why::Interval);
            }
        }
    }

    /// Removes a mirror.
    pub(super) fn remove(&mut self, git_dir: &Path) {
        self.unplan(git_dir, Why::Never);
        self.mirrors.remove(git_dir);
    }

    /// Plans a sync because upstream says that something has changed: one, however often upstream says so before it starts.
    /// Returns whether the mirror is known.
    pub(super) fn notify_changed(&mut self, git_dir: &Path, now: Instant) -> bool {
        let Some(planned) = self.mirrors.get_mut(git_dir) else {
            return false;
        };
        planned.is_changed = true;
        // Another request would be refused as well.
        let in_vain = matches!(planned.why, Why::NeedsYou | Why::Refused);
        if !planned.running && !in_vain {
            self.plan_for_change(git_dir, now);
        }
        true
    }

    /// Plans a sync now, unless it would fail again or wait for its host.
    pub(super) fn sync_now(&mut self, git_dir: &Path, now: Instant) {
        if let Some(planned) = self.mirrors.get(git_dir)
            && !planned.running
            && matches!(planned.why, Why::Interval | Why::Never)
        {
            self.plan(git_dir, now, Why::Interval);
        }
    }

    /// Plans a mirror again that needed somebody, because that is over.
    pub(super) fn resume(&mut self, git_dir: &Path, now: Instant) {
        if let Some(planned) = self.mirrors.get_mut(git_dir)
            && planned.why == Why::NeedsYou
        {
            planned.failures = 0;
            self.plan(git_dir, now, Why::Retry);
        }
    }

    /// Starts the next sync that is due. Returns its mirror and why it is due. It counts as running until
    /// [`Timetable::finish`].
    pub(super) fn next_due(&mut self, now: Instant) -> Option<(PathBuf, Cause)> {
        loop {
            let (due, git_dir) = self.order.first()?.clone();
            if due > now {
                return None;
            }
            let planned = self.mirrors.get_mut(&git_dir)?;
            let why = planned.why;
            if planned.running {
                // A client's sync has planned it again in the meantime.
                self.plan(&git_dir, now + PROBE_INTERVAL, why);
                continue;
            }
            let later = match self.hosts.admit(&planned.host, now) {
                Admission::Open => {
                    planned.running = true;
                    let cause = if std::mem::take(&mut planned.is_changed) {
                        planned.last_change_sync = Some(now);
                        Cause::Webhook
                    } else {
                        Cause::Schedule
                    };
                    self.unplan(&git_dir, why);
                    return Some((git_dir, cause));
                }
                Admission::Until(until) => until + self.jitter.below(MINUTE),
                Admission::Probing => now + PROBE_INTERVAL + self.jitter.below(PROBE_INTERVAL),
            };
            self.plan(&git_dir, later, Why::HostRests);
        }
    }

    /// Ends a scheduled sync. If it got as far as to upstream, [`Timetable::record_end`] has been called before.
    pub(super) fn finish(&mut self, git_dir: &Path, now: Instant) {
        let Some(planned) = self.mirrors.get_mut(git_dir) else {
            return;
        };
        planned.running = false;
        let (due, why, every) = (planned.due, planned.why, planned.every);
        let (host, is_changed) = (planned.host.clone(), planned.is_changed);
        self.hosts.end_probe(&host);
        match (due, every) {
            _ if why == Why::NeedsYou => {}
            _ if is_changed && !matches!(why, Why::Retry | Why::HostRests | Why::Refused) => {
                self.plan_for_change(git_dir, now);
            }
            (None, Some(every)) => {
                let due = now + self.jitter.about(every);
                self.plan(git_dir, due, Why::Interval);
            }
            _ => {}
        }
    }

    /// Puts off a scheduled sync that has started, where its host has failed in the meantime. Returns the host's back-off.
    pub(super) fn defer(&mut self, git_dir: &Path, now: Instant) -> Option<Backoff> {
        let planned = self.mirrors.get_mut(git_dir)?;
        let backoff = self.hosts.get(&planned.host, now)?.clone();
        let due = backoff.until + self.jitter.below(MINUTE);
        self.plan(git_dir, due, Why::HostRests);
        Some(backoff)
    }

    /// Adds the time that the machine slept, which the clock has not counted. Syncs that are overdue then are spread out.
    pub(super) fn add_sleep(&mut self, time: Duration, now: Instant) {
        self.hosts.add_sleep(time, now);
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

    /// When the next sync is due.
    pub(super) fn next_time(&self) -> Option<Instant> {
        self.order.first().map(|(due, _)| *due)
    }

    /// When and why a mirror is synced next.
    pub(super) fn next_sync(&self, git_dir: &Path, now: Instant) -> Option<Next> {
        let planned = self.mirrors.get(git_dir)?;
        Some(Next {
            wait: planned.due.map(|due| due.saturating_duration_since(now)),
            why: planned.why,
            running: planned.running,
        })
    }

    /// The back-off of a host, while it lasts.
    pub(super) fn backoff(&self, host: &str, now: Instant) -> Option<&Backoff> {
        self.hosts.get(host, now)
    }

    /// Reads the back-offs that the last daemon wrote.
    pub(super) fn read_backoffs(&mut self, path: &Path, now: Instant, wall: SystemTime) {
        self.hosts = HostBackoff::read(path, now, wall);
    }

    /// Writes the back-offs of all hosts.
    pub(super) fn write_backoffs(
        &self,
        path: &Path,
        now: Instant,
        wall: SystemTime,
    ) -> std::io::Result<()> {
        self.hosts.write(path, now, wall)
    }

    /// Plans a sync for a change at upstream: at once, or [`COALESCE_INTERVAL`] after the last one.
    fn plan_for_change(&mut self, git_dir: &Path, now: Instant) {
        let planned = self.mirrors.get(git_dir);
        let last = planned.and_then(|planned| planned.last_change_sync);
        let due = last.map_or(now, |last| now.max(last + COALESCE_INTERVAL));
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

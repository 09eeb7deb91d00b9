//! What nobody asks for: the timetable with a clock, for all who have something to tell it, and the one who waits for the
//! next departure.

mod host_backoff;
mod jitter;
mod timetable;
pub(crate) mod turns;

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Cause, Failure, FailureKind, Next},
    text::time_span,
};
use parking_lot::{Mutex, MutexGuard};
use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::Notify, time::Instant};

pub(crate) use self::host_backoff::Rest;
use self::{
    jitter::Jitter,
    timetable::{Ended, Timetable},
};
use crate::{mirrors::registry::Mirror, upstream::Trouble};

/// How often it is looked whether the machine has slept.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);

/// The clock that counts while the machine sleeps, where the usual one does not.
#[cfg(target_os = "linux")]
const WAKEFUL: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const WAKEFUL: ClockId = ClockId::Monotonic;

/// When each mirror goes next, and who waits for that.
pub(crate) struct Schedule {
    table: Mutex<Timetable>,
    /// Told when something may be due sooner than it was.
    changed: Notify,
    /// Where it is noted which hosts are left alone.
    rests: PathBuf,
}

impl Schedule {
    /// A schedule with what a daemon before this noted of hosts in the file `rests`.
    pub(crate) fn new(rests: PathBuf) -> Self {
        let mut table = Timetable::new(Jitter::seed());
        table.read_rests(&rests, Instant::now(), SystemTime::now());
        Self {
            table: Mutex::new(table),
            changed: Notify::new(),
            rests,
        }
    }

    /// Plans a mirror that was last in step at a time, as far as anybody knows.
    pub(crate) fn add(&self, mirror: &Mirror, synced: Option<SystemTime>, needs_you: bool) {
        let rules = &mirror.settings.rules;
        // By a clock that was set since then nobody knows how old it is.
        let age = synced.and_then(|synced| SystemTime::now().duration_since(synced).ok());
        let (host, now) = (host(&mirror.settings.url), Instant::now());
        self.table()
            .add(&mirror.git_dir, &host, rules.every, age, needs_you, now);
        self.changed.notify_one();
    }

    /// Plans a mirror by the settings that it has now.
    pub(crate) fn change(&self, mirror: &Mirror) {
        let every = mirror.settings.rules.every;
        self.table()
            .set_every(&mirror.git_dir, every, Instant::now());
        self.changed.notify_one();
    }

    /// Forgets a mirror.
    pub(crate) fn remove(&self, git_dir: &Path) {
        self.table().remove(git_dir);
    }

    /// Upstream says that it has something new for a mirror: it goes soon, and once however often that is said meanwhile.
    pub(crate) fn hint(&self, git_dir: &Path) {
        self.table().hint(git_dir, Instant::now());
        self.changed.notify_one();
    }

    /// A mirror needs something of upstream: it goes now, unless it would go in vain.
    pub(crate) fn go_now(&self, git_dir: &Path) {
        self.table().go_now(git_dir, Instant::now());
        self.changed.notify_one();
    }

    /// What a mirror needed somebody for is mended.
    pub(crate) fn resume(&self, git_dir: &Path) {
        self.table().resume(git_dir, Instant::now());
        self.changed.notify_one();
    }

    /// A sync has brought a mirror in step, whoever wanted it; it may be new.
    pub(crate) fn in_step(&self, mirror: &Mirror) {
        if self.next(&mirror.git_dir).is_none() {
            self.add(mirror, Some(SystemTime::now()), false);
        }
        self.ended(&mirror.git_dir, Ended::default());
    }

    /// A sync of a mirror has failed, whoever wanted it.
    pub(crate) fn failed(&self, git_dir: &Path, trouble: &Trouble) {
        let failure = &trouble.failure;
        let ended = Ended {
            failure: Some((failure.kind, &failure.message)),
            needs_you: trouble.needs_you(),
            retry_after: trouble.retry_after,
        };
        self.ended(git_dir, ended);
    }

    fn ended(&self, git_dir: &Path, ended: Ended<'_>) {
        let now = Instant::now();
        let mut table = self.table();
        if table.ended(git_dir, ended, now)
            && let Err(err) = table.write_rests(&self.rests, now, SystemTime::now())
        {
            tracing::warn!("cannot note how a host is: {err}");
        }
        self.changed.notify_one();
    }

    /// A mirror that had gone waits with the others of its host, where that has failed meanwhile. Says how that one is.
    pub(crate) fn hold(&self, git_dir: &Path) -> Option<Rest> {
        self.table().hold(git_dir, Instant::now())
    }

    /// A mirror that had gone is back.
    pub(crate) fn returned(&self, git_dir: &Path) {
        self.table().returned(git_dir, Instant::now());
        self.changed.notify_one();
    }

    /// How an upstream's host is, while it is left alone.
    pub(crate) fn rest(&self, url: &UpstreamUrl) -> Option<Rest> {
        self.table().rest(&host(url), Instant::now()).cloned()
    }

    /// What the next sync of a mirror depends on.
    pub(crate) fn next(&self, git_dir: &Path) -> Option<Next> {
        self.table().next(git_dir, Instant::now())
    }

    /// Waits for the next mirror that is due, and says why it is.
    pub(crate) async fn next_due(&self, clock: &mut Clock) -> (PathBuf, Cause) {
        loop {
            let wake = {
                let (mut table, now) = (self.table(), Instant::now());
                if let Some(slept) = clock.slept(now) {
                    table.slept(slept, now);
                }
                if let Some(departed) = table.next_due(now) {
                    return departed;
                }
                table.wake()
            };
            let look = Instant::now() + CLOCK_INTERVAL;
            let wake = wake.map_or(look, |wake| wake.min(look));
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Timetable> {
        self.table.lock()
    }
}

impl Rest {
    /// Why an upstream of this host is not asked now.
    pub(crate) fn refusal(&self, url: &UpstreamUrl) -> Trouble {
        let left = self.until.saturating_duration_since(Instant::now());
        let left = time_span(left.as_secs().max(1));
        let message = format!("'{url}' is left alone for {left}: {}", self.why);
        Trouble {
            known_refusal: true,
            ..Failure::new(FailureKind::Unreachable, message).into()
        }
    }
}

/// Those who fail and rest together: what one scheme, host and port serves, and of paths each by itself.
fn host(url: &UpstreamUrl) -> String {
    match url.host() {
        Some(_) => url.origin(),
        None => url.to_string(),
    }
}

/// Tells how long the machine has slept, by two clocks of which one counts on meanwhile.
pub(crate) struct Clock {
    usual: Instant,
    wakeful: Duration,
}

impl Clock {
    /// From now on.
    pub(crate) fn new() -> Self {
        Self {
            usual: Instant::now(),
            wakeful: wakeful(),
        }
    }

    /// How long the machine has slept since this was last asked, when it was long enough to matter.
    fn slept(&mut self, now: Instant) -> Option<Duration> {
        self.between(now, wakeful())
    }

    fn between(&mut self, now: Instant, wakeful: Duration) -> Option<Duration> {
        let awake = now.saturating_duration_since(self.usual);
        let slept = wakeful.saturating_sub(self.wakeful).saturating_sub(awake);
        if slept < CLOCK_INTERVAL {
            // Not yet: many short sleeps add up.
            return None;
        }
        (self.usual, self.wakeful) = (now, wakeful);
        Some(slept)
    }
}

fn wakeful() -> Duration {
    clock_gettime(WAKEFUL).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_of_the_clocks_has_counted_was_slept() {
        let mut clock = Clock::new();
        let (mut usual, mut wakeful) = (clock.usual, clock.wakeful);
        let mut pass = |awake: u64, asleep: u64| {
            usual += Duration::from_secs(awake);
            wakeful += Duration::from_secs(awake + asleep);
            clock.between(usual, wakeful).map(|slept| slept.as_secs())
        };
        assert_eq!(pass(100_000, 0), None);
        assert_eq!(pass(10, 3600), Some(3600));
        assert_eq!(pass(10, 0), None);
        assert_eq!(pass(10, 40), None);
        assert_eq!(pass(10, 40), Some(80), "short sleeps add up");
        assert_eq!(pass(0, 0), None);
    }

    #[test]
    fn a_path_has_nothing_in_common_with_another() {
        let host = |url: &str| match common::address::upstream_url::Address::parse(url) {
            Ok(common::address::upstream_url::Address::Url(url, _)) => host(&url),
            _ => panic!("{url} is a URL"),
        };
        assert_eq!(
            host("https://gitlab.example/a"),
            host("https://gitlab.example/b")
        );
        assert_ne!(
            host("https://gitlab.example/a"),
            host("https://gitlab.example:8443/a")
        );
        assert_ne!(host("/srv/a.git"), host("/srv/b.git"));
    }
}

//! Scheduled syncs: the timetable with a clock. All who know something of a mirror tell it, and `daemon/jobs/scheduled` waits
//! for the next sync that is due. `turns` limits how many syncs run at once.

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

pub(crate) use self::host_backoff::Backoff;
use self::{
    jitter::Jitter,
    timetable::{Ended, Timetable},
};
use crate::{mirrors::registry::Mirror, upstream::Trouble};

/// How often the clocks are compared to find out whether the machine has slept.
const CLOCK_INTERVAL: Duration = Duration::from_secs(60);

/// The clock that counts while the machine sleeps as well, where the monotonic one does not.
#[cfg(target_os = "linux")]
const BOOT_CLOCK: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const BOOT_CLOCK: ClockId = ClockId::Monotonic;

/// The timetable of all mirrors, and the wait for the next sync.
pub(crate) struct Schedule {
    table: Mutex<Timetable>,
    /// Signals that a sync may be due sooner than before.
    changed: Notify,
    /// The file of the hosts' back-offs.
    backoff_file: PathBuf,
}

impl Schedule {
    /// A schedule without mirrors, with the back-offs that the last daemon wrote.
    pub(crate) fn new(backoff_file: PathBuf) -> Self {
        let mut table = Timetable::new(Jitter::random_seed());
        table.read_backoffs(&backoff_file, Instant::now(), SystemTime::now());
        Self {
            table: Mutex::new(table),
            changed: Notify::new(),
            backoff_file,
        }
    }

    /// Adds a mirror. `synced` is when it was last in step, if that is known.
    pub(crate) fn add(&self, mirror: &Mirror, synced: Option<SystemTime>, needs_you: bool) {
        let rules = &mirror.settings.rules;
        // A clock that was set since then tells no age.
        let age = synced.and_then(|synced| SystemTime::now().duration_since(synced).ok());
        let (host, now) = (host(&mirror.settings.url), Instant::now());
        self.table()
            .add(&mirror.git_dir, &host, rules.every, age, needs_you, now);
        self.changed.notify_one();
    }

    /// Takes over the interval of a mirror whose settings have changed.
    pub(crate) fn update(&self, mirror: &Mirror) {
        let every = mirror.settings.rules.every;
        self.table()
            .set_every(&mirror.git_dir, every, Instant::now());
        self.changed.notify_one();
    }

    /// Removes a mirror.
    pub(crate) fn remove(&self, git_dir: &Path) {
        self.table().remove(git_dir);
    }

    /// Plans a sync soon, because upstream says that something has changed. However often it does, one is planned.
    pub(crate) fn notify_changed(&self, git_dir: &Path) {
        self.table().notify_changed(git_dir, Instant::now());
        self.changed.notify_one();
    }

    /// Plans a sync now, because a mirror needs something from upstream. One that would fail again is not planned.
    pub(crate) fn sync_now(&self, git_dir: &Path) {
        self.table().sync_now(git_dir, Instant::now());
        self.changed.notify_one();
    }

    /// Plans a mirror again that needed somebody, because that is over.
    pub(crate) fn resume(&self, git_dir: &Path) {
        self.table().resume(git_dir, Instant::now());
        self.changed.notify_one();
    }

    /// Records a sync that has brought a mirror in step. A new mirror is added.
    pub(crate) fn record_success(&self, mirror: &Mirror) {
        if self.next_sync(&mirror.git_dir).is_none() {
            self.add(mirror, Some(SystemTime::now()), false);
        }
        self.record_end(&mirror.git_dir, Ended::default());
    }

    /// Records a sync that has failed.
    pub(crate) fn record_failure(&self, git_dir: &Path, trouble: &Trouble) {
        let failure = &trouble.failure;
        let ended = Ended {
            failure: Some((failure.kind, &failure.message)),
            needs_you: trouble.needs_you(),
            retry_after: trouble.retry_after,
        };
        self.record_end(git_dir, ended);
    }

    fn record_end(&self, git_dir: &Path, ended: Ended<'_>) {
        let now = Instant::now();
        let mut table = self.table();
        if table.record_end(git_dir, ended, now)
            && let Err(err) = table.write_backoffs(&self.backoff_file, now, SystemTime::now())
        {
            tracing::warn!("cannot write the back-offs of hosts: {err}");
        }
        self.changed.notify_one();
    }

    /// Puts off a scheduled sync that has started, where its host has failed in the meantime. Returns the host's back-off.
    pub(crate) fn defer(&self, git_dir: &Path) -> Option<Backoff> {
        self.table().defer(git_dir, Instant::now())
    }

    /// Ends the scheduled sync of a mirror, which [`Schedule::next_due`] has started.
    pub(crate) fn finish(&self, git_dir: &Path) {
        self.table().finish(git_dir, Instant::now());
        self.changed.notify_one();
    }

    /// The back-off of an upstream's host, while it lasts.
    pub(crate) fn backoff(&self, url: &UpstreamUrl) -> Option<Backoff> {
        self.table().backoff(&host(url), Instant::now()).cloned()
    }

    /// When and why a mirror is synced next.
    pub(crate) fn next_sync(&self, git_dir: &Path) -> Option<Next> {
        self.table().next_sync(git_dir, Instant::now())
    }

    /// Waits for the next sync that is due, and starts it. Returns its mirror and why it is due.
    pub(crate) async fn next_due(&self, clock: &mut Clock) -> (PathBuf, Cause) {
        loop {
            let next_time = {
                let (mut table, now) = (self.table(), Instant::now());
                if let Some(slept) = clock.slept(now) {
                    table.add_sleep(slept, now);
                }
                if let Some(due) = table.next_due(now) {
                    return due;
                }
                table.next_time()
            };
            let next_check = Instant::now() + CLOCK_INTERVAL;
            let until = next_time.map_or(next_check, |time| time.min(next_check));
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Timetable> {
        self.table.lock()
    }
}

impl Backoff {
    /// The failure of a sync that is put off.
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

/// The key of an upstream's back-off: scheme, host and port, or the path of an upstream on this machine.
fn host(url: &UpstreamUrl) -> String {
    match url.host() {
        Some(_) => url.origin(),
        None => url.to_string(),
    }
}

/// Measures how long the machine has slept, by two clocks of which one counts on meanwhile.
pub(crate) struct Clock {
    monotonic: Instant,
    boot: Duration,
}

impl Clock {
    /// Starts to measure.
    pub(crate) fn new() -> Self {
        Self {
            monotonic: Instant::now(),
            boot: boot_time(),
        }
    }

    /// How long the machine has slept since the last call that returned a time, when that is a [`CLOCK_INTERVAL`] or more.
    fn slept(&mut self, now: Instant) -> Option<Duration> {
        self.slept_until(now, boot_time())
    }

    fn slept_until(&mut self, now: Instant, boot: Duration) -> Option<Duration> {
        let awake = now.saturating_duration_since(self.monotonic);
        let slept = boot.saturating_sub(self.boot).saturating_sub(awake);
        if slept < CLOCK_INTERVAL {
            // Short sleeps add up.
            return None;
        }
        (self.monotonic, self.boot) = (now, boot);
        Some(slept)
    }
}

fn boot_time() -> Duration {
    clock_gettime(BOOT_CLOCK).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_only_the_boot_clock_has_counted_was_slept() {
        let mut clock = Clock::new();
        let (mut monotonic, mut boot) = (clock.monotonic, clock.boot);
        let mut pass = |awake: u64, asleep: u64| {
            monotonic += Duration::from_secs(awake);
            boot += Duration::from_secs(awake + asleep);
            clock
                .slept_until(monotonic, boot)
                .map(|slept| slept.as_secs())
        };
        assert_eq!(pass(100_000, 0), None);
        assert_eq!(pass(10, 3600), Some(3600));
        assert_eq!(pass(10, 0), None);
        assert_eq!(pass(10, 40), None);
        assert_eq!(pass(10, 40), Some(80), "short sleeps add up");
        assert_eq!(pass(0, 0), None);
    }

    #[test]
    fn each_path_has_a_backoff_of_its_own() {
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

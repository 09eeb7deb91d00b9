//! The back-off of hosts that did not answer, or that sent `Retry-After`. Scheduled syncs wait until it is over; then one of
//! them probes whether the host answers again. A file keeps it for the next daemon.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::text::unix_seconds;
use tokio::time::Instant;

use super::jitter::{Jitter, retry_wait};
use crate::process::durable;

/// The longest `Retry-After` that is honoured: a longer one is taken for a mistake, which must not end all syncs.
const MAX_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);

/// How long other scheduled syncs wait for a probe. One that takes longer may be downloading much.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// The hosts that are backed off from.
#[derive(Default)]
pub(super) struct HostBackoff(HashMap<String, Backoff>);

/// The back-off of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// When it is over.
    pub until: Instant,
    /// How often the host has failed in a row.
    pub failures: u32,
    /// Whether the host sent `Retry-After`. Then fetches are served from the copy as well.
    pub has_retry_after: bool,
    /// The host's message, or the failure.
    pub why: String,
    /// When the sync started that probes whether the host answers again, after the back-off is over.
    probe_started: Option<Instant>,
}

/// Whether a scheduled sync may ask a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// The sync may start.
    Open,
    /// The sync must wait until this time.
    Until(Instant),
    /// The sync must wait for the one that probes the host.
    Probing,
}

impl Backoff {
    fn is_probed(&self, now: Instant) -> bool {
        self.probe_started
            .is_some_and(|started| now < started + PROBE_TIMEOUT)
    }
}

impl HostBackoff {
    /// Whether a scheduled sync may ask the host. The first one after a back-off is the probe.
    pub(super) fn admit(&mut self, host: &str, now: Instant) -> Admission {
        match self.0.get_mut(host) {
            None => Admission::Open,
            Some(backoff) if now < backoff.until => Admission::Until(backoff.until),
            Some(backoff) if backoff.is_probed(now) => Admission::Probing,
            Some(backoff) => {
                backoff.probe_started = Some(now);
                Admission::Open
            }
        }
    }

    /// The back-off of a host, while it lasts.
    pub(super) fn get(&self, host: &str, now: Instant) -> Option<&Backoff> {
        self.0.get(host).filter(|backoff| now < backoff.until)
    }

    /// Records that a host did not answer, or answered with `Retry-After`.
    pub(super) fn record_failure(
        &mut self,
        host: &str,
        retry_after: Option<Duration>,
        why: &str,
        now: Instant,
        jitter: &mut Jitter,
    ) {
        let backoff = self.0.entry(host.to_owned()).or_insert_with(|| Backoff {
            until: now,
            failures: 0,
            has_retry_after: false,
            why: String::new(),
            probe_started: None,
        });
        // Syncs that ran together have seen one failure.
        if now >= backoff.until {
            backoff.failures = backoff.failures.saturating_add(1);
            backoff.until = now + retry_wait(backoff.failures, jitter);
            backoff.has_retry_after = false;
            backoff.probe_started = None;
            why.clone_into(&mut backoff.why);
        }
        if let Some(time) = retry_after {
            backoff.until = backoff.until.max(now + time.min(MAX_BACKOFF));
            backoff.has_retry_after = true;
            why.clone_into(&mut backoff.why);
        }
    }

    /// Ends the back-off of a host that has answered. Returns whether there was one.
    pub(super) fn record_answer(&mut self, host: &str) -> bool {
        self.0.remove(host).is_some()
    }

    /// Ends a probe that has not found out whether the host answers.
    pub(super) fn end_probe(&mut self, host: &str) {
        if let Some(backoff) = self.0.get_mut(host) {
            backoff.probe_started = None;
        }
    }

    /// Shortens every back-off by the time that the machine slept, which the monotonic clock has not counted.
    pub(super) fn add_sleep(&mut self, time: Duration, now: Instant) {
        for backoff in self.0.values_mut() {
            let left = backoff.until.saturating_duration_since(now);
            backoff.until = now + left.saturating_sub(time);
        }
    }

    /// Reads the file of the last daemon. A wall clock that was set back since then makes no back-off longer.
    pub(super) fn read(path: &Path, now: Instant, wall: SystemTime) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        Self(
            text.lines()
                .filter_map(|line| parse(line, now, wall))
                .collect(),
        )
    }

    /// Writes the file.
    pub(super) fn write(&self, path: &Path, now: Instant, wall: SystemTime) -> io::Result<()> {
        if self.0.is_empty() {
            return durable::remove(path);
        }
        let since = unix_seconds(wall);
        let lines = self.0.iter().map(|(host, backoff)| {
            let Backoff {
                failures,
                has_retry_after,
                why,
                ..
            } = backoff;
            let left = backoff.until.saturating_duration_since(now).as_secs();
            let has_retry_after = u8::from(*has_retry_after);
            let why = why.replace(['\t', '\n'], " ");
            format!("{host}\t{since}\t{left}\t{failures}\t{has_retry_after}\t{why}\n")
        });
        durable::replace(path, lines.collect::<String>().as_bytes())
    }
}

/// Parses a line of the file: the host, when the line was written, how many seconds of the back-off were left, how often
/// the host had failed, whether it had sent `Retry-After`, and why. Tabs separate them.
fn parse(line: &str, now: Instant, wall: SystemTime) -> Option<(String, Backoff)> {
    let mut fields = line.splitn(6, '\t');
    let host = fields.next()?.to_owned();
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (written, left, failures, has_retry_after) =
        (number()?, number()?, number()?, number()? == 1);
    let left = Duration::from_secs(left).min(MAX_BACKOFF);
    let written = UNIX_EPOCH.checked_add(Duration::from_secs(written))?;
    let passed = wall.duration_since(written).unwrap_or_default();
    let backoff = Backoff {
        until: now + left.saturating_sub(passed),
        failures: failures.try_into().unwrap_or(u32::MAX),
        has_retry_after,
        why: fields.next()?.to_owned(),
        probe_started: None,
    };
    Some((host, backoff))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "https://gitlab.example:443";
    const MINUTE: Duration = Duration::from_secs(60);

    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn after_a_backoff_one_sync_probes_the_host_and_the_others_wait_for_it() {
        let (mut hosts, mut jitter, now) = (HostBackoff::default(), Jitter::new(1), now());
        assert_eq!(hosts.admit(HOST, now), Admission::Open);
        hosts.record_failure(HOST, None, "no answer", now, &mut jitter);
        let until = hosts.get(HOST, now).expect("backed off").until;
        assert!(until > now && until <= now + MINUTE);
        assert_eq!(hosts.admit(HOST, now), Admission::Until(until));
        assert_eq!(
            hosts.admit("https://other.example:443", now),
            Admission::Open
        );
        assert_eq!(hosts.admit(HOST, until), Admission::Open);
        assert_eq!(hosts.admit(HOST, until), Admission::Probing);
        hosts.end_probe(HOST);
        assert_eq!(hosts.admit(HOST, until), Admission::Open);
        assert!(hosts.record_answer(HOST));
        assert_eq!(hosts.admit(HOST, until), Admission::Open);
        assert!(!hosts.record_answer(HOST));
    }

    #[test]
    fn backoffs_get_longer_up_to_a_quarter_of_an_hour() {
        let (mut hosts, mut jitter, mut now) = (HostBackoff::default(), Jitter::new(1), now());
        let mut lengths = Vec::new();
        for _ in 0..40 {
            hosts.record_failure(HOST, None, "no answer", now, &mut jitter);
            let until = hosts.get(HOST, now).expect("backed off").until;
            lengths.push(until - now);
            now = until;
        }
        assert!(lengths[0] >= MINUTE / 2 && lengths[0] <= MINUTE);
        assert!(lengths[3] > 3 * lengths[0]);
        assert!(lengths.iter().all(|length| *length <= 15 * MINUTE));
        assert!(lengths[30] > 7 * MINUTE);
    }

    #[test]
    fn syncs_that_fail_together_count_as_one_failure() {
        let (mut hosts, mut jitter, now) = (HostBackoff::default(), Jitter::new(1), now());
        for _ in 0..50 {
            hosts.record_failure(HOST, None, "no answer", now, &mut jitter);
        }
        assert_eq!(
            hosts.get(HOST, now).map(|backoff| backoff.failures),
            Some(1)
        );
    }

    #[test]
    fn retry_after_is_honoured_for_at_most_a_day() {
        let (mut hosts, mut jitter, now) = (HostBackoff::default(), Jitter::new(1), now());
        hosts.record_failure(HOST, Some(10 * MINUTE), "later", now, &mut jitter);
        let backoff = hosts.get(HOST, now).expect("backed off");
        assert_eq!(backoff.until, now + 10 * MINUTE);
        assert!(backoff.has_retry_after);
        hosts.record_failure(HOST, Some(Duration::MAX), "never", now, &mut jitter);
        let backoff = hosts.get(HOST, now).expect("backed off");
        assert_eq!(backoff.until, now + MAX_BACKOFF);
    }

    #[test]
    fn a_backoff_outlives_the_daemon_and_clocks_that_are_set() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("backoff");
        let (mut hosts, mut jitter, now) = (HostBackoff::default(), Jitter::new(1), now());
        hosts.record_failure(
            HOST,
            Some(10 * MINUTE),
            "later,\tplease\n",
            now,
            &mut jitter,
        );
        let wall = SystemTime::now();
        hosts.write(&path, now, wall).expect("written");
        let left = |wall| {
            let read = HostBackoff::read(&path, now, wall);
            read.get(HOST, now).map(|backoff| backoff.until - now)
        };
        let later = left(wall + 4 * MINUTE).expect("still backed off");
        assert!(later > 5 * MINUTE && later <= 6 * MINUTE, "{later:?}");
        assert_eq!(left(wall + 11 * MINUTE), None, "it is over");
        let before = left(wall - 1000 * MAX_BACKOFF);
        assert_eq!(before, Some(10 * MINUTE), "by a clock that was set back");
        assert_eq!(left(wall + 1000 * MAX_BACKOFF), None);
        let read = HostBackoff::read(&path, now, wall);
        let backoff = read.get(HOST, now).expect("backed off");
        assert_eq!(
            (
                backoff.why.as_str(),
                backoff.has_retry_after,
                backoff.failures
            ),
            ("later, please ", true, 1)
        );
        HostBackoff::default()
            .write(&path, now, wall)
            .expect("removed");
        assert!(!path.exists());
        fs::write(
            &path,
            "torn\t17\n\n\t\t\t\t\t\nx\t99999999999999999999\t1\t1\t1\t\n",
        )
        .expect("written");
        assert!(HostBackoff::read(&path, now, wall).0.is_empty());
    }
}

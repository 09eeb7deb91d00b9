//! Hosts that are left alone for a while: they did not answer, or asked for it. What is noted here outlives the daemon.

use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::text::unix_seconds;
use tokio::time::Instant;

use super::jitter::{Jitter, backoff};
use crate::process::durable;

/// No host is believed that asks for more: a slip of somebody's would be the end of a mirror.
const MAX_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);

/// Whoever has gone to see and is not back after this time is not waited for: they may have much to download.
const PROBE_INTERVAL: Duration = Duration::from_secs(2 * 60);

/// All hosts that are left alone.
#[derive(Default)]
pub(super) struct HostBackoff(HashMap<String, Rest>);

/// A host that is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Until then.
    pub until: Instant,
    /// How often it has failed in a row.
    pub failures: u32,
    /// Whether it said itself for how long. Then nobody goes there who has a copy to be content with.
    pub asked_for: bool,
    /// What it said, or what came instead.
    pub why: String,
    /// The rest is over, and one sync has gone at this time to see whether the host is back.
    probed: Option<Instant>,
}

/// Whether somebody for whom nobody waits may go to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// They may.
    Open,
    /// Not before this time.
    Until(Instant),
    /// One has gone to see, and is not back.
    Probed,
}

impl HostBackoff {
    /// Whether one more may go; where the rest is over the first who asks is the one who goes to see.
    pub(super) fn pass(&mut self, host: &str, now: Instant) -> Gate {
        match self.0.get_mut(host) {
            None => Gate::Open,
            Some(rest) if now < rest.until => Gate::Until(rest.until),
            Some(rest) if rest.probed.is_some_and(|at| now < at + PROBE_INTERVAL) => Gate::Probed,
            Some(rest) => {
                rest.probed = Some(now);
                Gate::Open
            }
        }
    }

    /// The rest of a host, while it lasts.
    pub(super) fn of(&self, host: &str, now: Instant) -> Option<&Rest> {
        self.0.get(host).filter(|rest| now < rest.until)
    }

    /// A host has not answered; it may have said for how long it wants to be left alone.
    pub(super) fn failed(
        &mut self,
        host: &str,
        asked_for: Option<Duration>,
        why: &str,
        now: Instant,
        jitter: &mut Jitter,
    ) {
        let rest = self.0.entry(host.to_owned()).or_insert_with(|| Rest {
            until: now,
            failures: 0,
            asked_for: false,
            why: String::new(),
            probed: None,
        });
        // Several who were on their way together have seen one failure.
        if now >= rest.until {
            rest.failures = rest.failures.saturating_add(1);
            rest.until = now + backoff(rest.failures, jitter);
            rest.asked_for = false;
            rest.probed = None;
            why.clone_into(&mut rest.why);
        }
        if let Some(time) = asked_for {
            rest.until = rest.until.max(now + time.min(MAX_BACKOFF));
            rest.asked_for = true;
            why.clone_into(&mut rest.why);
        }
    }

    /// A host has answered. Says whether it was left alone until now.
    pub(super) fn worked(&mut self, host: &str) -> bool {
        self.0.remove(host).is_some()
    }

    /// The one who went to see has not come to know.
    pub(super) fn unprobed(&mut self, host: &str) {
        if let Some(rest) = self.0.get_mut(host) {
            rest.probed = None;
        }
    }

    /// Time has passed that no clock of ours has counted.
    pub(super) fn slept(&mut self, time: Duration, now: Instant) {
        for rest in self.0.values_mut() {
            let left = rest.until.saturating_duration_since(now);
            rest.until = now + left.saturating_sub(time);
        }
    }

    /// Reads what a daemon before this has noted. By a clock that was set since then nobody rests longer than was meant.
    pub(super) fn read(path: &Path, now: Instant, wall: SystemTime) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        Self(
            text.lines()
                .filter_map(|line| parse(line, now, wall))
                .collect(),
        )
    }

    /// Writes down what is known.
    pub(super) fn write(&self, path: &Path, now: Instant, wall: SystemTime) -> io::Result<()> {
        if self.0.is_empty() {
            return durable::remove(path);
        }
        let since = unix_seconds(wall);
        let lines = self.0.iter().map(|(host, rest)| {
            let Rest {
                failures,
                asked_for,
                why,
                ..
            } = rest;
            let left = rest.until.saturating_duration_since(now).as_secs();
            let asked_for = u8::from(*asked_for);
            let why = why.replace(['\t', '\n'], " ");
            format!("{host}\t{since}\t{left}\t{failures}\t{asked_for}\t{why}\n")
        });
        durable::replace(path, lines.collect::<String>().as_bytes())
    }
}

/// A line of the file: the host, when it was written, how long the host was to rest from then on, in seconds, how often it
/// had failed, whether it had asked for it, and why.
fn parse(line: &str, now: Instant, wall: SystemTime) -> Option<(String, Rest)> {
    let mut fields = line.splitn(6, '\t');
    let host = fields.next()?.to_owned();
    let mut number = || fields.next()?.parse::<u64>().ok();
    let (written, left, failures, asked_for) = (number()?, number()?, number()?, number()? == 1);
    let left = Duration::from_secs(left).min(MAX_BACKOFF);
    let written = UNIX_EPOCH.checked_add(Duration::from_secs(written))?;
    let passed = wall.duration_since(written).unwrap_or_default();
    let rest = Rest {
        until: now + left.saturating_sub(passed),
        failures: failures.try_into().unwrap_or(u32::MAX),
        asked_for,
        why: fields.next()?.to_owned(),
        probed: None,
    };
    Some((host, rest))
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
    fn after_a_rest_one_goes_to_see_and_the_others_wait_for_what_comes_of_it() {
        let (mut rests, mut jitter, now) = (HostBackoff::default(), Jitter::new(1), now());
        assert_eq!(rests.pass(HOST, now), Gate::Open);
        rests.failed(HOST, None, "no answer", now, &mut jitter);
        let until = rests.of(HOST, now).expect("it rests").until;
        assert!(until > now && until <= now + MINUTE);
        assert_eq!(rests.pass(HOST, now), Gate::Until(until));
        assert_eq!(rests.pass("https://other.example:443", now), Gate::Open);
        assert_eq!(rests.pass(HOST, until), Gate::Open);
        assert_eq!(rests.pass(HOST, until), Gate::Probed);
        rests.unprobed(HOST);
        assert_eq!(rests.pass(HOST, until), Gate::Open);
        assert!(rests.worked(HOST));
        assert_eq!(rests.pass(HOST, until), Gate::Open);
        assert!(!rests.worked(HOST));
    }

    #[test]
    fn rests_get_longer_up_to_a_quarter_of_an_hour() {
        let (mut rests, mut jitter, mut now) = (HostBackoff::default(), Jitter::new(1), now());
        let mut lengths = Vec::new();
        for _ in 0..40 {
            rests.failed(HOST, None, "no answer", now, &mut jitter);
            let until = rests.of(HOST, now).expect("it rests").until;
            lengths.push(until - now);
            now = until;
        }
        assert!(lengths[0] >= MINUTE / 2 && lengths[0] <= MINUTE);
        assert!(lengths[3] > 3 * lengths[0]);
        assert!(lengths.iter().all(|length| *length <= 15 * MINUTE));
        assert!(lengths[30] > 7 * MINUTE);
    }

    #[test]
    fn many_who_fail_together_have_failed_once() {
        let (mut rests, mut jitter, now) = (HostBackoff::default(), Jitter::new(1), now());
        for _ in 0..50 {
            rests.failed(HOST, None, "no answer", now, &mut jitter);
        }
        assert_eq!(rests.of(HOST, now).map(|rest| rest.failures), Some(1));
    }

    #[test]
    fn a_host_rests_for_as_long_as_it_asks_and_at_most_a_day() {
        let (mut rests, mut jitter, now) = (HostBackoff::default(), Jitter::new(1), now());
        rests.failed(HOST, Some(10 * MINUTE), "later", now, &mut jitter);
        let rest = rests.of(HOST, now).expect("it rests");
        assert_eq!(rest.until, now + 10 * MINUTE);
        assert!(rest.asked_for);
        rests.failed(HOST, Some(Duration::MAX), "never", now, &mut jitter);
        let rest = rests.of(HOST, now).expect("it rests");
        assert_eq!(rest.until, now + MAX_BACKOFF);
    }

    #[test]
    fn what_is_noted_outlives_the_daemon_and_clocks_that_are_set() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("rests");
        let (mut rests, mut jitter, now) = (HostBackoff::default(), Jitter::new(1), now());
        rests.failed(
            HOST,
            Some(10 * MINUTE),
            "asks for\tpatience\n",
            now,
            &mut jitter,
        );
        let wall = SystemTime::now();
        rests.write(&path, now, wall).expect("written");
        let left = |wall| {
            let read = HostBackoff::read(&path, now, wall);
            read.of(HOST, now).map(|rest| rest.until - now)
        };
        let later = left(wall + 4 * MINUTE).expect("it still rests");
        assert!(later > 5 * MINUTE && later <= 6 * MINUTE, "{later:?}");
        assert_eq!(left(wall + 11 * MINUTE), None, "it is over");
        let before = left(wall - 1000 * MAX_BACKOFF);
        assert_eq!(before, Some(10 * MINUTE), "by a clock that was set back");
        assert_eq!(left(wall + 1000 * MAX_BACKOFF), None);
        let read = HostBackoff::read(&path, now, wall);
        let rest = read.of(HOST, now).expect("it rests");
        assert_eq!(
            (rest.why.as_str(), rest.asked_for, rest.failures),
            ("asks for patience ", true, 1)
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

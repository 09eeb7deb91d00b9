//! The clock by which an upstream is given up: how long it is waited for while it gets nowhere.
//!
//! Both programs have this one clock. The programs differ in what they read from: what counts as progress, and who waits,
//! is written where they read.

use std::time::{Duration, Instant};

use crate::address::{upstream_url::UpstreamUrl, url_config};

/// The limit where the user has set none: git and curl have none of their own.
const DEFAULT_LIMIT: Duration = Duration::from_secs(30);

/// How long a person may take to sign in by ssh: sshd's default for `LoginGraceTime`.
pub const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(120);

/// Returns how long an upstream may get nowhere, over whatever transport: `GIT_HTTP_LOW_SPEED_TIME`, or
/// `http.lowSpeedTime` of `http` ([`url_config::matching`]), in seconds.
#[must_use]
pub fn limit(http: &[(String, String)], variable: Option<&str>) -> Duration {
    let set = http.iter().rev().find(|(key, _)| key == "lowspeedtime");
    variable
        .or(set.map(|(_, value)| value.as_str()))
        .and_then(|text| text.parse().ok())
        .filter(|seconds| *seconds > 0)
        .map_or(DEFAULT_LIMIT, Duration::from_secs)
}

/// Returns the limit for `url` that holds in this process, whose git has this configuration.
#[must_use]
pub fn limit_of_process(url: &UpstreamUrl, config: &[(String, String)]) -> Duration {
    let http = url_config::matching("http", config, url);
    let variable = std::env::var("GIT_HTTP_LOW_SPEED_TIME").ok();
    limit(&http, variable.as_deref())
}

/// The time that is left to an upstream.
///
/// Only waiting counts: while what came is being stored nobody waits for upstream. Bytes as such do not count as
/// progress: a server that sends one every second may still get nowhere.
#[derive(Debug)]
pub struct NoProgress {
    limit: Duration,
    left: Duration,
    /// Since when upstream is waited for.
    since: Option<Instant>,
}

impl NoProgress {
    /// Nobody waits yet.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            left: limit,
            since: None,
        }
    }

    /// The limit that a wait begins with.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Upstream is waited for from `now` on, with the time that earlier waits have left.
    pub fn resume(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Nobody waits for upstream for a while, and the time stands still.
    pub fn pause(&mut self, now: Instant) {
        self.left = self.left_at(now);
        self.since = None;
    }

    /// Upstream got somewhere: it has the whole limit again.
    pub fn progress(&mut self, now: Instant) {
        self.left = self.left_at(now).max(self.limit);
        self.since = self.since.map(|_| now);
    }

    /// Upstream is waited for from `now` on, with the whole limit and `extra`, whatever came before.
    pub fn restart(&mut self, now: Instant, extra: Duration) {
        self.left = self.limit + extra;
        self.since = Some(now);
    }

    /// Nobody waits for upstream any more; the next wait has the whole limit.
    pub fn stop(&mut self) {
        self.left = self.limit;
        self.since = None;
    }

    /// When upstream is to be given up; `None` while nobody waits for it.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + self.left)
    }

    fn left_at(&self, now: Instant) -> Duration {
        let waited = self.since.map(|since| now.saturating_duration_since(since));
        self.left.saturating_sub(waited.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A clock, and the moment so many seconds after it was made.
    fn clock() -> (NoProgress, impl Fn(u64) -> Instant) {
        let begin = Instant::now();
        (NoProgress::new(LIMIT), move |seconds| {
            begin + Duration::from_secs(seconds)
        })
    }

    #[test]
    fn single_bytes_do_not_end_it_and_progress_does() {
        let (mut clock, at) = clock();
        for second in 0..29 {
            clock.resume(at(second));
            clock.pause(at(second + 1));
        }
        clock.resume(at(29));
        assert_eq!(clock.deadline(), Some(at(30)));
        clock.progress(at(29));
        assert_eq!(clock.deadline(), Some(at(59)));
    }

    #[test]
    fn our_own_work_is_not_upstreams_silence() {
        let (mut clock, at) = clock();
        clock.resume(at(0));
        clock.pause(at(10));
        assert_eq!(clock.deadline(), None);
        clock.resume(at(1000));
        assert_eq!(clock.deadline(), Some(at(1020)));
        clock.resume(at(1010));
        assert_eq!(clock.deadline(), Some(at(1020)), "it is one wait");
    }

    #[test]
    fn progress_takes_no_time_away_and_a_restart_does() {
        let (mut clock, at) = clock();
        clock.restart(at(0), SIGN_IN_TIMEOUT);
        clock.progress(at(1));
        assert_eq!(clock.deadline(), Some(at(150)));
        clock.progress(at(140));
        assert_eq!(clock.deadline(), Some(at(170)));
        clock.restart(at(141), Duration::ZERO);
        assert_eq!(clock.deadline(), Some(at(171)));
        clock.stop();
        assert_eq!(clock.deadline(), None);
        clock.resume(at(200));
        assert_eq!(clock.deadline(), Some(at(230)));
    }

    #[test]
    fn the_limit_is_the_variables_or_the_settings_or_ours() {
        let set = [("lowspeedtime".to_owned(), "5".to_owned())];
        assert_eq!(limit(&set, Some("7")), Duration::from_secs(7));
        assert_eq!(limit(&set, None), Duration::from_secs(5));
        assert_eq!(limit(&set, Some("0")), LIMIT);
        assert_eq!(limit(&[], None), LIMIT);
    }
}

//! Whether upstream must be asked before a mirror is read, or its copy is fresh enough: pure.

use std::time::{Duration, SystemTime};

use crate::mirrors::settings::Rules;

/// Whether a mirror may be served as it is, by its rules and its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Upstream must be asked.
    AskUpstream,
    /// The copy is served, without a warning.
    Fresh,
    /// The copy is served with a warning that states its age; `None` where the age is unknown.
    Aged(Option<Duration>),
}

/// Judges the copy of a mirror that was last in step at `synced`, and whose last sync has failed if it `is_failing`. A copy
/// that is older than `remind_after` is never served without a warning.
pub(crate) fn judge(
    rules: &Rules,
    synced: Option<SystemTime>,
    is_failing: bool,
    now: SystemTime,
    remind_after: Duration,
) -> Freshness {
    let Some(synced) = synced else {
        return Freshness::AskUpstream;
    };
    // `None` after the clock was set back: the age is unknown.
    let age = now.duration_since(synced).ok();
    let is_fresh = age.is_some_and(|age| age < rules.fresh_for);
    if rules.sync_on_fetch && !is_fresh {
        return Freshness::AskUpstream;
    }
    match age {
        Some(age) if age <= remind_after && !is_failing => Freshness::Fresh,
        age => Freshness::Aged(age),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const MINUTE: Duration = Duration::from_secs(60);

    fn judged(
        sync_on_fetch: bool,
        fresh_for: Duration,
        age: Duration,
        is_failing: bool,
    ) -> Freshness {
        let rules = Rules {
            sync_on_fetch,
            fresh_for,
            ..Rules::default()
        };
        let now = SystemTime::UNIX_EPOCH + 1000 * DAY;
        judge(&rules, Some(now - age), is_failing, now, DAY)
    }

    #[test]
    fn every_fetch_asks_upstream_by_default() {
        let asked = judged(true, Duration::ZERO, Duration::ZERO, false);
        assert_eq!(asked, Freshness::AskUpstream);
    }

    #[test]
    fn within_fresh_for_the_copy_is_served_and_after_it_upstream_is_asked() {
        let hour = 60 * MINUTE;
        assert_eq!(judged(true, hour, 59 * MINUTE, false), Freshness::Fresh);
        assert_eq!(judged(true, hour, hour, false), Freshness::AskUpstream);
        let failing = judged(true, hour, MINUTE, true);
        assert_eq!(failing, Freshness::Aged(Some(MINUTE)));
        let old = judged(true, 10 * DAY, 2 * DAY, false);
        assert_eq!(old, Freshness::Aged(Some(2 * DAY)));
    }

    #[test]
    fn without_sync_on_fetch_the_copy_has_no_warning_for_a_day() {
        let aged = |age, is_failing| judged(false, Duration::ZERO, age, is_failing);
        assert_eq!(aged(DAY, false), Freshness::Fresh);
        let later = DAY + MINUTE;
        assert_eq!(aged(later, false), Freshness::Aged(Some(later)));
        assert_eq!(aged(MINUTE, true), Freshness::Aged(Some(MINUTE)));
    }

    #[test]
    fn a_mirror_that_was_never_in_step_is_asked_for_and_a_sync_in_the_future_has_no_age() {
        let now = SystemTime::UNIX_EPOCH + DAY;
        let mut rules = Rules {
            sync_on_fetch: false,
            ..Rules::default()
        };
        assert_eq!(judge(&rules, None, false, now, DAY), Freshness::AskUpstream);
        let future = Some(now + DAY);
        let aged = judge(&rules, future, false, now, DAY);
        assert_eq!(aged, Freshness::Aged(None));
        rules.sync_on_fetch = true;
        rules.fresh_for = DAY;
        let asked = judge(&rules, future, false, now, DAY);
        assert_eq!(asked, Freshness::AskUpstream);
    }
}

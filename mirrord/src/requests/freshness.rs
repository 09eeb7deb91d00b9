//! Whether upstream must be asked before a mirror is read, and what is said when it is not.

use std::time::{Duration, SystemTime};

use crate::mirrors::settings::Rules;

/// What the rules of a mirror make of its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Upstream must be asked.
    Ask,
    /// It is served as it is, and nothing needs to be said.
    Fresh,
    /// It is served as it is, and its age is said; `None` when nobody knows it.
    Aged(Option<Duration>),
}

/// Judges at this time what a mirror has that was last `synced` then, and whose last sync `fails`. An answer that is
/// older than `remind_after` is never silent.
pub(crate) fn judge(
    rules: &Rules,
    synced: Option<SystemTime>,
    fails: bool,
    now: SystemTime,
    remind_after: Duration,
) -> Freshness {
    let Some(synced) = synced else {
        return Freshness::Ask;
    };
    // A clock that was set back: nobody knows how long ago it was.
    let age = now.duration_since(synced).ok();
    let is_fresh = age.is_some_and(|age| age < rules.fresh_for);
    if rules.sync_on_fetch && !is_fresh {
        return Freshness::Ask;
    }
    match age {
        Some(age) if age <= remind_after && !fails => Freshness::Fresh,
        age => Freshness::Aged(age),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const MINUTE: Duration = Duration::from_secs(60);

    fn judged(sync_on_fetch: bool, fresh_for: Duration, age: Duration, fails: bool) -> Freshness {
        let rules = Rules {
            sync_on_fetch,
            fresh_for,
            ..Rules::default()
        };
        let now = SystemTime::UNIX_EPOCH + 1000 * DAY;
        judge(&rules, Some(now - age), fails, now, DAY)
    }

    #[test]
    fn every_fetch_asks_unless_it_was_told_otherwise() {
        let asked = judged(true, Duration::ZERO, Duration::ZERO, false);
        assert_eq!(asked, Freshness::Ask);
    }

    #[test]
    fn within_fresh_for_nobody_is_asked_and_at_its_end_they_are() {
        let hour = 60 * MINUTE;
        assert_eq!(judged(true, hour, 59 * MINUTE, false), Freshness::Fresh);
        assert_eq!(judged(true, hour, hour, false), Freshness::Ask);
        let fails = judged(true, hour, MINUTE, true);
        assert_eq!(fails, Freshness::Aged(Some(MINUTE)));
        let old = judged(true, 10 * DAY, 2 * DAY, false);
        assert_eq!(old, Freshness::Aged(Some(2 * DAY)));
    }

    #[test]
    fn without_sync_on_fetch_it_is_silent_for_a_day() {
        let aged = |age, fails| judged(false, Duration::ZERO, age, fails);
        assert_eq!(aged(DAY, false), Freshness::Fresh);
        let later = DAY + MINUTE;
        assert_eq!(aged(later, false), Freshness::Aged(Some(later)));
        assert_eq!(aged(MINUTE, true), Freshness::Aged(Some(MINUTE)));
    }

    #[test]
    fn what_was_never_in_step_is_asked_for_and_what_is_of_the_future_has_no_age() {
        let now = SystemTime::UNIX_EPOCH + DAY;
        let mut rules = Rules {
            sync_on_fetch: false,
            ..Rules::default()
        };
        assert_eq!(judge(&rules, None, false, now, DAY), Freshness::Ask);
        let future = Some(now + DAY);
        let aged = judge(&rules, future, false, now, DAY);
        assert_eq!(aged, Freshness::Aged(None));
        rules.sync_on_fetch = true;
        rules.fresh_for = DAY;
        let asked = judge(&rules, future, false, now, DAY);
        assert_eq!(asked, Freshness::Ask);
    }
}

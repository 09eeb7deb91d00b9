//! Which mirrors have been there for long enough: pure.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use common::text::{byte_size, time_span};

/// What was used so lately stays, however full the disk is: it would only be downloaded again.
pub(super) const MIN_UNUSED: Duration = Duration::from_secs(60 * 60);

/// What the settings say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For how long a mirror stays that nobody uses; `None` is for ever.
    pub keep_unused: Option<Duration>,
    /// How many bytes all mirrors may take.
    pub budget: Option<u64>,
}

/// Why a mirror goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Nobody has used it for so long.
    Unused(Duration),
    /// All mirrors take more bytes than they may.
    OverBudget {
        /// How many they take.
        all: u64,
        /// How many they may.
        budget: u64,
    },
}

impl Limits {
    /// Why a mirror goes that was last used at this time, when it does, while all take so many bytes.
    ///
    /// By a clock that was set back since then nobody knows how long ago that is, and it stays.
    pub(super) fn reason(&self, used: SystemTime, now: SystemTime, all: u64) -> Option<Reason> {
        let unused = now.duration_since(used).ok()?;
        if self.keep_unused.is_some_and(|keep| unused >= keep) {
            return Some(Reason::Unused(unused));
        }
        let budget = self.budget.filter(|budget| all > *budget)?;
        (unused >= MIN_UNUSED).then_some(Reason::OverBudget { all, budget })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unused(time) => write!(f, "unused for {}", time_span(time.as_secs())),
            Self::OverBudget { all, budget } => {
                let (all, budget) = (byte_size(*all as f64), byte_size(*budget as f64));
                write!(
                    f,
                    "mirrors took {all} of {budget}, and this one was used longest ago"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const SECOND: Duration = Duration::from_secs(1);

    const LIMITS: Limits = Limits {
        keep_unused: Some(Duration::from_secs(30 * 24 * 60 * 60)),
        budget: Some(1000),
    };

    /// What becomes of a mirror that has been unused for so long, while all take so many bytes.
    fn judged(limits: Limits, unused: Duration, all: u64) -> Option<Reason> {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        limits.reason(now - unused, now, all)
    }

    #[test]
    fn what_is_unused_goes_on_the_last_day_and_not_before() {
        assert_eq!(judged(LIMITS, 30 * DAY - SECOND, 1000), None);
        let reason = judged(LIMITS, 30 * DAY, 0);
        assert_eq!(reason, Some(Reason::Unused(30 * DAY)));
        let never = Limits {
            keep_unused: None,
            ..LIMITS
        };
        assert_eq!(judged(never, 3000 * DAY, 1000), None);
    }

    #[test]
    fn over_the_budget_goes_what_was_not_used_lately() {
        let reason = judged(LIMITS, MIN_UNUSED, 1001);
        let over = Reason::OverBudget {
            all: 1001,
            budget: 1000,
        };
        assert_eq!(reason, Some(over));
        assert_eq!(judged(LIMITS, MIN_UNUSED, 1000), None, "it may be full");
        assert_eq!(judged(LIMITS, MIN_UNUSED - SECOND, 5000), None);
        let endless = Limits {
            budget: None,
            ..LIMITS
        };
        assert_eq!(judged(endless, 29 * DAY, u64::MAX), None);
    }

    #[test]
    fn what_was_used_in_the_future_stays() {
        let now = SystemTime::UNIX_EPOCH + DAY;
        assert_eq!(LIMITS.reason(now + DAY, now, u64::MAX), None);
    }

    #[test]
    fn the_reason_is_said_in_words() {
        let words = Reason::Unused(31 * DAY).to_string();
        assert_eq!(words, "unused for 31 days");
        let over = Reason::OverBudget {
            all: 61 << 30,
            budget: 50 << 30,
        };
        assert_eq!(
            over.to_string(),
            "mirrors took 61.00 GiB of 50.00 GiB, and this one was used longest ago"
        );
    }
}

//! Which mirrors are removed, by their last use and the disk budget: pure.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use common::text::{byte_size, time_span};

/// A mirror that was used within this time stays, however full the disk is: it would only be downloaded again.
pub(super) const MIN_UNUSED: Duration = Duration::from_secs(60 * 60);

/// The limits that the settings set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// `keep-unused`: for how long a mirror stays that nobody uses; `None` is for ever.
    pub keep_unused: Option<Duration>,
    /// `disk-budget`: how many bytes all mirrors may take.
    pub budget: Option<u64>,
}

/// Why a mirror is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The mirror was not used for so long.
    Unused(Duration),
    /// All mirrors take more bytes than the budget.
    OverBudget {
        /// The bytes that all mirrors take.
        total: u64,
        /// The bytes that they may take.
        budget: u64,
    },
}

impl Limits {
    /// Why a mirror is removed that was last used at this time, while all mirrors take `total` bytes; `None` where it stays.
    ///
    /// After the clock was set back the time of no use is unknown, and the mirror stays.
    pub(super) fn reason(
        &self,
        last_used: SystemTime,
        now: SystemTime,
        total: u64,
    ) -> Option<Reason> {
        let unused = now.duration_since(last_used).ok()?;
        if self.keep_unused.is_some_and(|keep| unused >= keep) {
            return Some(Reason::Unused(unused));
        }
        let budget = self.budget.filter(|budget| total > *budget)?;
        (unused >= MIN_UNUSED).then_some(Reason::OverBudget { total, budget })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unused(time) => write!(f, "unused for {}", time_span(time.as_secs())),
            Self::OverBudget { total, budget } => {
                let (total, budget) = (byte_size(*total as f64), byte_size(*budget as f64));
                write!(
                    f,
                    "mirrors took {total} of {budget}, and this one was used longest ago"
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

    /// The reason to remove a mirror that was not used for so long, while all mirrors take so many bytes.
    fn reason_of(limits: Limits, unused: Duration, total: u64) -> Option<Reason> {
        let now = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        limits.reason(now - unused, now, total)
    }

    #[test]
    fn an_unused_mirror_is_removed_on_the_last_day_and_not_before() {
        assert_eq!(reason_of(LIMITS, 30 * DAY - SECOND, 1000), None);
        let reason = reason_of(LIMITS, 30 * DAY, 0);
        assert_eq!(reason, Some(Reason::Unused(30 * DAY)));
        let never = Limits {
            keep_unused: None,
            ..LIMITS
        };
        assert_eq!(reason_of(never, 3000 * DAY, 1000), None);
    }

    #[test]
    fn over_the_budget_a_mirror_is_removed_that_was_not_used_lately() {
        let reason = reason_of(LIMITS, MIN_UNUSED, 1001);
        let over = Reason::OverBudget {
            total: 1001,
            budget: 1000,
        };
        assert_eq!(reason, Some(over));
        assert_eq!(reason_of(LIMITS, MIN_UNUSED, 1000), None, "it may be full");
        assert_eq!(reason_of(LIMITS, MIN_UNUSED - SECOND, 5000), None);
        let endless = Limits {
            budget: None,
            ..LIMITS
        };
        assert_eq!(reason_of(endless, 29 * DAY, u64::MAX), None);
    }

    #[test]
    fn a_mirror_that_was_used_in_the_future_stays() {
        let now = SystemTime::UNIX_EPOCH + DAY;
        assert_eq!(LIMITS.reason(now + DAY, now, u64::MAX), None);
    }

    #[test]
    fn the_reason_is_a_sentence() {
        let message = Reason::Unused(31 * DAY).to_string();
        assert_eq!(message, "unused for 31 days");
        let over = Reason::OverBudget {
            total: 61 << 30,
            budget: 50 << 30,
        };
        assert_eq!(
            over.to_string(),
            "mirrors took 61.00 GiB of 50.00 GiB, and this one was used longest ago"
        );
    }
}

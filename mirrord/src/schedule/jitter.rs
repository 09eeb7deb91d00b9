//! Waits with jitter: those who wait together do not go together.

use std::time::Duration;

/// After a first failure it is tried again after this time, then after twice as long, and so on.
const FIRST_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Never less often than this: it does not give up.
pub(super) const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Where jitter comes from.
pub(super) struct Jitter(fastrand::Rng);

impl Jitter {
    /// A seed that no other daemon has: where the system has no randomness, the process is one.
    pub(super) fn seed() -> u64 {
        let mut seed = [0; 8];
        match getrandom::fill(&mut seed) {
            Ok(()) => u64::from_ne_bytes(seed),
            Err(_) => std::process::id().into(),
        }
    }

    /// Those of this seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Some time below this one.
    pub(super) fn below(&mut self, time: Duration) -> Duration {
        time.mul_f64(self.0.f64())
    }

    /// About this time, and rather less: between four fifths of it and all of it.
    pub(super) fn about(&mut self, time: Duration) -> Duration {
        time.mul_f64(0.8) + self.below(time.mul_f64(0.2))
    }
}

/// How long to wait after so many failures in a row.
pub(super) fn backoff(failures: u32, jitter: &mut Jitter) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    jitter.about((FIRST_RETRY_INTERVAL * 2_u32.pow(doublings)).min(MAX_RETRY_INTERVAL))
}

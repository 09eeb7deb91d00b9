//! Jitter: mirrors that wait together do not start together. And the wait after failures, which has it.

use std::time::Duration;

/// The wait after a first failure. Each further failure doubles it.
const FIRST_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// The longest wait between two tries.
pub(super) const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// The source of jitter.
pub(super) struct Jitter(fastrand::Rng);

impl Jitter {
    /// Returns a seed that no other daemon has. Where the system gives no randomness, the process id is the seed.
    pub(super) fn random_seed() -> u64 {
        let mut seed = [0; 8];
        match getrandom::fill(&mut seed) {
            Ok(()) => u64::from_ne_bytes(seed),
            Err(_) => std::process::id().into(),
        }
    }

    /// Starts the sequence of a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Returns a duration between nothing and `limit`.
    pub(super) fn below(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.0.f64())
    }

    /// Returns a duration between four fifths of `time` and all of it.
    pub(super) fn about(&mut self, time: Duration) -> Duration {
        time.mul_f64(0.8) + self.below(time.mul_f64(0.2))
    }
}

/// The wait after a number of failures in a row.
pub(super) fn retry_wait(failures: u32, jitter: &mut Jitter) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    jitter.about((FIRST_RETRY_INTERVAL * 2_u32.pow(doublings)).min(MAX_RETRY_INTERVAL))
}

//! Waits until an upstream is to be given up ([`common::no_progress`]), beside the work that moves its clock.

use std::time::{Duration, Instant};

use common::no_progress::NoProgress;
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::process::watch::Watch;

/// How often the clock is read, at most and at least: progress moves it, and a person may begin to be asked.
const POLL_INTERVALS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Resolves when the time of `clock` is over. The time that a person takes to answer does not count.
pub(crate) async fn expired(clock: &Mutex<NoProgress>, watch: &Watch) {
    loop {
        let now = Instant::now();
        let deadline = {
            let mut clock = clock.lock();
            if watch.is_asking() {
                clock.progress(now);
            }
            clock.deadline()
        };
        let left = deadline.map_or(POLL_INTERVALS.1, |deadline| {
            deadline.saturating_duration_since(now)
        });
        if left.is_zero() {
            return;
        }
        sleep(left.clamp(POLL_INTERVALS.0, POLL_INTERVALS.1)).await;
    }
}

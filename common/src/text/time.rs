//! Points in time and time spans, as people read them and as files have them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the whole seconds from 1970 to `time`; 0 for a time before that.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

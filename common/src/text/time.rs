//! Points in time and time spans, as people read them and as files have them.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns the whole seconds from 1970 to `time`; 0 for a time before that.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Returns a time span in its largest whole unit: `2 hours`.
#[must_use]
pub fn time_span(seconds: u64) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let (count, unit) = units
        .into_iter()
        .find(|(length, _)| seconds >= *length)
        .map_or((seconds, "second"), |(length, unit)| {
            (seconds / length, unit)
        });
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

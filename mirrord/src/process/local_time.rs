//! Points in time as people read them.

use jiff::{Timestamp, tz::TimeZone};

/// A point in time where the person lives, as git writes it with `--date=iso`: with the offset, so that it means the
/// same to whoever it is given to.
pub(crate) fn time(seconds: u64) -> String {
    in_zone(seconds, TimeZone::system())
}

pub(crate) fn in_zone(seconds: u64, zone: TimeZone) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    match Timestamp::from_second(seconds) {
        Ok(time) => time
            .to_zoned(zone)
            .strftime("%Y-%m-%d %H:%M:%S %z")
            .to_string(),
        // No clock shows it.
        Err(_) => seconds.to_string(),
    }
}

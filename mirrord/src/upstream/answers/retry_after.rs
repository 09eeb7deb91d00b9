//! The time for which upstream wants no request, as the headers of an answer give it.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    StatusCode,
    header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER},
};

/// The longest time that is honoured: nobody means years.
const MAX_DELAY: Duration = Duration::from_secs(60 * 60);

/// The smallest number that is a point in time, in seconds since 1970; a smaller one is a span.
const POINT_IN_TIME: u64 = 1_000_000_000;

/// Returns the time for which an answer asks for no request, one hour at most. A value that makes no sense, or is over,
/// counts as none.
pub(in crate::upstream) fn read(
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<Duration> {
    let is_limit = status == StatusCode::TOO_MANY_REQUESTS;
    if !is_limit && status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let get = |name| headers.get(name).and_then(text);
    // Whether the server's clock is right does not matter: both ends of the span are by that clock.
    let now = get(DATE.as_str())
        .and_then(date)
        .or_else(|| Timestamp::try_from(now).ok())?;
    let until = |then: Timestamp| Duration::try_from(then.duration_since(now)).ok();
    let span = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number that is too large is a large number.
        is_number.then(|| text.parse().unwrap_or(u64::MAX))
    };
    let after = |text: &str| match span(text) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => until(date(text)?),
    };
    // GitLab's `RateLimit-Reset` is a point in time, others have a span. With another status it tells of a limit that is not
    // yet reached.
    let reset = |text: &str| match span(text)? {
        seconds @ POINT_IN_TIME.. => until(Timestamp::from_second(seconds.try_into().ok()?).ok()?),
        seconds => Some(Duration::from_secs(seconds)),
    };
    let limit = |name| get(name).filter(|_| is_limit);
    let wanted = get(RETRY_AFTER.as_str())
        .and_then(after)
        .or_else(|| until(limit("ratelimit-resettime").and_then(date)?))
        .or_else(|| reset(limit("ratelimit-reset")?));
    wanted
        .filter(|wanted| !wanted.is_zero())
        .map(|wanted| wanted.min(MAX_DELAY))
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

/// A date as http writes it: `Thu, 26 Nov 2026 08:49:37 GMT`.
fn date(text: &str) -> Option<Timestamp> {
    rfc2822::parse(text).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;
    use reqwest::header::HeaderName;

    use super::*;

    const NOW: u64 = 1_795_682_977;

    fn wanted(status: u16, headers: &[(&str, &str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        });
        let status = StatusCode::from_u16(status).expect("a status");
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let wanted = read(status, &headers.collect(), now);
        wanted.map(|wanted| wanted.as_secs())
    }

    #[test]
    fn each_header_is_read() {
        let after = |value| wanted(429, &[("Retry-After", value)]);
        assert_eq!(after("120"), Some(120));
        assert_eq!(after(" 7 "), Some(7));
        assert_eq!(after("Thu, 26 Nov 2026 08:49:47 GMT"), Some(10));
        assert_eq!(wanted(503, &[("Retry-After", "30")]), Some(30));
        // Their clock is ten years behind.
        let there = ("Date", "Thu, 26 Nov 2015 08:00:00 GMT");
        let until = ("Retry-After", "Thu, 26 Nov 2015 08:02:00 GMT");
        assert_eq!(wanted(429, &[there, until]), Some(120));
        let time = ("RateLimit-ResetTime", "Thu, 26 Nov 2026 08:50:37 GMT");
        assert_eq!(wanted(429, &[time]), Some(60));
        let point = (NOW + 15).to_string();
        assert_eq!(wanted(429, &[("RateLimit-Reset", &point)]), Some(15));
        assert_eq!(wanted(429, &[("RateLimit-Reset", "40")]), Some(40));
        let both = [("RateLimit-Reset", "40"), ("Retry-After", "5")];
        assert_eq!(wanted(429, &both), Some(5));
    }

    #[test]
    fn a_time_of_years_is_an_hour() {
        for long in [
            "3601",
            "99999999",
            "18446744073709551615",
            "99999999999999999999999999",
            "Thu, 26 Nov 2099 08:49:47 GMT",
        ] {
            assert_eq!(wanted(429, &[("Retry-After", long)]), Some(3600), "{long}");
        }
    }

    #[test]
    fn a_value_that_makes_no_sense_or_is_over_counts_as_none() {
        for odd in [
            "",
            "0",
            "-5",
            "+5",
            "1.5",
            "1e3",
            "0x10",
            "soon",
            "120 seconds",
            "12, 13",
            "Thu, 26 Nov 2026 08:49:27 GMT",
            "Thu, 99 Nov 2026 08:49:27 GMT",
            "2026-11-26T08:49:47Z",
        ] {
            assert_eq!(wanted(429, &[("Retry-After", odd)]), None, "{odd}");
        }
        assert_eq!(wanted(429, &[]), None);
    }

    #[test]
    fn with_another_status_the_headers_count_for_nothing() {
        for status in [200, 301, 403, 500, 502, 504] {
            assert_eq!(wanted(status, &[("Retry-After", "30")]), None, "{status}");
        }
        // Half of the limit is left, and the fault is another one.
        assert_eq!(wanted(503, &[("RateLimit-Reset", "40")]), None);
    }

    proptest! {
        #[test]
        fn no_value_is_more_than_an_hour(text in "[ -~]{0,40}", number: u64) {
            for text in [text, number.to_string()] {
                for name in ["Retry-After", "RateLimit-ResetTime", "RateLimit-Reset"] {
                    prop_assert!(wanted(429, &[(name, &text)]).unwrap_or_default() <= 3600);
                }
            }
        }
    }
}

//! For how long upstream wants to be left alone, as the headers of an answer say it.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    StatusCode,
    header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER},
};

/// Whoever asks for more is asked again after this long: nobody means years.
const MAX_DELAY: Duration = Duration::from_secs(60 * 60);

/// What is at least this much is a point in time, in seconds since 1970, and no span.
const POINT_IN_TIME: u64 = 1_000_000_000;

/// For how long an answer with this status asks to be left alone, if it does: one hour at most. What makes no sense, or
/// is over, asks for nothing.
pub(in crate::upstream) fn wanted(
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<Duration> {
    let is_limit = status == StatusCode::TOO_MANY_REQUESTS;
    if !is_limit && status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let get = |name| headers.get(name).and_then(text);
    // Origin clock is wrong does not matter when both ends of a span are by the same one.
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
    // GitLab's limit has a point in time here, others have a span. Elsewhere it only tells of a limit not yet reached.
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

    fn asked(status: u16, headers: &[(&str, &str)]) -> Option<u64> {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        });
        let status = StatusCode::from_u16(status).expect("a status");
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let wanted = wanted(status, &headers.collect(), now);
        wanted.map(|wanted| wanted.as_secs())
    }

    #[test]
    fn what_is_said_clearly_is_understood() {
        let after = |value| asked(429, &[("Retry-After", value)]);
        assert_eq!(after("120"), Some(120));
        assert_eq!(after(" 7 "), Some(7));
        assert_eq!(after("Thu, 26 Nov 2026 08:49:47 GMT"), Some(10));
        assert_eq!(asked(503, &[("Retry-After", "30")]), Some(30));
        // Their clock is ten years behind.
        let there = ("Date", "Thu, 26 Nov 2015 08:00:00 GMT");
        let until = ("Retry-After", "Thu, 26 Nov 2015 08:02:00 GMT");
        assert_eq!(asked(429, &[there, until]), Some(120));
        let time = ("RateLimit-ResetTime", "Thu, 26 Nov 2026 08:50:37 GMT");
        assert_eq!(asked(429, &[time]), Some(60));
        let point = (NOW + 15).to_string();
        assert_eq!(asked(429, &[("RateLimit-Reset", &point)]), Some(15));
        assert_eq!(asked(429, &[("RateLimit-Reset", "40")]), Some(40));
        let both = [("RateLimit-Reset", "40"), ("Retry-After", "5")];
        assert_eq!(asked(429, &both), Some(5));
    }

    #[test]
    fn what_is_said_of_years_is_an_hour() {
        for long in [
            "3601",
            "99999999",
            "18446744073709551615",
            "99999999999999999999999999",
            "Thu, 26 Nov 2099 08:49:47 GMT",
        ] {
            assert_eq!(asked(429, &[("Retry-After", long)]), Some(3600), "{long}");
        }
    }

    #[test]
    fn what_makes_no_sense_or_is_over_asks_for_nothing() {
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
            assert_eq!(asked(429, &[("Retry-After", odd)]), None, "{odd}");
        }
        assert_eq!(asked(429, &[]), None);
    }

    #[test]
    fn other_answers_ask_for_nothing() {
        for status in [200, 301, 403, 500, 502, 504] {
            assert_eq!(asked(status, &[("Retry-After", "30")]), None, "{status}");
        }
        // Half of the limit is left, and the fault is another one.
        assert_eq!(asked(503, &[("RateLimit-Reset", "40")]), None);
    }

    proptest! {
        #[test]
        fn whatever_is_said_it_is_an_hour_at_most(words in "[ -~]{0,40}", number: u64) {
            for text in [words, number.to_string()] {
                for name in ["Retry-After", "RateLimit-ResetTime", "RateLimit-Reset"] {
                    prop_assert!(asked(429, &[(name, &text)]).unwrap_or_default() <= 3600);
                }
            }
        }
    }
}

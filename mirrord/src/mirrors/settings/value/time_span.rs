//! Time spans and intervals: a number and one of the units `s`, `m`, `h`, `d`.

use std::time::Duration;

use super::{Refusal, Value, parse_number};

/// The units and their seconds, the largest first.
const UNITS: [(char, u64); 4] = [('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60), ('s', 1)];

/// The longest time span: a hundred years, so that a clock can always be advanced by it.
const MAX_DURATION: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// The shortest interval.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

const NEVER: &str = "never";

/// A number and a unit, `10m`. `humantime` would also accept `1 s`, `1h30m` and `1ms`, and prints `1day 12h` for `36h`.
impl Value for Duration {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        *self = parse_span(text).filter(|span| *span <= MAX_DURATION).ok_or_else(|| {
            let days = MAX_DURATION.as_secs() / UNITS[0].1;
            Refusal::Expected(format!(
                "a number and one of 's', 'm', 'h', 'd', as in '90s', '10m', '2h' or '30d', up to '{days}d'"
            ))
        })?;
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let seconds = self.as_secs();
        let mut units = UNITS.into_iter();
        let fits = units.find(|(_, unit)| seconds != 0 && seconds.is_multiple_of(*unit));
        let (name, unit) = fits.unwrap_or(('s', 1));
        vec![format!("{}{name}", seconds / unit)]
    }
}

/// An interval: a time span of at least a second, or `never`.
impl Value for Option<Duration> {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        if text.eq_ignore_ascii_case(NEVER) {
            *self = None;
            return Ok(());
        }
        let span = parse_span(text).filter(|span| (MIN_INTERVAL..=MAX_DURATION).contains(span));
        *self = Some(span.ok_or_else(|| {
            let kind = format!(
                "a number and one of 's', 'm', 'h', 'd', as in '10m' or '1h', or '{NEVER}'"
            );
            Refusal::Expected(kind)
        })?);
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        self.map_or_else(|| vec![NEVER.to_owned()], |span| span.lines())
    }
}

fn parse_span(text: &str) -> Option<Duration> {
    if parse_number(text) == Some(0) {
        return Some(Duration::ZERO);
    }
    let mut units = UNITS.into_iter();
    let (count, unit) = units.find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    parse_number(count)?
        .checked_mul(unit)
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<T: Value>(mut value: T, text: &str) -> Option<T> {
        value.set(text).ok().map(|()| value)
    }

    #[test]
    fn a_time_span_is_a_number_and_a_unit_and_nothing_else() {
        let table = [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("0d", 0, "0s"),
            ("90s", 90, "90s"),
            ("60s", 60, "1m"),
            ("10m", 600, "10m"),
            ("120m", 7200, "2h"),
            ("36h", 129_600, "36h"),
            ("720h", 2_592_000, "30d"),
            ("36500d", 3_153_600_000, "36500d"),
        ];
        for (text, seconds, written) in table {
            let span = read(Duration::MAX, text).expect(text);
            assert_eq!(span.as_secs(), seconds, "{text}");
            assert_eq!(span.lines(), [written], "{text}");
        }
        for text in [
            "",
            "s",
            "1",
            "1 s",
            " 1s",
            "-1s",
            "+1s",
            "1S",
            "1w",
            "1.5h",
            "1h30m",
            "1ms",
            "٣s",
            "36501d",
            "18446744073709551615d",
            "99999999999999999999s",
        ] {
            assert_eq!(read(Duration::ZERO, text), None, "{text:?}");
        }
    }

    #[test]
    fn an_interval_is_a_time_span_or_never() {
        let every = |text: &str| read(Some(Duration::MAX), text);
        assert_eq!(every("never"), Some(None));
        assert_eq!(every("Never"), Some(None));
        assert_eq!(every("10m"), Some(Some(Duration::from_secs(600))));
        for text in ["", "0", "0s", "no", "1", "hourly", "99999999d"] {
            assert_eq!(every(text), None, "{text:?}");
        }
        let written = |text: &str| every(text).map(|every| every.lines());
        assert_eq!(written("NEVER"), Some(vec!["never".to_owned()]));
        assert_eq!(written("60m"), Some(vec!["1h".to_owned()]));
    }

    proptest! {
        #[test]
        fn every_span_is_read_as_it_was_written(seconds in 0..=MAX_DURATION.as_secs()) {
            let span = Duration::from_secs(seconds);
            prop_assert_eq!(read(Duration::MAX, &span.lines()[0]), Some(span));
        }

        #[test]
        fn no_text_makes_a_span_panic(text in any::<String>()) {
            let _ = read(Duration::ZERO, &text);
        }
    }
}

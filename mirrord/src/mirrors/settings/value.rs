//! How the values of settings are written, and which there are.

use std::{net::SocketAddr, ops::RangeInclusive, time::Duration};

use common::{
    packs::link::{LINKS, Link},
    protocol::Stale,
    refspec::Refspecs,
};

use super::Atomic;

/// What a setting may hold.
pub(crate) trait Value {
    /// Takes the value that a text stands for, or leaves the old one.
    fn set(&mut self, text: &str) -> Result<(), Refusal>;

    /// How it is written: one value for each line of its own.
    fn lines(&self) -> Vec<String>;

    /// Whether it is a list: the lines of a file add up, where otherwise the last one counts.
    fn is_list(&self) -> bool {
        false
    }
}

/// Why a text is no value of a setting.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is none of these words.
    NoneOf(Vec<&'static str>),
    /// It is not of this kind.
    Not(String),
    /// It breaks a rule that it names itself.
    Broken(String),
}

const SECONDS: [(char, u64); 4] = [('d', 24 * 60 * 60), ('h', 60 * 60), ('m', 60), ('s', 1)];

/// The longest time span: a hundred years, so that adding one to a clock is always possible.
const MAX_DURATION: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// The shortest time between two things that come again and again.
const MIN_DURATION: Duration = Duration::from_secs(1);

const NEVER: &str = "never";

/// What a number may be: more would be a mistake.
const NUMBERS: RangeInclusive<usize> = 1..=1000;

impl Value for String {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        if text.contains(|c: char| c.is_control() && !"\n\t".contains(c)) {
            let kind = "any text without control characters other than line breaks and tabs";
            return Err(Refusal::Not(kind.to_owned()));
        }
        text.clone_into(self);
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        vec![self.clone()]
    }
}

/// Refspecs, separated by white space; none of them means all branches and tags.
impl Value for Refspecs {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        *self = if text.trim().is_empty() {
            Self::everything()
        } else {
            Self::parse(text.split_whitespace()).map_err(|err| Refusal::Broken(err.to_string()))?
        };
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        Self::lines(self).collect()
    }

    fn is_list(&self) -> bool {
        true
    }
}

/// A number and a unit, in whole seconds.
impl Value for Duration {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        *self = span(text).filter(|span| *span <= MAX_DURATION).ok_or_else(|| {
            let days = MAX_DURATION.as_secs() / SECONDS[0].1;
            Refusal::Not(format!(
                "a number and one of 's', 'm', 'h', 'd', as in '90s', '10m', '2h' or '30d', up to '{days}d'"
            ))
        })?;
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let seconds = self.as_secs();
        let mut units = SECONDS.into_iter();
        let fits = units.find(|(_, unit)| seconds != 0 && seconds.is_multiple_of(*unit));
        let (name, unit) = fits.unwrap_or(('s', 1));
        vec![format!("{}{name}", seconds / unit)]
    }
}

/// How often: a time span, or never.
impl Value for Option<Duration> {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        if text.eq_ignore_ascii_case(NEVER) {
            *self = None;
            return Ok(());
        }
        let span = span(text).filter(|span| (MIN_DURATION..=MAX_DURATION).contains(span));
        *self = Some(span.ok_or_else(|| {
            let kind = format!(
                "a number and one of 's', 'm', 'h', 'd', as in '10m' or '1h', or '{NEVER}'"
            );
            Refusal::Not(kind)
        })?);
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        self.map_or_else(|| vec![NEVER.to_owned()], |span| span.lines())
    }
}

impl Value for usize {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let number = number(text).and_then(|number| Self::try_from(number).ok());
        *self = number
            .filter(|number| NUMBERS.contains(number))
            .ok_or_else(|| {
                let (least, most) = (NUMBERS.start(), NUMBERS.end());
                Refusal::Not(format!("a number from {least} to {most}"))
            })?;
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

/// `yes` or `no`, and what git takes for them.
impl Value for bool {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is(["yes", "true", "on", "1"]) {
            *self = true;
        } else if is(["no", "false", "off", "0"]) {
            *self = false;
        } else {
            return Err(Refusal::NoneOf(vec!["yes", "no"]));
        }
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        vec![if *self { "yes" } else { "no" }.to_owned()]
    }
}

/// An address, not a name, and a port.
impl Value for SocketAddr {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let kind = "an address and a port, as in '127.0.0.1:8080', '0.0.0.0:8080' or '[::1]:8080'";
        *self = text.parse().map_err(|_| Refusal::Not(kind.to_owned()))?;
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

/// A URL of http or https that others can be told, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct WebUrl(String);

impl WebUrl {
    /// As it was typed; blank when there is none.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Value for WebUrl {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let is_plain = |url: reqwest::Url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        };
        if !text.is_empty() && !reqwest::Url::parse(text).is_ok_and(is_plain) {
            let kind = "the beginning of a URL without a login, as in 'https://hooks.example'";
            return Err(Refusal::Not(kind.to_owned()));
        }
        text.clone_into(&mut self.0);
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        vec![self.0.clone()]
    }
}

const STALE: [(&str, Stale); 2] = [("serve", Stale::Serve), ("fail", Stale::Fail)];

impl Value for Stale {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        choose(self, text, &STALE)
    }

    fn lines(&self) -> Vec<String> {
        vec![word(self, &STALE)]
    }
}

const ATOMIC: [(&str, Atomic); 3] = [
    ("yes", Atomic::Yes),
    ("no", Atomic::No),
    ("auto", Atomic::Auto),
];

impl Value for Atomic {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let mut yes = true;
        if yes.set(text).is_ok() {
            *self = if yes { Self::Yes } else { Self::No };
            return Ok(());
        }
        choose(self, text, &ATOMIC)
    }

    fn lines(&self) -> Vec<String> {
        vec![word(self, &ATOMIC)]
    }
}

impl Value for Link {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        choose(self, text, &LINKS)
    }

    fn lines(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

pub(super) fn choose<T: Copy>(
    value: &mut T,
    text: &str,
    words: &[(&'static str, T)],
) -> Result<(), Refusal> {
    let mut choices = words.iter();
    let (_, chosen) = choices
        .find(|(word, _)| word.eq_ignore_ascii_case(text))
        .ok_or_else(|| Refusal::NoneOf(words.iter().map(|(word, _)| *word).collect()))?;
    *value = *chosen;
    Ok(())
}

pub(super) fn word<T: PartialEq>(value: &T, words: &[(&str, T)]) -> String {
    let its_own = words.iter().find(|(_, each)| each == value);
    its_own.map_or("", |(word, _)| word).to_owned()
}

/// `u64::from_str` alone would take `+1` too.
pub(super) fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn span(text: &str) -> Option<Duration> {
    if number(text) == Some(0) {
        return Some(Duration::ZERO);
    }
    let mut units = SECONDS.into_iter();
    let (count, unit) = units.find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    number(count)?.checked_mul(unit).map(Duration::from_secs)
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
    fn how_often_is_a_time_span_or_never() {
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

    #[test]
    fn yes_and_no_are_said_as_in_git() {
        for text in ["yes", "Yes", "true", "on", "1"] {
            assert_eq!(read(false, text), Some(true), "{text}");
            assert_eq!(read(Atomic::Auto, text), Some(Atomic::Yes), "{text}");
        }
        for text in ["no", "NO", "false", "off", "0"] {
            assert_eq!(read(true, text), Some(false), "{text}");
            assert_eq!(read(Atomic::Auto, text), Some(Atomic::No), "{text}");
        }
        for text in ["", "yse", "y", "2", "auto"] {
            assert_eq!(read(true, text), None, "{text:?}");
        }
        assert_eq!(read(Atomic::No, "auto"), Some(Atomic::Auto));
    }

    #[test]
    fn a_number_is_one_that_makes_sense() {
        assert_eq!((read(0, "1"), read(0, "1000")), (Some(1), Some(1000)));
        for text in [
            "",
            "0",
            "-1",
            "+1",
            "1001",
            "1e2",
            "99999999999999999999999",
        ] {
            assert_eq!(read(5, text), None, "{text:?}");
        }
    }

    #[test]
    fn an_address_is_no_name_and_has_a_port() {
        let nowhere = || SocketAddr::from(([0, 0, 0, 0], 0));
        for text in ["127.0.0.1:0", "0.0.0.0:8080", "[::1]:8080"] {
            let address = read(nowhere(), text).expect(text);
            assert_eq!(address.lines(), [text]);
        }
        for text in [
            "",
            "8080",
            ":8080",
            "127.0.0.1",
            "::1:8080",
            "localhost:80",
            "127.0.0.1:x",
        ] {
            assert_eq!(read(nowhere(), text), None, "{text:?}");
        }
    }

    #[test]
    fn a_url_that_others_are_told_has_no_login_in_it() {
        for text in ["", "https://h", "http://h:80/a/", "https://[::1]:1"] {
            let url = read(WebUrl::default(), text).expect(text);
            assert_eq!(url.lines(), [text]);
        }
        for text in [
            "h",
            "h:80",
            "ftp://h",
            "https://",
            "https://me@h",
            "https://me:x@h",
            "https://h/?a=b",
            "https://h/#a",
        ] {
            assert_eq!(read(WebUrl::default(), text), None, "{text:?}");
        }
    }

    #[test]
    fn a_blank_list_of_refspecs_is_all_branches_and_tags() {
        let one = read(Refspecs::everything(), " refs/heads/a:refs/heads/a\n").expect("sound");
        assert_eq!(one.lines().count(), 1);
        for blank in ["", " \t\n"] {
            assert_eq!(read(one.clone(), blank), Some(Refspecs::everything()));
        }
    }

    proptest! {
        #[test]
        fn every_span_is_read_as_it_was_written(seconds in 0..=MAX_DURATION.as_secs()) {
            let span = Duration::from_secs(seconds);
            prop_assert_eq!(read(Duration::MAX, &span.lines()[0]), Some(span));
        }

        #[test]
        fn no_text_makes_a_value_panic(text in any::<String>()) {
            let _ = read(Duration::ZERO, &text);
            let _ = read(1_usize, &text);
            let _ = read(true, &text);
        }
    }
}

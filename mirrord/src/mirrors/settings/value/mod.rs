//! The values of settings: how each type is read from text and written. Time spans, addresses and URLs have files of their
//! own.

mod time_span;
mod web;

use std::ops::RangeInclusive;

use common::{
    packs::link::{LINKS, Link},
    protocol::Stale,
    refspec::Refspecs,
};

pub(crate) use web::WebUrl;

use super::Atomic;

/// What a setting may hold.
pub(crate) trait Value {
    /// Sets the value that `text` stands for. Leaves the old value if `text` stands for none.
    fn set(&mut self, text: &str) -> Result<(), Refusal>;

    /// Returns the value as a configuration file has it, one item for each line.
    fn lines(&self) -> Vec<String>;

    /// Whether all lines of a file belong to the value. Of any other value the last line counts.
    fn is_list(&self) -> bool {
        false
    }
}

/// Why a text is not a value of a setting.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The value is one of these choices, and the text is not.
    OneOf(Vec<&'static str>),
    /// The value is what this describes, and the text is not.
    Expected(String),
    /// The text breaks this rule.
    Rule(String),
}

/// What a number may be. More syncs at once than that would be a mistake.
const NUMBER_RANGE: RangeInclusive<usize> = 1..=1000;

impl Value for String {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        if text.contains(|c: char| c.is_control() && !"\n\t".contains(c)) {
            let kind = "any text without control characters other than line breaks and tabs";
            return Err(Refusal::Expected(kind.to_owned()));
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
            Self::parse(text.split_whitespace()).map_err(|err| Refusal::Rule(err.to_string()))?
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

impl Value for usize {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        let number = parse_number(text).and_then(|number| Self::try_from(number).ok());
        *self = number
            .filter(|number| NUMBER_RANGE.contains(number))
            .ok_or_else(|| {
                let (min, max) = (NUMBER_RANGE.start(), NUMBER_RANGE.end());
                Refusal::Expected(format!("a number from {min} to {max}"))
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
        let is = |choices: [&str; 4]| choices.iter().any(|word| text.eq_ignore_ascii_case(word));
        if is(["yes", "true", "on", "1"]) {
            *self = true;
        } else if is(["no", "false", "off", "0"]) {
            *self = false;
        } else {
            return Err(Refusal::OneOf(vec!["yes", "no"]));
        }
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        vec![if *self { "yes" } else { "no" }.to_owned()]
    }
}

const STALE: [(&str, Stale); 2] = [("serve", Stale::Serve), ("fail", Stale::Fail)];

impl Value for Stale {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        set_by_word(self, text, &STALE)
    }

    fn lines(&self) -> Vec<String> {
        vec![word_of(self, &STALE)]
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
        set_by_word(self, text, &ATOMIC)
    }

    fn lines(&self) -> Vec<String> {
        vec![word_of(self, &ATOMIC)]
    }
}

impl Value for Link {
    fn set(&mut self, text: &str) -> Result<(), Refusal> {
        set_by_word(self, text, &LINKS)
    }

    fn lines(&self) -> Vec<String> {
        vec![self.to_string()]
    }
}

/// Sets the value that one of `choices` stands for.
pub(super) fn set_by_word<T: Copy>(
    value: &mut T,
    text: &str,
    choices: &[(&'static str, T)],
) -> Result<(), Refusal> {
    let (_, chosen) = choices
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text))
        .ok_or_else(|| Refusal::OneOf(choices.iter().map(|(word, _)| *word).collect()))?;
    *value = *chosen;
    Ok(())
}

/// Returns the word that stands for a value.
pub(super) fn word_of<T: PartialEq>(value: &T, choices: &[(&str, T)]) -> String {
    let found = choices.iter().find(|(_, each)| each == value);
    found.map_or("", |(word, _)| word).to_owned()
}

/// Reads a number without a sign; `u64::from_str` alone would accept `+1`.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<T: Value>(mut value: T, text: &str) -> Option<T> {
        value.set(text).ok().map(|()| value)
    }

    #[test]
    fn yes_and_no_are_written_as_in_git() {
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
    fn a_number_is_from_1_to_1000() {
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
    fn a_blank_list_of_refspecs_is_all_branches_and_tags() {
        let one = read(Refspecs::everything(), " refs/heads/a:refs/heads/a\n").expect("sound");
        assert_eq!(one.lines().count(), 1);
        for blank in ["", " \t\n"] {
            assert_eq!(read(one.clone(), blank), Some(Refspecs::everything()));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_value_panic(text in any::<String>()) {
            let _ = read(1_usize, &text);
            let _ = read(true, &text);
        }
    }
}

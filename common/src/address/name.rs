//! The names of mirrors, and the one place of their rules.
//!
//! A name stands where a URL may stand, in an argument list, and in a list that is read by lines and columns. So it
//! never reads as a URL, as a path or as an option. A name that is given now holds nothing that a person cannot see; one
//! that was given before there was this rule is read as it is, so that its mirror can be renamed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{address::redact::without_login, text::is_invisible};

/// The name of a mirror: `gitlab.example/group/project`, `tools`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// Why a text is no name of a mirror. It shows nothing that could be a login: a URL may have been typed in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid name '{shown}': {rule}")]
pub struct BadName {
    shown: String,
    rule: String,
}

impl Name {
    /// The maximal length of a name.
    pub const MAX_BYTES: usize = 255;

    /// Checks the rules of names.
    ///
    /// # Errors
    /// Fails with the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        match broken_rule(text) {
            None => Ok(Self(text.to_owned())),
            Some(rule) => Err(BadName {
                shown: without_login(text),
                rule: rule.to_owned(),
            }),
        }
    }

    /// Checks the rules of names, and that a person sees all of it: for a name that a mirror is about to get.
    ///
    /// # Errors
    /// Fails with the rule that the text breaks.
    pub fn parse_new(text: &str) -> Result<Self, BadName> {
        let name = Self::parse(text)?;
        match text.chars().find(|c| is_invisible(*c)) {
            None => Ok(name),
            Some(c) => Err(BadName {
                shown: without_login(&text.replace(is_invisible, "?")),
                rule: format!("it contains the invisible character U+{:04X}", c as u32),
            }),
        }
    }
}

fn broken_rule(text: &str) -> Option<&'static str> {
    let first = text.split('/').next().unwrap_or_default();
    let any = |is: fn(&str) -> bool| text.split('/').any(is);
    let rules = [
        (text.is_empty(), "it is empty"),
        (
            text.contains(char::is_control),
            "it contains a control character",
        ),
        (text.trim() != text, "white space stands at its end"),
        (text.len() > Name::MAX_BYTES, "it is longer than 255 bytes"),
        (text.starts_with('-'), "it starts with '-'"),
        (text.starts_with('/'), "it starts with '/', as a path does"),
        (text.contains("://"), "it contains '://', as a URL does"),
        (
            first.contains(':'),
            "':' stands before its first '/', as in a URL",
        ),
        (first == "~", "it starts with '~', as a path does"),
        (any(|part| part == "."), "'.' is not allowed in it"),
        (any(|part| part == ".."), "'..' is not allowed in it"),
        (text.ends_with('/'), "it ends with '/'"),
        (any(str::is_empty), "'//' is not allowed in it"),
    ];
    let broken = rules.into_iter().find(|(is_broken, _)| *is_broken);
    broken.map(|(_, rule)| rule)
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::address::upstream_url::Address;

    #[test]
    fn a_name_breaks_no_rule_or_is_refused_with_the_rule() {
        let longest = "é".repeat(127) + "x";
        for name in [
            "tools", "a b/c", "...", ".x", "a/~", "a/b:c", "h+80/-p", &longest,
        ] {
            assert_eq!(Name::parse(name).expect(name).as_ref(), name);
        }
        let table = [
            ("", "it is empty"),
            ("a\nb", "control character"),
            ("a\u{9b}b", "control character"),
            (" a", "white space"),
            ("a\u{3000}", "white space"),
            (" ", "white space"),
            (&format!("{longest}x"), "longer than 255 bytes"),
            ("-a", "starts with '-'"),
            ("/a", "starts with '/'"),
            ("a/b://c", "contains '://'"),
            ("git@h:p", "before its first '/'"),
            ("~", "starts with '~'"),
            ("~/a", "starts with '~'"),
            ("host:path", "before its first '/'"),
            ("http://host/p", "contains '://'"),
            (".", "'.' is not allowed"),
            ("a/./b", "'.' is not allowed"),
            ("a/..", "'..' is not allowed"),
            ("a/", "ends with '/'"),
            ("a//b", "'//' is not allowed"),
        ];
        for (text, rule) in table {
            let refusal = Name::parse(text).expect_err(text).to_string();
            assert!(refusal.contains(rule), "{text:?} says {refusal:?}");
            assert!(!refusal.contains(char::is_control), "{refusal:?}");
        }
    }

    #[test]
    fn a_new_name_holds_nothing_that_nobody_sees_and_an_old_one_is_read() {
        for (text, shown) in [
            (
                "too\u{200b}ls",
                "'too?ls': it contains the invisible character U+200B",
            ),
            (
                "a\u{202e}b/c",
                "'a?b/c': it contains the invisible character U+202E",
            ),
            (
                "a\u{e0041}",
                "'a?': it contains the invisible character U+E0041",
            ),
        ] {
            let refusal = Name::parse_new(text).expect_err(text).to_string();
            assert_eq!(refusal, format!("invalid name {shown}"));
            assert_eq!(Name::parse(text).expect("it is read").as_ref(), text);
        }
        for name in ["tools", "größe/漢字", "שלום"] {
            assert_eq!(Name::parse_new(name).expect(name).as_ref(), name);
        }
        assert!(Name::parse_new("-a").is_err(), "the other rules hold, too");
    }

    #[test]
    fn a_url_typed_for_a_name_is_refused_without_its_login() {
        for url in [
            "https://me:S3CRET@h/p",
            "me:S3CRET@h:p",
            "mirror::https://S3CRET@h/p",
        ] {
            let refusal = Name::parse(url).expect_err(url);
            assert!(!format!("{refusal} {refusal:?}").contains("S3CRET"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_name_is_read_as_that_name_and_never_as_a_url(
            text in prop_oneof![any::<String>(), "[a~.:@/ +-]{1,8}", "(mirror|https|h)?(:|://|/){0,2}[a-z~./-]{0,6}"]
        ) {
            let read = Address::parse(&text);
            match Name::parse(&text) {
                Ok(name) => prop_assert_eq!(read, Ok(Address::Name(name))),
                Err(_) => prop_assert!(!matches!(read, Ok(Address::Name(_)))),
            }
        }
    }
}

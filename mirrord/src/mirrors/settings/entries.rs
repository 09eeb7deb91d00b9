//! Settings by their keys, and the errors about unknown keys and bad values.

use common::{
    protocol::{Failure, FailureKind},
    text::masked,
};

use super::{
    file::ConfigFile,
    value::{Refusal, Value},
};

/// The section of all keys of ours.
pub(crate) const SECTION: &str = "mirror";

/// Settings by their keys, in the order in which they are shown.
pub(crate) struct Entries<'a>(pub(crate) Vec<(&'static str, &'a mut dyn Value)>);

/// An unknown key, or a bad value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadSetting {
    message: String,
    hint: Option<String>,
}

impl Entries<'_> {
    /// Sets one setting to the value that `text` stands for.
    pub(crate) fn set(&mut self, key: &str, text: &str) -> Result<(), BadSetting> {
        let mut entries = self.0.iter_mut();
        match entries.find(|(known, _)| known.eq_ignore_ascii_case(key)) {
            Some((key, value)) => value
                .set(text)
                .map_err(|why| BadSetting::bad_value(key, text, why)),
            None => Err(BadSetting::unknown_key(key, &self.keys())),
        }
    }

    /// Sets the settings that are in a file, and leaves the others as they are.
    pub(crate) fn read(&mut self, file: &ConfigFile) -> Result<(), BadSetting> {
        for (key, value) in &mut self.0 {
            let lines = file.values(&full_key(key));
            let text = if value.is_list() {
                (!lines.is_empty()).then(|| lines.join("\n"))
            } else {
                lines.last().cloned()
            };
            if let Some(text) = text {
                value
                    .set(&text)
                    .map_err(|why| BadSetting::bad_value(key, &text, why))?;
            }
        }
        Ok(())
    }

    /// Returns every key.
    pub(crate) fn keys(&self) -> Vec<&'static str> {
        self.0.iter().map(|(key, _)| *key).collect()
    }

    /// Returns every key with the lines of its value in a file.
    pub(crate) fn lines(&self) -> Vec<(&'static str, Vec<String>)> {
        let entries = self.0.iter();
        entries.map(|(key, value)| (*key, value.lines())).collect()
    }

    /// Returns every key with its value as people type it.
    pub(crate) fn shown(&self) -> Vec<(&'static str, String)> {
        let lines = self.lines().into_iter();
        lines.map(|(key, lines)| (key, lines.join(" "))).collect()
    }
}

impl BadSetting {
    /// The error about an unknown key.
    pub(crate) fn unknown_key(key: &str, known: &[&'static str]) -> Self {
        // The key may be typed as an option, or as git prints it.
        let bare = key.trim_start_matches('-');
        let bare = bare.strip_prefix("mirror.").unwrap_or(bare);
        let hint = match nearest(bare, known) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("there are {}", list(known, "and")),
        };
        Self {
            message: format!("unknown setting '{}'", masked(key.as_bytes())),
            hint: Some(hint),
        }
    }

    fn bad_value(key: &str, text: &str, why: Refusal) -> Self {
        let message = format!("'{}' is not a value of '{key}'", masked(text.as_bytes()));
        let (message, hint) = match why {
            Refusal::OneOf(choices) => {
                let may_be = format!("it may be {}", list(&choices, "or"));
                let hint = match nearest(text, &choices) {
                    Some(near) => format!("{may_be}; did you mean '{near}'?"),
                    None => may_be,
                };
                (message, Some(hint))
            }
            Refusal::Expected(kind) => (message, Some(format!("it may be {kind}"))),
            Refusal::Rule(rule) => (masked(rule.as_bytes()), None),
        };
        Self { message, hint }
    }

    /// Returns what the person can do about it.
    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Adds the file in which the setting is.
    pub(crate) fn in_file(mut self, file: &ConfigFile) -> Self {
        self.message = format!("{} in '{}'", self.message, file.path().display());
        self
    }
}

impl std::fmt::Display for BadSetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for BadSetting {}

impl From<BadSetting> for Failure {
    fn from(bad: BadSetting) -> Self {
        let failure = Self::new(FailureKind::Usage, bad.to_string());
        match bad.hint() {
            Some(hint) => failure.hinted(hint),
            None => failure,
        }
    }
}

/// Returns a key with its section.
pub(crate) fn full_key(key: &str) -> String {
    format!("{SECTION}.{key}")
}

/// Returns the word that was probably meant.
fn nearest(typed: &str, choices: &[&'static str]) -> Option<&'static str> {
    let typed = typed.to_lowercase();
    let likeness = |word: &str| strsim::normalized_damerau_levenshtein(&typed, word);
    let rated = choices.iter().map(|word| (likeness(word), *word));
    rated
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, word)| word)
}

/// Lists choices in a sentence: `'a', 'b' or 'c'`.
fn list(choices: &[&str], last: &str) -> String {
    let quoted: Vec<String> = choices.iter().map(|word| format!("'{word}'")).collect();
    match quoted.split_last() {
        Some((end, rest)) if !rest.is_empty() => format!("{} {last} {end}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

//! One side of a refspec: a full ref name in which one `*` may stand for anything.

use std::{fmt, iter};

use super::is_ref;

/// A full ref name with at most one `*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pattern {
    /// The part before the `*`; the whole name if there is no `*`.
    pub before: String,
    /// The part after the `*`; None if there is no `*`.
    pub after: Option<String>,
}

impl Pattern {
    /// Fails with the reason.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with("refs/") {
            return Err(not_full(text));
        }
        let (before, after) = match text.split_once('*') {
            Some((before, after)) => (before, Some(after.to_owned())),
            None => (text, None),
        };
        if after.as_ref().is_some_and(|after| after.contains('*')) {
            return Err(format!("'{text}' has more than one '*'"));
        }
        let pattern = Self {
            before: before.to_owned(),
            after,
        };
        if !is_ref(&pattern.example()) {
            return Err(format!("git does not allow the name '{text}'"));
        }
        Ok(pattern)
    }

    /// A name that matches.
    pub(super) fn example(&self) -> Vec<u8> {
        self.fill(if self.after.is_some() { b"x" } else { b"" })
    }

    pub(super) fn matches(&self, name: &[u8]) -> bool {
        self.part(name).is_some()
    }

    /// Whether all that another pattern matches matches this one as well.
    pub(super) fn contains(&self, other: &Self) -> bool {
        match (&self.after, &other.after) {
            (None, _) => self == other,
            (Some(_), None) => self.matches(other.before.as_bytes()),
            (Some(after), Some(other_after)) => {
                other.before.starts_with(&self.before) && other_after.ends_with(after.as_str())
            }
        }
    }

    /// Returns the part of `name` for which the `*` stands, empty if there is no `*`; None if the name does not match.
    pub(super) fn part<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let rest = name.strip_prefix(self.before.as_bytes())?;
        match &self.after {
            Some(after) => rest.strip_suffix(after.as_bytes()),
            None => rest.is_empty().then_some(rest),
        }
    }

    /// The name in which the `*` stands for `part`.
    pub(super) fn fill(&self, part: &[u8]) -> Vec<u8> {
        let after = self.after.as_deref().unwrap_or_default();
        [self.before.as_bytes(), part, after.as_bytes()].concat()
    }

    /// The names that both patterns match; empty when there are none.
    ///
    /// A `*` in them stands for anything, as no name has one. Where there is such a name it stands for all but those that
    /// are too short for its two ends side by side: `ab*` and `*bc` share `ab*bc`, and `abc`.
    pub(super) fn shared(&self, other: &Self) -> Vec<Vec<u8>> {
        let names = match (&self.after, &other.after) {
            (None, _) => vec![self.example()],
            (_, None) => vec![other.example()],
            (Some(after), Some(other_after)) => {
                let before = longer(&self.before, &other.before);
                let after = longer(after, other_after);
                let short = (1..=before.len().min(after.len()))
                    .filter(|both| before.ends_with(&after[..*both]))
                    .map(|both| [before, &after[both..]].concat());
                iter::once([before, b"*", after].concat())
                    .chain(short)
                    .collect()
            }
        };
        let shared = |name: &Vec<u8>| self.matches(name) && other.matches(name);
        names.into_iter().filter(shared).collect()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        match &self.after {
            Some(after) => write!(f, "*{after}"),
            None => Ok(()),
        }
    }
}

fn longer<'a>(one: &'a str, other: &'a str) -> &'a [u8] {
    if one.len() > other.len() { one } else { other }.as_bytes()
}

/// Why a name that does not begin with `refs/` is refused. What it would mean depends on what upstream has, or is no ref.
fn not_full(text: &str) -> String {
    let is_oid = [40, 64].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if ["", "@", "HEAD"].contains(&text) || is_oid {
        let what = if is_oid { "an object id" } else { "HEAD" };
        return format!("{what} is no branch or tag; write a full name such as 'refs/heads/main'");
    }
    let is_below_refs = ["heads/", "tags/", "remotes/", "notes/"]
        .iter()
        .any(|space| text.starts_with(space));
    let full = format!("refs/{}{text}", if is_below_refs { "" } else { "heads/" });
    match Pattern::parse(&full) {
        Ok(_) => format!("'{text}' is not a full name; write '{full}'"),
        Err(_) => format!("'{text}' is not the full name of a ref"),
    }
}

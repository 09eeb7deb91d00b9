//! How a clone gets the packs of its mirror.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// `mirror.link`, as the user's git has it or else the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Link {
    /// The cheapest way that works: reflinks, hard links, or copies.
    #[default]
    Auto,
    /// Reflinks: files that share their blocks until one of them changes.
    Reflink,
    /// Hard links. Packs of local refs are copied all the same.
    Hardlink,
    /// Copies.
    Copy,
    /// No files: git's own server program sends what is wanted.
    Off,
}

/// All of them, as people write them.
pub const LINKS: [(&str, Link); 5] = [
    ("auto", Link::Auto),
    ("reflink", Link::Reflink),
    ("hardlink", Link::Hardlink),
    ("copy", Link::Copy),
    ("off", Link::Off),
];

/// A word that is none of them.
#[derive(Debug, PartialEq, Eq)]
pub struct NoLink;

impl FromStr for Link {
    type Err = NoLink;

    fn from_str(text: &str) -> Result<Self, NoLink> {
        let mut links = LINKS.into_iter();
        let link = links.find(|(word, _)| word.eq_ignore_ascii_case(text));
        link.map(|(_, link)| link).ok_or(NoLink)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut links = LINKS.into_iter();
        let word = links.find(|(_, link)| link == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

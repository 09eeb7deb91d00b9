//! The names that one tracked ref has, each with a type of its own: no name of upstream's can be taken for one of the
//! mirror's.
//!
//! Upstream's `refs/heads/main` may be shown as `refs/heads/up/main`, and is recorded as `refs/upstream/heads/main`.

use std::{fmt, ops::Deref};

use bstr::{BStr, BString, ByteSlice};

use super::{RECORDS, WITHHELD};

/// The name that a ref has at upstream.
///
/// An upstream name is not a name in the mirror, and so the type does not dereference to `BStr`: [`UpstreamRef::as_bstr`] is for messages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UpstreamRef(BString);

/// The name under which clients see a ref of the mirror.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicRef(BString);

/// The name of the mirror's ref that says what upstream had at the last good sync: one below [`RECORDS`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordRef(BString);

impl UpstreamRef {
    /// The ref of this name at upstream.
    #[must_use]
    pub fn new(name: impl Into<BString>) -> Self {
        Self(name.into())
    }

    /// Upstream's HEAD.
    #[must_use]
    pub fn head() -> Self {
        Self::new("HEAD")
    }

    /// The bytes of the name.
    #[must_use]
    pub fn as_bstr(&self) -> &BStr {
        self.0.as_bstr()
    }

    /// The ref that records what upstream has of this one.
    #[must_use]
    pub fn record(&self) -> RecordRef {
        RecordRef(self.below(RECORDS).into())
    }

    /// A name below the records, apart from those of all refs: for objects that a fetch names to upstream beside the
    /// records.
    #[must_use]
    pub fn record_below(&self, dir: &str) -> BString {
        [RECORDS.as_bytes(), dir.as_bytes(), b"/", &self.0]
            .concat()
            .into()
    }

    /// The ref of the mirror that keeps what upstream has of this one while it is withheld.
    #[must_use]
    pub fn withheld(&self) -> BString {
        self.below(WITHHELD).into()
    }

    fn below(&self, space: &str) -> Vec<u8> {
        let name = self.0.strip_prefix(b"refs/").unwrap_or(&self.0);
        [space.as_bytes(), name].concat()
    }
}

impl PublicRef {
    /// The ref that clients see under this name.
    #[must_use]
    pub fn new(name: impl Into<BString>) -> Self {
        Self(name.into())
    }
}

/// The ref of upstream of which the mirror's ref `name` is the record; the reverse of [`UpstreamRef::record`].
#[must_use]
pub fn recorded(name: &[u8]) -> Option<UpstreamRef> {
    let name = name.strip_prefix(RECORDS.as_bytes())?;
    Some(if name == b"HEAD" {
        UpstreamRef::head()
    } else {
        UpstreamRef::new([b"refs/", name].concat())
    })
}

impl fmt::Display for UpstreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PublicRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for UpstreamRef {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<&str> for PublicRef {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<PublicRef> for BString {
    fn from(name: PublicRef) -> Self {
        name.0
    }
}

impl From<RecordRef> for BString {
    fn from(name: RecordRef) -> Self {
        name.0
    }
}

impl From<UpstreamRef> for Vec<u8> {
    fn from(name: UpstreamRef) -> Self {
        name.0.into()
    }
}

impl Deref for PublicRef {
    type Target = BStr;

    fn deref(&self) -> &BStr {
        self.0.as_bstr()
    }
}

impl Deref for RecordRef {
    type Target = BStr;

    fn deref(&self) -> &BStr {
        self.0.as_bstr()
    }
}

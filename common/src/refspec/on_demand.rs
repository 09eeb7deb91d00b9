//! What one client wants beside branches and tags, such as `refs/pull/7/merge`, and where a mirror keeps it: below
//! [`ON_DEMAND`], for a while, and shown to whoever asks for it.

use std::collections::BTreeSet;

use super::{Refspecs, UpstreamRef, is_ref, is_reserved, pattern::Pattern};

/// The refs that were fetched because a client asked for them. Hidden from clients.
pub const ON_DEMAND: &str = "refs/mirror/on-demand/";

/// The most names that are asked for at once. A client that wants more gets the first ones.
const MAX_NAMES: usize = 1000;

/// The most bytes of a name.
const MAX_BYTES: usize = 250;

/// The refs and objects that a client may want beside branches and tags.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnDemand {
    /// Full names of refs, each with at most one `*`.
    patterns: BTreeSet<Pattern>,
    /// Names that git completes, such as `pull/7/merge`. They may be those of branches, too.
    short: BTreeSet<String>,
    /// Objects, in hexadecimal.
    objects: BTreeSet<String>,
}

/// A ref of the mirror below [`ON_DEMAND`]: `<day>/<name>`, where a name is a full one, or `objects/<object>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The day of its last use, in days since 1970.
    pub day: u64,
    /// What it keeps.
    pub what: KeptName,
}

/// What a ref below [`ON_DEMAND`] keeps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptName {
    /// The value of a ref of upstream.
    Ref(UpstreamRef),
    /// An object, in hexadecimal.
    Object(String),
}

impl OnDemand {
    /// Reads the sources of refspecs. One that can only be a branch, a tag or nothing at all is left out.
    pub fn parse<'s>(sources: impl IntoIterator<Item = &'s str>) -> Self {
        let mut parsed = Self::default();
        for source in sources {
            parsed.add(source);
        }
        parsed
    }

    fn add(&mut self, source: &str) {
        if source.len() > MAX_BYTES || self.len() >= MAX_NAMES {
            return;
        }
        if [40, 64].contains(&source.len()) && source.bytes().all(|b| b.is_ascii_hexdigit()) {
            self.objects.insert(source.to_ascii_lowercase());
        } else if source.starts_with("refs/") {
            let pattern = Pattern::parse(source).ok();
            let pattern = pattern.filter(|pattern| may_be_beside(pattern.before.as_bytes()));
            self.patterns.extend(pattern);
        } else if !["HEAD", "@"].contains(&source)
            && !["heads/", "tags/"]
                .iter()
                .any(|dir| source.starts_with(dir))
            && is_ref(format!("refs/{source}").as_bytes())
        {
            self.short.insert(source.to_owned());
        }
    }

    /// Adds what another client wants.
    pub fn extend(&mut self, other: &Self) {
        self.patterns.extend(other.patterns.iter().cloned());
        self.short.extend(other.short.iter().cloned());
        self.objects.extend(other.objects.iter().cloned());
    }

    /// The sources, for [`OnDemand::parse`].
    #[must_use]
    pub fn sources(&self) -> Vec<String> {
        let patterns = self.patterns.iter().map(Pattern::to_string);
        let others = self.short.iter().chain(&self.objects).cloned();
        patterns.chain(others).collect()
    }

    fn len(&self) -> usize {
        self.patterns.len() + self.short.len() + self.objects.len()
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is left where these refspecs show some of it under its own name.
    #[must_use]
    pub fn untracked(mut self, track: &Refspecs) -> Self {
        self.patterns.retain(|pattern| !track.shows_all(pattern));
        self
    }

    /// What is left to ask upstream for, where the mirror shows refs for which `is_shown` holds, and has objects for which
    /// `has_object` does.
    #[must_use]
    pub fn without(
        mut self,
        is_shown: impl Fn(&[u8]) -> bool,
        has_object: impl Fn(&str) -> bool,
    ) -> Self {
        self.short.retain(|name| {
            let mut spaces = ["refs/heads/", "refs/tags/"].into_iter();
            !spaces.any(|space| is_shown([space, name].concat().as_bytes()))
        });
        self.patterns
            .retain(|pattern| pattern.after.is_some() || !is_shown(pattern.before.as_bytes()));
        self.objects.retain(|object| !has_object(object));
        self
    }

    /// The prefixes of the refs that are wanted, for asking upstream.
    pub fn prefixes(&self) -> impl Iterator<Item = String> {
        let patterns = self.patterns.iter().map(|pattern| pattern.before.clone());
        patterns.chain(self.short.iter().flat_map(|name| full_names(name)))
    }

    /// The objects that are wanted, in hexadecimal.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        self.objects.iter().map(String::as_str)
    }

    /// Whether a ref of upstream is wanted.
    #[must_use]
    pub fn wants(&self, name: &UpstreamRef) -> bool {
        let name = name.as_bstr();
        let is_short = || {
            let mut names = self.short.iter().flat_map(|short| full_names(short));
            names.any(|full| name == full.as_str())
        };
        may_be_beside(name)
            && is_ref(name)
            && (self.patterns.iter().any(|pattern| pattern.matches(name)) || is_short())
    }

    /// Whether what a ref of the mirror keeps is wanted.
    #[must_use]
    pub fn wants_kept(&self, name: &KeptName) -> bool {
        match name {
            KeptName::Ref(name) => self.wants(name),
            KeptName::Object(object) => self.objects.contains(object),
        }
    }

    /// The patterns that stand for any number of refs.
    pub fn patterns(&self) -> impl Iterator<Item = String> {
        let patterns = self.patterns.iter().filter(|each| each.after.is_some());
        patterns.map(Pattern::to_string)
    }
}

impl Kept {
    /// Reads the name of a ref of the mirror; None where it is no such ref.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        let rest = name.strip_prefix(ON_DEMAND.as_bytes())?;
        let slash = rest.iter().position(|byte| *byte == b'/')?;
        let (day, what) = (
            std::str::from_utf8(&rest[..slash]).ok()?,
            &rest[slash + 1..],
        );
        let what = match what.strip_prefix(b"objects/") {
            Some(object) => KeptName::Object(std::str::from_utf8(object).ok()?.to_owned()),
            None => KeptName::Ref(UpstreamRef::new(what)),
        };
        Some(Self {
            day: day.parse().ok()?,
            what,
        })
    }

    /// The name of the ref of the mirror.
    #[must_use]
    pub fn name(&self) -> Vec<u8> {
        let mut name = format!("{ON_DEMAND}{}/", self.day).into_bytes();
        match &self.what {
            KeptName::Ref(upstream) => name.extend_from_slice(upstream.as_bstr()),
            KeptName::Object(object) => name.extend(format!("objects/{object}").bytes()),
        }
        name
    }
}

/// Whether refs of this name, or of names that begin so, are neither branches nor tags, nor reserved.
fn may_be_beside(before: &[u8]) -> bool {
    let tracked: [&[u8]; 2] = [b"refs/heads/", b"refs/tags/"];
    !is_reserved(before) && !tracked.iter().any(|space| before.starts_with(space))
}

/// The full names beside branches and tags that git tries for a short one, in its order (`ref_rev_parse_rules`).
fn full_names(short: &str) -> [String; 3] {
    [
        format!("refs/{short}"),
        format!("refs/remotes/{short}"),
        format!("refs/remotes/{short}/HEAD"),
    ]
}

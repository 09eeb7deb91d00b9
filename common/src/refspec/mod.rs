//! Which of upstream's refs a mirror tracks, under which name it shows them, and which names are reserved for the mirror.
//!
//! Names are bytes, as in git. A tracked ref has two refs in the mirror: the public one, which clients see, and its
//! record below [`RECORDS`], which says what upstream had at the last good sync.

mod names;
mod on_demand;
mod pattern;

use std::fmt;

use self::pattern::Pattern;
pub use self::{
    names::{PublicRef, RecordRef, UpstreamRef, recorded},
    on_demand::{Kept, KeptName, ON_DEMAND, OnDemand},
};

/// The records of what upstream had: `refs/heads/main` is recorded as `refs/upstream/heads/main`. Hidden from clients.
pub const RECORDS: &str = "refs/upstream/";

/// The other refs that a mirror keeps for itself. Hidden from clients.
pub const OWN: &str = "refs/mirror/";

/// The values of refs that are withheld because their refspec has no `+`. They are kept so that they are downloaded once.
pub const WITHHELD: &str = "refs/mirror/held/";

/// The prefixes that no upstream may write to: those of the mirror, and `refs/replace/`, which makes git read other objects
/// in the place of those that exist.
const RESERVED: [&str; 3] = [RECORDS, OWN, "refs/replace/"];

/// The refspecs of a mirror by default.
pub const EVERYTHING: [&str; 2] = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];

/// The route of a push of a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To upstream, under this name; the mirror follows.
    Tracked(UpstreamRef),
    /// A branch or tag that no refspec names, or that one excludes: it belongs to the mirror alone.
    Local,
    /// To upstream, as it is; the mirror does not keep it. Whatever is neither branch nor tag: `refs/notes/*`,
    /// `refs/for/*`.
    Through,
    /// Nowhere: the name is reserved, or git allows no such ref.
    Forbidden,
}

/// The tracked refspecs of a mirror. They map one to one: no ref of upstream is shown under two names, and no two under
/// one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refspecs {
    /// At least one.
    mappings: Vec<Mapping>,
    /// Refs of upstream that are not tracked, whatever the mappings say.
    excluded: Vec<Pattern>,
}

/// A refspec that shows refs of upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    /// Whether rewritten history is followed: the `+`.
    forced: bool,
    from: Pattern,
    to: Pattern,
}

/// Refspecs that cannot be tracked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRefspec {
    /// A refspec that is unsound by itself.
    #[error("'{refspec}' cannot be tracked: {why}")]
    Unsound {
        /// The refspec as it was written.
        refspec: String,
        /// The reason, and what to write instead where that can be said.
        why: String,
    },
    /// Two that would give one ref of upstream two names.
    #[error(
        "'{one}' and '{other}' cannot be tracked together: \
         they would show upstream's '{upstream}' both as '{first}' and as '{second}'"
    )]
    TwoNames {
        /// The first of the two refspecs.
        one: String,
        /// The second of them.
        other: String,
        /// The ref that both name; a `*` stands for anything.
        upstream: String,
        /// The name that the first gives to it.
        first: String,
        /// The name that the second gives to it.
        second: String,
    },
    /// Two that would give one name to two refs of upstream.
    #[error(
        "'{one}' and '{other}' cannot be tracked together: they would show upstream's '{first}' and its '{second}' \
         both as '{public}'; exclude one of these with '^{first}' or '^{second}'"
    )]
    OneName {
        /// The first of the two refspecs.
        one: String,
        /// The second of them.
        other: String,
        /// The name that both give; a `*` stands for anything.
        public: String,
        /// The ref that the first gives it to.
        first: String,
        /// The ref that the second gives it to.
        second: String,
    },
}

impl Refspecs {
    /// The refspecs of a mirror that was told nothing else: all branches and tags.
    #[must_use]
    pub fn everything() -> Self {
        Self::parse(EVERYTHING).expect("the default refspecs are sound")
    }

    /// Parses git refspecs for fetching, one a line; [`EVERYTHING`] where none of them says what to show.
    ///
    /// The refspecs mean what they mean to `git fetch`, with two differences: names are full, and a ref without a
    /// destination keeps its name.
    ///
    /// # Errors
    /// Fails when one is no mapping of whole ref names or leads to where no upstream may write, and when two do not map
    /// one to one.
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Self, BadRefspec> {
        let (mut mappings, mut excluded) = (Vec::new(), Vec::new());
        for line in lines.into_iter().map(str::trim) {
            let unsound = |why| BadRefspec::Unsound {
                refspec: line.to_owned(),
                why,
            };
            if let Some(names) = line.strip_prefix('^') {
                excluded.push(exclusion(names).map_err(unsound)?);
            } else if !line.is_empty() {
                mappings.push(Mapping::parse(line).map_err(unsound)?);
            }
        }
        if mappings.is_empty() {
            let mapping = |line| Mapping::parse(line).expect("the default refspecs are sound");
            mappings.extend(EVERYTHING.map(mapping));
        }
        let refspecs = Self { mappings, excluded };
        for (at, one) in refspecs.mappings.iter().enumerate() {
            for other in &refspecs.mappings[at + 1..] {
                refspecs.check_pair(one, other)?;
            }
        }
        Ok(refspecs)
    }

    /// Makes sure that two mappings lead to and from the same names wherever they meet.
    fn check_pair(&self, one: &Mapping, other: &Mapping) -> Result<(), BadRefspec> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        for upstream in one.from.shared(&other.from) {
            let (first, second) = (one.public(&upstream), other.public(&upstream));
            if let (Some(first), Some(second)) = (first, second)
                && first != second
                && !self.excludes(&upstream)
            {
                return Err(BadRefspec::TwoNames {
                    one: one.to_string(),
                    other: other.to_string(),
                    upstream: text(&upstream),
                    first: text(&first),
                    second: text(&second),
                });
            }
        }
        for public in one.to.shared(&other.to) {
            let (first, second) = (one.upstream(&public), other.upstream(&public));
            if let (Some(first), Some(second)) = (first, second)
                && first != second
                && !self.excludes(&first)
                && !self.excludes(&second)
            {
                return Err(BadRefspec::OneName {
                    one: one.to_string(),
                    other: other.to_string(),
                    public: text(&public),
                    first: text(&first),
                    second: text(&second),
                });
            }
        }
        Ok(())
    }

    fn excludes(&self, upstream: &[u8]) -> bool {
        self.excluded
            .iter()
            .any(|pattern| pattern.matches(upstream))
    }

    /// The name under which clients see this ref of upstream; `None` when it is not tracked.
    #[must_use]
    pub fn public(&self, upstream: &UpstreamRef) -> Option<PublicRef> {
        self.shown(upstream.as_bstr())
            .map(|(_, public)| PublicRef::new(public))
    }

    /// Whether this ref is shown even where its history was rewritten.
    #[must_use]
    pub fn forced(&self, upstream: &UpstreamRef) -> bool {
        self.shown(upstream.as_bstr())
            .is_some_and(|(mapping, _)| mapping.forced)
    }

    /// The mapping that shows a ref, and the name that it gives to it.
    fn shown(&self, upstream: &[u8]) -> Option<(&Mapping, Vec<u8>)> {
        let (mapping, public) = self
            .mappings
            .iter()
            .find_map(|mapping| Some((mapping, mapping.public(upstream)?)))?;
        // git too passes over a ref whose name here would be none.
        let is_sound = is_ref(upstream) && (public == upstream || is_ref(&public));
        let sound = is_sound && !is_reserved(&public);
        (sound && !is_beside_head(upstream) && !self.excludes(upstream))
            .then_some((mapping, public))
    }

    /// Returns the route of a push of the ref that clients see under this name. Nothing else decides the route.
    ///
    /// Every name has a route; that of a reserved one is [`Route::Forbidden`].
    #[must_use]
    pub fn route(&self, public: &[u8]) -> Route {
        if is_reserved(public) || !is_ref(public) {
            return Route::Forbidden;
        }
        let upstream = self
            .mappings
            .iter()
            .filter_map(|mapping| mapping.upstream(public))
            // A mapping may lead back to what is excluded, while another does not.
            .find(|upstream| {
                self.shown(upstream)
                    .is_some_and(|(_, shown)| shown == public)
            });
        match upstream {
            Some(name) => Route::Tracked(UpstreamRef::new(name)),
            None if public.starts_with(b"refs/heads/") || public.starts_with(b"refs/tags/") => {
                Route::Local
            }
            None => Route::Through,
        }
    }

    /// Whether all refs that a pattern stands for are tracked, and shown under their own names.
    fn shows_all(&self, pattern: &Pattern) -> bool {
        let mut mappings = self.mappings.iter();
        self.excluded.is_empty() && mappings.any(|it| it.from == it.to && it.from.contains(pattern))
    }

    /// The prefixes that all tracked refs of upstream have, for asking upstream about nothing else.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.mappings
            .iter()
            .map(|mapping| mapping.from.before.as_str())
    }

    /// The refspecs in full, one a line, as a configuration keeps them. They parse to the same again.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let excluded = self.excluded.iter().map(|names| format!("^{names}"));
        self.mappings.iter().map(Mapping::to_string).chain(excluded)
    }
}

impl Mapping {
    /// Fails with the reason.
    fn parse(refspec: &str) -> Result<Self, String> {
        let (forced, names) = match refspec.strip_prefix('+') {
            Some(names) => (true, names),
            None => (false, refspec),
        };
        let (from, to) = match names.split_once(':') {
            Some((from, to)) if !to.is_empty() => (from, to),
            Some((from, _)) => (from, from),
            None => (names, names),
        };
        let (from, to) = (Pattern::parse(from)?, Pattern::parse(to)?);
        if from.after.is_some() != to.after.is_some() {
            return Err("it has a '*' on one side only".to_owned());
        }
        if let Some(space) = space_of(&to.example()) {
            let kept = space.trim_end_matches('/');
            return Err(format!(
                "'{kept}' is not for what upstream has; choose another destination"
            ));
        }
        Ok(Self { forced, from, to })
    }

    fn public(&self, upstream: &[u8]) -> Option<Vec<u8>> {
        self.from.part(upstream).map(|part| self.to.fill(part))
    }

    fn upstream(&self, public: &[u8]) -> Option<Vec<u8>> {
        self.to.part(public).map(|part| self.from.fill(part))
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plus = if self.forced { "+" } else { "" };
        write!(f, "{plus}{}:{}", self.from, self.to)
    }
}

/// Parses what follows the `^` of a negative refspec. Fails with the reason.
fn exclusion(names: &str) -> Result<Pattern, String> {
    if names.contains(':') {
        return Err("it excludes, and so it cannot have a destination".to_owned());
    }
    Pattern::parse(names)
}

/// Whether a name is reserved: no upstream and no client may write it.
#[must_use]
pub fn is_reserved(name: &[u8]) -> bool {
    space_of(name).is_some()
}

fn space_of(name: &[u8]) -> Option<&'static str> {
    RESERVED.into_iter().find(|space| {
        name.starts_with(space.as_bytes()) || name == space.trim_end_matches('/').as_bytes()
    })
}

/// Whether git allows a full ref of this name.
fn is_ref(name: &[u8]) -> bool {
    name.starts_with(b"refs/") && gix_validate::reference::name(name.into()).is_ok()
}

/// Whether a ref's record could not exist beside that of upstream's HEAD.
fn is_beside_head(upstream: &[u8]) -> bool {
    upstream
        .strip_prefix(b"refs/HEAD")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests;

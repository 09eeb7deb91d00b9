//! Which of upstream's refs a mirror tracks, under which name it shows them, and the names of our own ref spaces.
//!
//! Names are bytes, as in git. A tracked ref has two refs in the mirror: the public one, which clients see, and its
//! record below [`RECORDS`], which says what upstream had at the last good sync.

/// What upstream had: `refs/heads/main` is recorded as `refs/upstream/heads/main`. Hidden from clients.
pub const RECORDS: &str = "refs/upstream/";

/// Whatever else we keep refs for. Hidden from clients.
pub const OURS: &str = "refs/mirror/";

/// The ref spaces that no upstream may write to: ours, and the one that makes git see other objects than there are.
const FORBIDDEN: [&str; 3] = [RECORDS, OURS, "refs/replace/"];

/// What a mirror tracks unless told otherwise.
pub const EVERYTHING: [&str; 2] = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];

/// Where a push of a ref goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// To upstream, under this name; the mirror follows.
    Tracked(Vec<u8>),
    /// A branch or tag that no refspec names: it belongs to the mirror alone.
    Local,
    /// To upstream, as it is; the mirror does not keep it. Whatever is neither branch nor tag: `refs/notes/*`,
    /// `refs/for/*`.
    Through,
    /// Nowhere: the name lies in a space of ours, or is no ref at all.
    Forbidden,
}

/// The tracked refspecs of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refspecs(Vec<Refspec>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Refspec {
    from: Pattern,
    to: Pattern,
}

/// A ref name with at most one `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    before: String,
    /// What follows the `*`; `None` when there is none.
    after: Option<String>,
}

/// A refspec that cannot be tracked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{refspec}' cannot be tracked: {why}")]
pub struct BadRefspec {
    refspec: String,
    why: &'static str,
}

impl Refspecs {
    /// The refspecs of a mirror that was told nothing else: all branches and tags.
    #[must_use]
    pub fn everything() -> Self {
        Self::parse(EVERYTHING).expect("the default refspecs are sound")
    }

    /// Parses git refspecs for fetching.
    ///
    /// # Errors
    /// Fails when one is not a mapping of whole ref names.
    pub fn parse<'a>(refspecs: impl IntoIterator<Item = &'a str>) -> Result<Self, BadRefspec> {
        refspecs
            .into_iter()
            .map(Refspec::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The name under which clients see this ref of upstream; `None` when it is not tracked.
    #[must_use]
    pub fn public(&self, upstream: &[u8]) -> Option<Vec<u8>> {
        let name = self
            .0
            .iter()
            .find_map(|spec| spec.to.fill(spec.from.part(upstream)?))?;
        (!is_ours(&name)).then_some(name)
    }

    /// Where a push of a ref goes that clients see under this name. The one place that decides it.
    #[must_use]
    pub fn route(&self, public: &[u8]) -> Route {
        if is_ours(public) || !public.starts_with(b"refs/") {
            return Route::Forbidden;
        }
        let upstream = self
            .0
            .iter()
            .filter_map(|spec| spec.from.fill(spec.to.part(public)?))
            // Two refspecs may show two refs under one name; only the first of them does.
            .find(|name| self.public(name).as_deref() == Some(public));
        match upstream {
            Some(name) => Route::Tracked(name),
            None if public.starts_with(b"refs/heads/") || public.starts_with(b"refs/tags/") => {
                Route::Local
            }
            None => Route::Through,
        }
    }

    /// The prefixes that all tracked refs of upstream have, for asking upstream about nothing else.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|spec| spec.from.before.as_str())
    }
}

impl Refspec {
    fn parse(refspec: &str) -> Result<Self, BadRefspec> {
        let bad = |why| BadRefspec {
            refspec: refspec.to_owned(),
            why,
        };
        let (from, to) = refspec
            .trim_start_matches('+')
            .split_once(':')
            .ok_or(bad("it has no destination"))?;
        let (from, to) = (Pattern::parse(from), Pattern::parse(to));
        match (from, to) {
            (Some(from), Some(to)) if from.after.is_some() == to.after.is_some() => {
                Ok(Self { from, to })
            }
            _ => Err(bad("it is not a mapping of whole ref names")),
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        let (before, after) = match text.split_once('*') {
            Some((before, after)) => (before, Some(after.to_owned())),
            None => (text, None),
        };
        let sound =
            before.starts_with("refs/") && !after.as_ref().is_some_and(|after| after.contains('*'));
        sound.then(|| Self {
            before: before.to_owned(),
            after,
        })
    }

    /// What the `*` stands for in `name`; empty when there is no `*`; `None` when the name does not match.
    fn part<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let rest = name.strip_prefix(self.before.as_bytes())?;
        match &self.after {
            Some(after) => rest
                .strip_suffix(after.as_bytes())
                .filter(|part| !part.is_empty()),
            None => rest.is_empty().then_some(rest),
        }
    }

    fn fill(&self, part: &[u8]) -> Option<Vec<u8>> {
        Some(
            [
                self.before.as_bytes(),
                part,
                self.after.as_deref().unwrap_or_default().as_bytes(),
            ]
            .concat(),
        )
    }
}

/// The ref that records what upstream has under this name.
#[must_use]
pub fn record(upstream: &[u8]) -> Vec<u8> {
    let name = upstream.strip_prefix(b"refs/").unwrap_or(upstream);
    [RECORDS.as_bytes(), name].concat()
}

/// The ref of upstream that is recorded here; the reverse of [`record`].
#[must_use]
pub fn recorded(record: &[u8]) -> Option<Vec<u8>> {
    let name = record.strip_prefix(RECORDS.as_bytes())?;
    Some(if name == b"HEAD" {
        name.to_vec()
    } else {
        [b"refs/", name].concat()
    })
}

/// Whether a name lies where no upstream may write.
#[must_use]
pub fn is_ours(name: &[u8]) -> bool {
    FORBIDDEN.iter().any(|space| {
        name.starts_with(space.as_bytes()) || name == space.trim_end_matches('/').as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(refspecs: &[&str], name: &str) -> Option<String> {
        let name = Refspecs::parse(refspecs.iter().copied())
            .expect("sound refspecs")
            .public(name.as_bytes())?;
        Some(String::from_utf8(name).expect("made of text"))
    }

    #[test]
    fn branches_and_tags_keep_their_names_and_nothing_else_is_tracked() {
        for name in ["refs/heads/main", "refs/heads/a/b", "refs/tags/v1"] {
            assert_eq!(public(&EVERYTHING, name).as_deref(), Some(name));
        }
        for name in [
            "HEAD",
            "refs/notes/x",
            "refs/merge-requests/1/head",
            "refs/heads/",
            "refs/headsy/a",
        ] {
            assert_eq!(public(&EVERYTHING, name), None, "{name}");
        }
    }

    #[test]
    fn a_mapping_renames_and_never_into_our_own_spaces() {
        let specs = [
            "+refs/heads/*:refs/heads/up/*",
            "refs/tags/v1:refs/tags/one",
        ];
        assert_eq!(
            public(&specs, "refs/heads/main").as_deref(),
            Some("refs/heads/up/main")
        );
        assert_eq!(
            public(&specs, "refs/tags/v1").as_deref(),
            Some("refs/tags/one")
        );
        assert_eq!(public(&specs, "refs/tags/v10"), None);
        for name in [
            "refs/upstream/heads/x",
            "refs/mirror/x",
            "refs/replace/0123",
        ] {
            assert_eq!(public(&["+refs/*:refs/*"], name), None, "{name}");
        }
    }

    #[test]
    fn a_push_goes_where_the_refspecs_lead_back_to() {
        let route = |refspecs: &[&str], name: &str| {
            Refspecs::parse(refspecs.iter().copied())
                .expect("sound refspecs")
                .route(name.as_bytes())
        };
        let tracked = |name: &str| Route::Tracked(name.as_bytes().to_vec());
        for name in ["refs/heads/main", "refs/tags/v1"] {
            assert_eq!(route(&EVERYTHING, name), tracked(name));
        }
        for name in [
            "refs/notes/commits",
            "refs/for/main",
            "refs/heads",
            "refs/x",
        ] {
            assert_eq!(route(&EVERYTHING, name), Route::Through, "{name}");
        }
        for name in [
            "refs/upstream/heads/x",
            "refs/mirror/x",
            "refs/replace/x",
            "HEAD",
            "main",
        ] {
            assert_eq!(route(&EVERYTHING, name), Route::Forbidden, "{name}");
        }
        let specs = [
            "+refs/heads/*:refs/heads/up/*",
            "refs/heads/dev:refs/heads/dev",
        ];
        assert_eq!(
            route(&specs, "refs/heads/up/main"),
            tracked("refs/heads/main")
        );
        assert_eq!(
            route(&specs, "refs/heads/dev"),
            Route::Local,
            "it is shown as up/dev"
        );
        assert_eq!(route(&specs, "refs/heads/mine"), Route::Local);
        assert_eq!(route(&specs, "refs/tags/v1"), Route::Local);
    }

    #[test]
    fn what_is_not_a_mapping_of_ref_names_is_refused() {
        for spec in [
            "refs/heads/*",
            "heads/*:heads/*",
            "refs/heads/*:refs/heads/x",
            "refs/*/*:refs/*/*",
            "",
        ] {
            assert!(Refspecs::parse([spec]).is_err(), "{spec}");
        }
    }

    proptest! {
        #[test]
        fn a_record_leads_back_to_its_ref(name in "refs/[a-z]{1,5}/[a-z/]{1,9}") {
            prop_assert_eq!(recorded(&record(name.as_bytes())), Some(name.clone().into_bytes()));
            prop_assert!(is_ours(&record(name.as_bytes())));
        }
    }
}

//! Which refs of a mirror are the user's own, and which of upstream's are not shown because of that.

use common::{
    protocol::LocalRef,
    refspec::{self, Refspecs, Route},
};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

use crate::repository::{
    plan::HELD,
    refs::{Refs, in_the_way},
};

/// Refs that are named one by one.
const MAX_NAMED: usize = 20;

/// The refs that are in the mirror alone: those that no refspec names, and those that are not what upstream had.
pub(crate) fn refs(refs: &Refs, track: &Refspecs) -> Vec<(BString, ObjectId)> {
    let is_local = |(name, oid): &(&BString, &ObjectId)| match track.route(name) {
        Route::Tracked(upstream) => refs.get(BStr::new(&refspec::record(&upstream))) != Some(*oid),
        Route::Local | Route::Through => true,
        Route::Forbidden => false,
    };
    let local = refs.iter().filter(is_local);
    local.map(|(name, oid)| (name.clone(), *oid)).collect()
}

/// Refs as they are told.
pub(crate) fn listed(refs: Vec<(BString, ObjectId)>) -> Vec<LocalRef> {
    let listed = refs.into_iter().map(|(name, oid)| LocalRef {
        name: name.into(),
        oid: oid.to_string(),
    });
    listed.collect()
}

/// How many public refs follow upstream.
pub(crate) fn count_tracked(refs: &Refs, track: &Refspecs) -> usize {
    let public = refs.keys().filter(|name| !refspec::is_ours(name));
    public.count() - self::refs(refs, track).len()
}

/// One of upstream's refs that the mirror does not show.
pub(crate) struct Withheld {
    /// What is said at each fetch.
    pub line: String,
    /// What is said of it at length: what upstream has, and how a person gets on.
    pub shown: Vec<String>,
}

/// What upstream has of tracked refs and the mirror does not show.
pub(crate) fn held(refs: &Refs, track: &Refspecs) -> Vec<Withheld> {
    let mut held = Vec::new();
    for (record, is) in refs {
        if let Some(rest) = record.strip_prefix(HELD.as_bytes()) {
            let name = [b"refs/", rest].concat();
            let Some(public) = track.public(&name).filter(|_| !track.forced(&name)) else {
                // The next sync lets it go.
                continue;
            };
            held.push(Withheld {
                line: rewritten(public.as_bstr()),
                shown: vec![format!(
                    "{}; upstream's is {is}",
                    rewritten(public.as_bstr())
                )],
            });
            continue;
        }
        let Some(name) = refspec::recorded(record) else {
            continue;
        };
        let Some(public) = track.public(&name) else {
            continue;
        };
        let public = public.as_bstr();
        match refs.get(public) {
            Some(here) if here == is => {}
            Some(_) => {
                let line = format!("'{public}' is local to this mirror; upstream's is {is}");
                let shown = std::iter::once(line).chain(ways_out(public, track));
                held.push(Withheld {
                    line: in_the_way_of(public, name.as_bstr()),
                    shown: shown.collect(),
                });
            }
            None => held.extend(in_the_way(refs, public).map(|other| Withheld {
                line: beside(public, other.as_bstr()),
                shown: vec![beside(public, other.as_bstr())],
            })),
        }
    }
    held
}

/// A ref of the user's own has the name of one of upstream's.
pub(crate) fn in_the_way_of(public: &BStr, upstream: &BStr) -> String {
    format!("'{public}' is local to this mirror; upstream's '{upstream}' is not shown")
}

/// A ref of the user's own leaves no room for one of upstream's.
pub(crate) fn beside(public: &BStr, other: &BStr) -> String {
    format!("'{public}' is not shown: '{other}' exists")
}

/// Upstream has rewritten a ref whose refspec does not let it follow.
pub(crate) fn rewritten(public: &BStr) -> String {
    format!("'{public}' was rewritten upstream and is held back: its refspec has no '+'")
}

/// How a person gets on whose own branch or tag has the name of one of upstream's. Each line can be typed as it is.
fn ways_out(public: &BStr, track: &Refspecs) -> Vec<String> {
    let (kind, short) = match public.strip_prefix(b"refs/tags/") {
        Some(short) => ("tags", short.as_bstr()),
        None => {
            let short = public.strip_prefix(b"refs/heads/").unwrap_or(public);
            ("heads", short.as_bstr())
        }
    };
    let here = match kind {
        "tags" => format!("refs/tags/{short}"),
        _ => format!("origin/{short}"),
    };
    let keep = match untracked_like(kind, short, track) {
        Some(other) => format!("git push --atomic origin {here}:{other} :{public}"),
        // Under any other name it would go to upstream.
        None => format!("git branch local/{short} {here} && git push origin :{public}"),
    };
    let mut ways = vec![format!("to keep '{short}' and see upstream's: {keep}")];
    if kind == "heads" {
        ways.push(format!(
            "to send '{short}' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin \
             COMMIT' brings it), then git push --force-with-lease origin {short}"
        ));
    }
    ways
}

/// A name for the same that no refspec names: below `local/`, or where a refspec makes an exception.
fn untracked_like(kind: &str, short: &BStr, track: &Refspecs) -> Option<String> {
    let excepted = track.lines().filter_map(|line| {
        let pattern = line.strip_prefix('^')?;
        let (before, after) = pattern.split_once('*')?;
        Some(format!("{before}{short}{after}"))
    });
    let names = std::iter::once(format!("refs/{kind}/local/{short}")).chain(excepted);
    let of_kind = names.filter(|name| name.starts_with(&format!("refs/{kind}/")));
    of_kind
        .into_iter()
        .find(|name| track.route(name.as_bytes()) == Route::Local)
}

/// Lines for a person, of which there may be thousands.
pub(crate) fn some_of(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MAX_NAMED);
    lines.truncate(MAX_NAMED);
    if more > 0 {
        lines.push(format!("and {more} more such lines"));
    }
    lines
}

/// What a person should know whose own branches, which had untracked names so far, have tracked ones now.
pub(crate) fn caught(before: &Refs, old: &Refspecs, new: &Refspecs) -> Vec<String> {
    let caught = refs(before, old)
        .into_iter()
        .filter(|(name, _)| matches!(new.route(name), Route::Tracked(_)));
    let told = caught.flat_map(|(name, _)| {
        let line = format!(
            "'{name}' is local to this mirror and has a tracked name now; if upstream has another one, yours stays"
        );
        std::iter::once(line).chain(ways_out(name.as_bstr(), new))
    });
    some_of(told.collect())
}

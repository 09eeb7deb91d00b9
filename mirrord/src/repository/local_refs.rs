//! Which refs are local to a mirror, and which of upstream's are not shown because of that.

use common::{
    protocol::LocalRef,
    refspec::{self, PublicRef, Refspecs, Route, UpstreamRef, WITHHELD},
};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

use crate::repository::refs::{Refs, conflicting};

/// More lines than this are only counted.
const MAX_LINES: usize = 20;

/// The local refs: those that no refspec names, and those that are not what upstream had.
pub(crate) fn list(refs: &Refs, track: &Refspecs) -> Vec<(BString, ObjectId)> {
    let is_local = |(name, oid): &(&BString, &ObjectId)| match track.route(name) {
        Route::Tracked(upstream) => refs.get(&*upstream.record()) != Some(*oid),
        Route::Local | Route::Through => true,
        Route::Forbidden => false,
    };
    let local = refs.iter().filter(is_local);
    local.map(|(name, oid)| (name.clone(), *oid)).collect()
}

/// Local refs, as the protocol sends them.
pub(crate) fn to_protocol(refs: Vec<(BString, ObjectId)>) -> Vec<LocalRef> {
    let sent = refs.into_iter().map(|(name, oid)| LocalRef {
        name: name.into(),
        oid: oid.to_string(),
    });
    sent.collect()
}

/// How many public refs are what upstream had.
pub(crate) fn count_tracked(refs: &Refs, track: &Refspecs) -> usize {
    let public = refs.keys().filter(|name| !refspec::is_reserved(name));
    public.count() - list(refs, track).len()
}

/// One of upstream's refs that the mirror does not show.
pub(crate) struct Withheld {
    /// The line that each fetch prints.
    pub line: String,
    /// The lines that `mirrord show` prints: what upstream has, and how a person gets on.
    pub details: Vec<String>,
}

/// What upstream has of tracked refs and the mirror does not show.
pub(crate) fn withheld(refs: &Refs, track: &Refspecs) -> Vec<Withheld> {
    let withheld = refs.iter().filter_map(|(name, oid)| {
        if let Some(rest) = name.strip_prefix(WITHHELD.as_bytes()) {
            return rewritten(&UpstreamRef::new([b"refs/", rest].concat()), *oid, track);
        }
        hidden(refs, &refspec::recorded(name)?, *oid, track)
    });
    withheld.collect()
}

/// A ref that is withheld because upstream has rewritten it. `None` when the refspecs no longer say so: the next sync drops
/// it.
fn rewritten(name: &UpstreamRef, upstream: ObjectId, track: &Refspecs) -> Option<Withheld> {
    let public = track.public(name).filter(|_| !track.forced(name))?;
    let line = rewritten_line(&public);
    Some(Withheld {
        details: vec![format!("{line}; upstream's is {upstream}")],
        line,
    })
}

/// A recorded ref that is not shown because a local ref has its name, or one that conflicts with it.
fn hidden(
    refs: &Refs,
    name: &UpstreamRef,
    upstream: ObjectId,
    track: &Refspecs,
) -> Option<Withheld> {
    let public = track.public(name)?;
    match refs.get(&*public) {
        Some(shown) if *shown == upstream => None,
        Some(_) => {
            let first = format!("'{public}' is local to this mirror; upstream's is {upstream}");
            let details = std::iter::once(first).chain(ways_out(&public, track));
            Some(Withheld {
                line: hidden_line(&public, name),
                details: details.collect(),
            })
        }
        None => {
            let line = conflict_line(&public, conflicting(refs, &public)?);
            Some(Withheld {
                details: vec![line.clone()],
                line,
            })
        }
    }
}

/// The line for a ref of upstream whose public name a local ref has.
pub(crate) fn hidden_line(public: &PublicRef, upstream: &UpstreamRef) -> String {
    format!("'{public}' is local to this mirror; upstream's '{upstream}' is not shown")
}

/// The line for a ref of upstream that cannot exist beside a local ref.
pub(crate) fn conflict_line(public: &PublicRef, other: &BString) -> String {
    format!("'{public}' is not shown: '{other}' exists")
}

/// The line for a ref that upstream has rewritten, where its refspec has no `+`.
pub(crate) fn rewritten_line(public: &PublicRef) -> String {
    format!("'{public}' was rewritten upstream and is held back: its refspec has no '+'")
}

/// What to do about a local branch or tag that has the name of one of upstream's: commands that can be typed as they are.
fn ways_out(public: &BStr, track: &Refspecs) -> Vec<String> {
    let (kind, short) = match public.strip_prefix(b"refs/tags/") {
        Some(short) => ("tags", short.as_bstr()),
        None => {
            let short = public.strip_prefix(b"refs/heads/").unwrap_or(public);
            ("heads", short.as_bstr())
        }
    };
    let cloned = match kind {
        "tags" => format!("refs/tags/{short}"),
        _ => format!("origin/{short}"),
    };
    let keep = match untracked_name(kind, short, track) {
        Some(other) => format!("git push --atomic origin {cloned}:{other} :{public}"),
        // Under any other name it would go to upstream.
        None => format!("git branch local/{short} {cloned} && git push origin :{public}"),
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

/// A name for the same ref that no refspec tracks: below `local/`, or where a refspec makes an exception.
fn untracked_name(kind: &str, short: &BStr, track: &Refspecs) -> Option<String> {
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

/// The first lines, and how many more there are: there may be thousands.
pub(crate) fn shortened(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    if more > 0 {
        lines.push(format!("and {more} more such lines"));
    }
    lines
}

/// Lines about local branches whose names were untracked with the `old` refspecs and are tracked with the `new` ones.
pub(crate) fn newly_tracked(refs: &Refs, old: &Refspecs, new: &Refspecs) -> Vec<String> {
    let newly_tracked = list(refs, old)
        .into_iter()
        .filter(|(name, _)| matches!(new.route(name), Route::Tracked(_)));
    let lines = newly_tracked.flat_map(|(name, _)| {
        let line = format!(
            "'{name}' is local to this mirror and has a tracked name now; if upstream has another one, yours stays"
        );
        std::iter::once(line).chain(ways_out(name.as_bstr(), new))
    });
    shortened(lines.collect())
}

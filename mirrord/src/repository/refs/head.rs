//! The choice of `HEAD`: the branch that a clone checks out.

use std::collections::BTreeSet;

use common::refspec::{self, PublicRef, Refspecs, UpstreamRef};
use gix::bstr::BStr;

use super::{Refs, conflicting};
use crate::repository::plan::Head;

/// What the file `HEAD` becomes: upstream's branch under its public name if the mirror shows it, or upstream does not have it
/// yet; or else the first tracked branch (main, master, then by name); never a local branch. Where nobody knows upstream's
/// HEAD, `current` stays if it can.
pub(crate) fn choose(
    refs: &Refs,
    upstream: Option<&Head>,
    current: &[u8],
    track: &Refspecs,
) -> Vec<u8> {
    let symbolic = |name: &[u8]| [b"ref: ", name, b"\n"].concat();
    let shown = |name: &UpstreamRef| {
        let public = track.public(name)?;
        let recorded = refs.get(&*name.record())?;
        (refs.get(&*public) == Some(recorded)).then_some(public)
    };
    // Most often; to look at many refs takes time.
    if let Some(Head::Branch(branch)) = upstream
        && let Some(public) = shown(branch)
        && public.starts_with(b"refs/heads/")
    {
        return symbolic(&public);
    }
    let branches: BTreeSet<PublicRef> = refs
        .keys()
        .filter_map(|name| shown(&refspec::recorded(name)?))
        .filter(|public| public.starts_with(b"refs/heads/"))
        .collect();
    let current_branch = current
        .strip_prefix(b"ref: ")
        .map(|name| PublicRef::new(name.trim_ascii_end()));
    let wanted = match upstream {
        Some(Head::Detached(oid)) => return format!("{oid}\n").into_bytes(),
        Some(Head::Branch(branch)) => track.public(branch),
        Some(Head::Unknown) => None,
        // Detached, as upstream's was.
        None if current_branch.is_none() && !current.is_empty() => return current.to_vec(),
        None => current_branch,
    };
    let is_free = |name: &BStr| !refs.contains_key(name) && conflicting(refs, name).is_none();
    if let (Some(Head::Branch(branch)), Some(name)) = (upstream, &wanted)
        && name.starts_with(b"refs/heads/")
        && !refs.contains_key(&*branch.record())
        && is_free(name)
    {
        // Unborn there, and so here.
        return symbolic(name);
    }
    let usual = ["refs/heads/main", "refs/heads/master"].map(PublicRef::from);
    let preferred = wanted.iter().chain(&usual);
    let first = preferred
        .chain(&branches)
        .find(|name| branches.contains(*name));
    if let Some(name) = first {
        return symbolic(name);
    }
    // There is nothing to check out, and a local branch must not look as if it were upstream's.
    let numbered = (1..).map(|number| PublicRef::new(format!("refs/heads/unborn-{number}")));
    let mut unborn = wanted.into_iter().chain(usual).chain(numbered);
    let name = unborn.find(|name| is_free(name));
    symbolic(&name.expect("there is always a next number"))
}

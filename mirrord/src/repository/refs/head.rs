//! Which branch a clone checks out.

use std::collections::BTreeSet;

use common::refspec::{self, Refspecs};
use gix::bstr::BStr;

use super::{Refs, in_the_way};
use crate::repository::plan::Head;

/// What HEAD becomes: upstream's branch under its public name if it is there, or else the first tracked one (main, master,
/// then by name); never a local branch. Where nobody knows upstream's, it stays as it is if it can.
pub(crate) fn choose(
    refs: &Refs,
    upstream: Option<&Head>,
    now: &[u8],
    track: &Refspecs,
) -> Vec<u8> {
    let symbolic = |name: &[u8]| [b"ref: ", name, b"\n"].concat();
    let follows = |name: &[u8]| {
        let public = track.public(name)?;
        let record = refs.get(BStr::new(&refspec::record(name)))?;
        (refs.get(BStr::new(&public)) == Some(record)).then_some(public)
    };
    let branches: BTreeSet<_> = refs
        .keys()
        .filter_map(|name| follows(&refspec::recorded(name)?))
        .filter(|public| public.starts_with(b"refs/heads/"))
        .collect();
    let current = now
        .strip_prefix(b"ref: ")
        .map(|name| name.trim_ascii_end().to_vec());
    let wanted = match upstream {
        Some(Head::Detached(oid)) => return format!("{oid}\n").into_bytes(),
        Some(Head::Branch(branch)) => track.public(branch),
        Some(Head::Unknown) => None,
        // Detached, as upstream's was.
        None if current.is_none() && !now.is_empty() => return now.to_vec(),
        None => current,
    };
    let usual = ["refs/heads/main", "refs/heads/master"].map(|name| name.as_bytes().to_vec());
    let preferred = wanted.iter().chain(&usual);
    let first = preferred
        .chain(&branches)
        .find(|name| branches.contains(*name));
    if let Some(name) = first {
        return symbolic(name);
    }
    // There is nothing to check out, and nobody's branch may look as if it were upstream's.
    let free = |name: &[u8]| {
        let name = BStr::new(name);
        !refs.contains_key(name) && in_the_way(refs, name).is_none()
    };
    let numbered = (1..).map(|number| format!("refs/heads/unborn-{number}").into_bytes());
    let mut unborn = wanted.into_iter().chain(usual).chain(numbered);
    let name = unborn.find(|name| free(name));
    symbolic(&name.expect("there is always a next number"))
}

//! What clients wanted beside what a mirror tracks, such as `refs/pull/7/merge`: it is kept by refs below
//! [`ON_DEMAND`](refspec::ON_DEMAND) for a week after its last use. Only a client that asks for it is shown it.
//!
//! A file says which patterns were asked of upstream: a copy has all that one of these stands for, or did not look.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use common::refspec::{self, Kept, KeptName, OnDemand, UpstreamRef};
use gix::{
    ObjectId,
    bstr::{BString, ByteSlice},
};

use crate::{
    process::durable,
    repository::{
        plan::{Edit, Plan},
        refs::{self, Refs},
    },
};

/// The days for which something is kept after its last use.
const KEEP_DAYS: u64 = 7;

/// The file, in a mirror, of the patterns that were asked of upstream: lines of a day and a pattern.
const FILE: &str = "on-demand";

/// What upstream has, or what was fetched of it, of what clients want.
pub(crate) type Found = BTreeMap<KeptName, ObjectId>;

/// The refs below [`ON_DEMAND`](refspec::ON_DEMAND) with what they keep.
pub(crate) fn kept(refs: &Refs) -> impl Iterator<Item = (&BString, Kept, ObjectId)> {
    refs.range(BString::from(refspec::ON_DEMAND)..)
        .take_while(|(name, _)| name.starts_with(refspec::ON_DEMAND.as_bytes()))
        .filter_map(|(name, oid)| Some((name, Kept::parse(name)?, *oid)))
}

/// The value of a ref of upstream, when it was last asked for.
pub(crate) fn value(refs: &Refs, upstream: &UpstreamRef) -> Option<ObjectId> {
    let name = KeptName::Ref(upstream.clone());
    let mut kept = kept(refs).filter(|(_, kept, _)| kept.what == name);
    kept.next().map(|(_, _, oid)| oid)
}

/// The refs that nobody has asked for in the last days.
pub(crate) fn expired(refs: &Refs, now: SystemTime) -> Vec<BString> {
    let today = today(now);
    let expired = kept(refs).filter(|(_, kept, _)| kept.day + KEEP_DAYS < today);
    expired.map(|(name, ..)| name.clone()).collect()
}

/// Plans that what was `found` of what is wanted is kept from now on, and nothing else of it.
pub(crate) fn plan(refs: &Refs, wanted: &OnDemand, found: &Found, now: SystemTime) -> Plan {
    let day = today(now);
    let mut after: Refs = kept(refs)
        .map(|(name, _, oid)| (name.clone(), oid))
        .collect();
    for (name, kept, _) in kept(refs) {
        if wanted.wants_kept(&kept.what) {
            after.remove(name);
        }
    }
    for name in expired(refs, now) {
        after.remove(&name);
    }
    for (what, oid) in found {
        let what = what.clone();
        let name = BString::from(Kept { day, what }.name());
        // What is kept may be of another time than what was found.
        while let Some(other) = refs::conflicting(&after, name.as_bstr()).cloned() {
            after.remove(&other);
        }
        after.insert(name, *oid);
    }
    let mut plan = Plan::default();
    let before = kept(refs).map(|(name, _, oid)| (name, oid));
    for (name, old) in before {
        let new = after.remove(name);
        if new != Some(old) {
            let old = Some(old);
            plan.edits.insert(name.clone(), Edit { old, new });
        }
    }
    for (name, new) in after {
        let new = Some(new);
        plan.edits.insert(name, Edit { old: None, new });
    }
    plan
}

/// Records that upstream was asked for all that these patterns stand for.
pub(crate) fn record_asked(git_dir: &Path, wanted: &OnDemand, now: SystemTime) -> io::Result<()> {
    let today = today(now);
    let mut asked = asked(git_dir, now);
    let mut has_changed = false;
    for pattern in wanted.patterns() {
        has_changed |= asked.insert(pattern, today) != Some(today);
    }
    if !has_changed {
        return Ok(());
    }
    let lines: String = asked
        .iter()
        .map(|(pattern, day)| format!("{day} {pattern}\n"))
        .collect();
    durable::replace(&git_dir.join(FILE), lines.as_bytes())
}

/// A pattern for which upstream was not asked in the last days, so that the mirror does not know what it stands for.
pub(crate) fn never_asked(git_dir: &Path, wanted: &OnDemand, now: SystemTime) -> Option<String> {
    let asked = asked(git_dir, now);
    wanted
        .patterns()
        .find(|pattern| !asked.contains_key(pattern))
}

fn asked(git_dir: &Path, now: SystemTime) -> BTreeMap<String, u64> {
    let today = today(now);
    let text = fs::read_to_string(git_dir.join(FILE)).unwrap_or_default();
    let parsed = text.lines().filter_map(|line| {
        let (day, pattern) = line.split_once(' ')?;
        Some((pattern.to_owned(), day.parse().ok()?))
    });
    parsed
        .filter(|(_, day): &(String, u64)| day + KEEP_DAYS >= today)
        .collect()
}

/// The day, counted since 1970.
fn today(now: SystemTime) -> u64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / (24 * 60 * 60)
}

#[cfg(test)]
mod tests;

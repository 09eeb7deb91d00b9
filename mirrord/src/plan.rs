//! What a sync changes: the difference between what upstream has and what was recorded before it was asked.
//!
//! It is pure, so that any two advertisements and any state can be tried.

use std::collections::{BTreeMap, BTreeSet};

use common::refspec::{self, Refspecs};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

use crate::refs::Refs;

/// What upstream has of what a mirror tracks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Advertisement {
    /// By upstream's names.
    pub refs: Refs,
    /// Where its HEAD is.
    pub head: Head,
}

/// Where upstream's HEAD is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Head {
    /// On a branch, which may be unborn.
    Branch(BString),
    /// On a commit.
    Detached(ObjectId),
    /// Upstream did not say.
    #[default]
    Unknown,
}

/// One ref that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The value that it must have; `None` when it must not exist.
    pub old: Option<ObjectId>,
    /// The value that it gets; `None` deletes it.
    pub new: Option<ObjectId>,
}

/// A tracked ref that upstream has just changed because a push asked it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Its name there.
    pub name: BString,
    /// The value of the public ref that the client saw.
    pub seen: Option<ObjectId>,
    /// The value that upstream had.
    pub old: Option<ObjectId>,
    /// The value that it has.
    pub new: Option<ObjectId>,
}

/// What a sync or a push changes, and what it leaves alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// The refs that change, by name.
    pub edits: BTreeMap<BString, Edit>,
    /// Refs of upstream that are not shown, one line each, because something of the user's is in the way.
    pub held: Vec<String>,
}

impl Plan {
    /// Plans how `refs`, read before upstream was asked, become what upstream has.
    ///
    /// A public ref moves only if it equals its record, and is deleted only if it came from upstream.
    pub(crate) fn new(refs: &Refs, upstream: &Advertisement, track: &Refspecs) -> Self {
        let mut plan = Self::default();
        let recorded = refs
            .iter()
            .filter_map(|(name, oid)| Some((BString::from(refspec::recorded(name)?), *oid)));
        let recorded: BTreeMap<BString, ObjectId> = recorded.collect();
        let mut names: BTreeSet<&BString> = recorded.keys().collect();
        names.extend(upstream.refs.keys());
        for name in names {
            let Some(public) = track.public(name).map(BString::from) else {
                continue;
            };
            plan.follow(
                refs,
                name,
                public,
                recorded.get(name).copied(),
                upstream.refs.get(name).copied(),
            );
        }
        plan.follow_detached_head(refs, &upstream.head);
        plan.hold_conflicts(refs);
        plan
    }

    /// Plans how `refs` become what upstream has after a push. What is no longer as it was when the push began is left to
    /// the next sync.
    pub(crate) fn of_push(refs: &Refs, accepted: &[Accepted], track: &Refspecs) -> Self {
        let mut plan = Self::default();
        for Accepted {
            name,
            seen,
            old,
            new,
        } in accepted
        {
            let Some(public) = track.public(name).map(BString::from) else {
                continue;
            };
            let record = BString::from(refspec::record(name));
            if refs.get(&public) == seen.as_ref() && refs.get(&record) == old.as_ref() {
                plan.set(public, *seen, *new);
                plan.set(record, *old, *new);
            }
        }
        plan.hold_conflicts(refs);
        plan
    }

    /// Plans one tracked ref: `was` is its record, `is` what upstream has now.
    fn follow(
        &mut self,
        refs: &Refs,
        name: &BString,
        public: BString,
        was: Option<ObjectId>,
        is: Option<ObjectId>,
    ) {
        let here = refs.get(&public).copied();
        let record = BString::from(refspec::record(name));
        match (was, is, here) {
            // A local ref is in the way: it has the name, no record, and another value.
            (None, Some(is), Some(here)) if here != is => {
                self.held.push(format!(
                    "'{public}' is local to this mirror; upstream's '{name}' is not shown"
                ));
            }
            // Ours went another way than upstream: it stays, and the record says what upstream has.
            (Some(was), Some(is), Some(here)) if here != was && here != is => {
                self.set(record, Some(was), Some(is));
                self.held.push(format!(
                    "'{public}' differs from what upstream had; upstream's '{name}' is not shown"
                ));
            }
            // It came from upstream and is gone there.
            (Some(was), None, Some(here)) if here == was => {
                self.set(public, Some(here), None);
                self.set(record, Some(was), None);
            }
            (Some(was), None, _) => self.set(record, Some(was), None),
            (_, Some(is), here) => {
                self.set(public, here, Some(is));
                self.set(record, was, Some(is));
            }
            (None, None, _) => {}
        }
    }

    /// Records a detached HEAD, so that the commit which only it names is kept and can be negotiated with.
    fn follow_detached_head(&mut self, refs: &Refs, head: &Head) {
        let record = BString::from(refspec::record(b"HEAD"));
        let is = if let Head::Detached(oid) = head {
            Some(*oid)
        } else {
            None
        };
        let was = refs.get(&record).copied();
        self.set(record, was, is);
    }

    fn set(&mut self, name: BString, old: Option<ObjectId>, new: Option<ObjectId>) {
        if old != new {
            self.edits.insert(name, Edit { old, new });
        }
    }

    /// Takes out the creations that would put `a` beside `a/b`. What is there already stays; of two new ones the first
    /// by name is made, and the other never blocks the rest.
    fn hold_conflicts(&mut self, refs: &Refs) {
        let stays = |name: &&BString| self.edits.get(*name).is_none_or(|edit| edit.new.is_some());
        let mut after: BTreeSet<BString> = refs.keys().filter(stays).cloned().collect();
        let created = self
            .edits
            .iter()
            .filter(|(_, edit)| edit.old.is_none())
            .map(|(name, _)| name.clone());
        for name in created.collect::<Vec<_>>() {
            match in_the_way(&after, name.as_bstr()) {
                None => drop(after.insert(name)),
                Some(other) => {
                    self.edits.remove(&name);
                    if !refspec::is_ours(&name) {
                        self.held
                            .push(format!("'{name}' is not shown: '{other}' exists"));
                    }
                }
            }
        }
    }

    /// The objects that must be there and complete before the plan is carried out.
    pub(crate) fn tips(&self) -> BTreeSet<ObjectId> {
        self.edits.values().filter_map(|edit| edit.new).collect()
    }
}

/// A ref that cannot exist beside `name`: one that is a directory of it, or that it is a directory of.
fn in_the_way<'a>(refs: &'a BTreeSet<BString>, name: &BStr) -> Option<&'a BString> {
    let above = name
        .char_indices()
        .filter(|(_, _, c)| *c == '/')
        .find_map(|(at, _, _)| refs.get(name[..at].as_bstr()));
    above.or_else(|| {
        let below = BString::from([name.as_bytes(), b"/"].concat());
        refs.range(below.clone()..)
            .next()
            .filter(|other| other.starts_with(&below))
    })
}

#[cfg(test)]
mod tests;

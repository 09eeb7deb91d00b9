//! What a plan leaves out: what upstream has and the mirror cannot show, each with a line for the person.

use common::refspec::{self, PublicRef, Refspecs, Route, WITHHELD};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

use super::Plan;
use crate::repository::{
    local_refs,
    refs::{Refs, conflicting},
};

impl Plan {
    /// Withholds what upstream has rewritten where the refspec has no `+`, and drops what was withheld and is no longer.
    pub(crate) fn withhold_rewrites(
        &mut self,
        refs: &Refs,
        track: &Refspecs,
        mut is_fast_forward: impl FnMut(&BStr, ObjectId, ObjectId) -> bool,
    ) {
        let mut withheld = Refs::new();
        for (public, edit) in self.edits.clone() {
            let (Some(old), Some(new)) = (edit.old, edit.new) else {
                continue;
            };
            let Route::Tracked(upstream) = track.route(&public) else {
                continue;
            };
            if track.forced(&upstream) || is_fast_forward(public.as_bstr(), old, new) {
                continue;
            }
            self.edits.remove(&public);
            self.edits.remove(&*upstream.record());
            let line = local_refs::rewritten_line(&PublicRef::new(public));
            self.withheld.push(line);
            withheld.insert(upstream.withheld(), new);
        }
        let before = refs
            .range(BString::from(WITHHELD)..)
            .take_while(|(name, _)| name.starts_with(WITHHELD.as_bytes()));
        for (name, old) in before {
            self.set(name.clone(), Some(*old), withheld.remove(name));
        }
        for (name, new) in withheld {
            self.set(name, None, Some(new));
        }
    }

    /// Withholds branches that would not be commits, which only a refspec that makes branches of other refs brings.
    pub(crate) fn withhold_non_commits(
        &mut self,
        track: &Refspecs,
        mut is_commit: impl FnMut(ObjectId) -> bool,
    ) {
        let is_branch = |name: &[u8]| name.starts_with(b"refs/heads/");
        for (public, edit) in self.edits.clone() {
            let (Some(new), Route::Tracked(upstream)) = (edit.new, track.route(&public)) else {
                continue;
            };
            if is_branch(&public) && !is_branch(upstream.as_bstr()) && !is_commit(new) {
                self.edits.remove(&public);
                self.withheld
                    .push(format!("'{public}' is not shown: it is not a commit"));
            }
        }
    }

    /// Deletes records of what is no longer tracked where they conflict with what is: upstream cannot have both.
    pub(super) fn drop_untracked_records(&mut self, refs: &Refs, track: &Refspecs) {
        let created = self.edits.iter().filter(|(_, edit)| edit.old.is_none());
        let untracked: Vec<_> = created
            .filter_map(|(name, _)| conflicting(refs, name.as_bstr()).cloned())
            .filter(|other| {
                refspec::recorded(other).is_some_and(|name| track.public(&name).is_none())
            })
            .collect();
        for record in untracked {
            let old = refs.get(&record).copied();
            self.set(record, old, None);
        }
    }

    /// Takes out the creations that would put `a` beside `a/b`. What exists already stays; of two new ones the first by
    /// name is made, and the other never blocks the rest.
    pub(super) fn withhold_conflicts(&mut self, refs: &Refs, track: &Refspecs) {
        let stays = |name: &BString| self.edits.get(name).is_none_or(|edit| edit.new.is_some());
        let staying = refs.iter().filter(|(name, _)| stays(name));
        let mut after: Refs = staying.map(|(name, oid)| (name.clone(), *oid)).collect();
        let created = self.edits.iter().filter(|(_, edit)| edit.old.is_none());
        let created = created.filter_map(|(name, edit)| Some((name.clone(), edit.new?)));
        for (name, oid) in created.collect::<Vec<_>>() {
            match conflicting(&after, name.as_bstr()) {
                None => drop(after.insert(name, oid)),
                Some(other) => {
                    let other = other.clone();
                    self.edits.remove(&name);
                    if let Some(upstream) = refspec::recorded(&name)
                        && let Some(public) = track.public(&upstream)
                    {
                        // A public ref without a record would pass for a local one.
                        self.edits.remove(&*public);
                    }
                    if !refspec::is_reserved(&name) {
                        let line = local_refs::conflict_line(&PublicRef::new(name), &other);
                        self.withheld.push(line);
                    }
                }
            }
        }
    }
}

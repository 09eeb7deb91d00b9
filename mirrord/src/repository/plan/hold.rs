//! What a plan leaves out: what upstream has and the mirror cannot show, each with a line for the person.

use common::refspec::{self, Refspecs};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

use super::Plan;
use crate::repository::{
    local_refs,
    refs::{Refs, in_the_way},
};

/// What upstream has of refs that are held back because their refspec has no `+`: kept here, so that it is downloaded
/// once.
pub(crate) const HELD: &str = "refs/mirror/held/";

/// Where what upstream has of a ref is kept while it is held back.
pub(crate) fn held_below(name: &[u8]) -> BString {
    let rest = name.strip_prefix(b"refs/").unwrap_or(name);
    BString::from([HELD.as_bytes(), rest].concat())
}

impl Plan {
    /// Holds back what upstream has rewritten and no `+` allows to follow, and lets go of what was held back and is no
    /// longer.
    pub(crate) fn hold_rewrites(
        &mut self,
        refs: &Refs,
        track: &Refspecs,
        mut is_fast_forward: impl FnMut(&BStr, ObjectId, ObjectId) -> bool,
    ) {
        let mut held = Refs::new();
        for (public, edit) in self.edits.clone() {
            let (Some(old), Some(new)) = (edit.old, edit.new) else {
                continue;
            };
            let refspec::Route::Tracked(name) = track.route(&public) else {
                continue;
            };
            if refspec::is_ours(&public)
                || track.forced(&name)
                || is_fast_forward(public.as_bstr(), old, new)
            {
                continue;
            }
            self.edits.remove(&public);
            self.edits.remove(&BString::from(refspec::record(&name)));
            self.held.push(local_refs::rewritten(public.as_bstr()));
            held.insert(held_below(&name), new);
        }
        let before = refs
            .range(BString::from(HELD)..)
            .take_while(|(name, _)| name.starts_with(HELD.as_bytes()));
        for (name, old) in before {
            self.set(name.clone(), Some(*old), held.remove(name));
        }
        for (name, new) in held {
            self.set(name, None, Some(new));
        }
    }

    /// Leaves out branches that would not be commits, which only a refspec that makes branches of other refs brings.
    pub(crate) fn hold_non_commits(
        &mut self,
        track: &Refspecs,
        mut is_commit: impl FnMut(ObjectId) -> bool,
    ) {
        let is_branch = |name: &[u8]| name.starts_with(b"refs/heads/");
        for (public, edit) in self.edits.clone() {
            let (Some(new), refspec::Route::Tracked(upstream)) = (edit.new, track.route(&public))
            else {
                continue;
            };
            if is_branch(&public) && !is_branch(&upstream) && !is_commit(new) {
                self.edits.remove(&public);
                self.held
                    .push(format!("'{public}' is not shown: it is not a commit"));
            }
        }
    }

    /// Lets go of records of what is no longer tracked where they are in the way of what is: upstream cannot have both.
    pub(super) fn forget_untracked(&mut self, refs: &Refs, track: &Refspecs) {
        let created = self.edits.iter().filter(|(_, edit)| edit.old.is_none());
        let in_the_way: Vec<_> = created
            .filter_map(|(name, _)| in_the_way(refs, name.as_bstr()).cloned())
            .filter(|other| {
                let name = refspec::recorded(other);
                name.is_some_and(|name| track.public(&name).is_none())
            })
            .collect();
        for record in in_the_way {
            let old = refs.get(&record).copied();
            self.set(record, old, None);
        }
    }

    /// Takes out the creations that would put `a` beside `a/b`. What is there already stays; of two new ones the first
    /// by name is made, and the other never blocks the rest.
    pub(super) fn hold_conflicts(&mut self, refs: &Refs, track: &Refspecs) {
        let stays = |name: &BString| self.edits.get(name).is_none_or(|edit| edit.new.is_some());
        let staying = refs.iter().filter(|(name, _)| stays(name));
        let mut after: Refs = staying.map(|(name, oid)| (name.clone(), *oid)).collect();
        let created = self.edits.iter().filter(|(_, edit)| edit.old.is_none());
        let created = created.filter_map(|(name, edit)| Some((name.clone(), edit.new?)));
        for (name, oid) in created.collect::<Vec<_>>() {
            match in_the_way(&after, name.as_bstr()) {
                None => drop(after.insert(name, oid)),
                Some(other) => {
                    let other = other.clone();
                    self.edits.remove(&name);
                    if let Some(upstream) = refspec::recorded(&name) {
                        // Without a record nobody would know whose it is.
                        let public = track.public(&upstream).map(BString::from);
                        public.map(|public| self.edits.remove(&public));
                    }
                    if !refspec::is_ours(&name) {
                        self.held
                            .push(local_refs::beside(name.as_bstr(), other.as_bstr()));
                    }
                }
            }
        }
    }
}

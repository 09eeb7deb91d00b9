//! What a sync, a push or a change of the refspecs does to refs: for a sync, the difference between what upstream has and
//! what was recorded before it was asked.
//!
//! It is pure, so that any two advertisements and any state can be tried.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use common::refspec::{self, Refspecs};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

mod hold;

pub(crate) use self::hold::{HELD, held_below};
use crate::repository::{
    history::{self, Why},
    local_refs,
    refs::Refs,
    unserved::Reasons,
};

/// What upstream has of what a mirror tracks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Advertisement {
    /// By upstream's names.
    pub refs: Refs,
    /// Where its HEAD is.
    pub head: Head,
}

impl Advertisement {
    /// The same with what is recorded in the place of what upstream cannot serve.
    pub(crate) fn without(&self, unserved: &Reasons, refs: &Refs) -> Self {
        let mut served = self.clone();
        for (name, oid) in &self.refs {
            if !unserved.contains_key(oid) {
                continue;
            }
            match refs.get(BStr::new(&refspec::record(name))) {
                Some(was) => served.refs.insert(name.clone(), *was),
                None => served.refs.remove(name),
            };
        }
        if matches!(&self.head, Head::Detached(oid) if unserved.contains_key(oid)) {
            let was = refs.get(BStr::new(&refspec::record(b"HEAD")));
            served.head = was.map_or(Head::Unknown, |was| Head::Detached(*was));
        }
        served
    }
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

/// A branch or tag of the mirror's own that a push changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalEdit {
    /// Its name.
    pub name: BString,
    /// The value that the client saw.
    pub old: Option<ObjectId>,
    /// The value that it gets.
    pub new: Option<ObjectId>,
}

/// What is changed, and what is left alone.
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
        plan.forget_untracked(refs, track);
        plan.hold_conflicts(refs, track);
        plan
    }

    /// Plans how `refs` become what upstream has after a push, and what stays here. What is no longer as it was when the
    /// push began is left to the next sync.
    pub(crate) fn of_push(
        refs: &Refs,
        accepted: &[Accepted],
        here: &[LocalEdit],
        track: &Refspecs,
    ) -> Self {
        let mut plan = Self::default();
        for LocalEdit { name, old, new } in here {
            // It may be there already.
            if refs.get(name) != new.as_ref() {
                plan.set(name.clone(), *old, *new);
            }
        }
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
        plan.hold_conflicts(refs, track);
        plan
    }

    /// Plans how `refs` of a mirror become those of one with other refspecs. A public ref that is no longer one goes,
    /// unless it is the user's own by now, or they want to `keep` it; then its record is kept, too, so that it moves on
    /// when it is tracked again.
    pub(crate) fn of_refspecs(
        refs: &Refs,
        before: &Refspecs,
        after: &Refspecs,
        keep: bool,
    ) -> Self {
        let mut plan = Self::default();
        let moved = refs.iter().filter_map(|(record, was)| {
            let name = refspec::recorded(record)?;
            let public = |track: &Refspecs| track.public(&name).map(BString::from);
            let (old, new) = (public(before), public(after));
            (old != new).then_some((record, *was, old, new))
        });
        let moved: Vec<_> = moved.collect();
        for (record, was, old, new) in &moved {
            if keep {
                continue;
            }
            if let Some(old) = old.as_ref().filter(|old| refs.get(*old) == Some(was)) {
                plan.set(old.clone(), Some(*was), None);
            }
            if new.is_none() {
                plan.set((*record).clone(), Some(*was), None);
            }
        }
        for (_, was, _, new) in moved {
            let Some(new) = new else { continue };
            let there = refs.get(&new).copied();
            // Two may change their names with each other.
            let is_free = there.is_none() || plan.edits.contains_key(&new);
            if there == Some(was) {
                plan.edits.remove(&new);
            } else if is_free {
                plan.set(new, there, Some(was));
            }
        }
        plan.hold_conflicts(refs, after);
        plan
    }

    /// Has every tip that would be lost go to the history, and lets what is older than `keep` go from there. `gone` is
    /// what becomes of a ref that is deleted.
    pub(crate) fn with_history(
        mut self,
        refs: &Refs,
        track: &Refspecs,
        gone: Why,
        now: SystemTime,
        keep: Duration,
        mut is_fast_forward: impl FnMut(&BStr, ObjectId, ObjectId) -> bool,
    ) -> Self {
        let stamp = history::stamp(refs, now);
        let mut past = Vec::new();
        for (name, edit) in &self.edits {
            let Some(old) = edit.old.filter(|_| !keep.is_zero()) else {
                continue;
            };
            // What a ref of the user's own hides is lost as much as what is shown.
            let hidden = refspec::recorded(name).and_then(|name| track.public(&name));
            let hidden = hidden.map(BString::from);
            // What is hidden and what hides it may be `a` and `a/b`; one stamp is for what was there together.
            let (name, stamp) = match &hidden {
                Some(public) if refs.get(public) != Some(&old) => (public, stamp + 1),
                _ if refspec::is_ours(name) => continue,
                _ => (name, stamp),
            };
            match edit.new {
                None => past.push((history::ref_name(stamp, gone, name.as_bstr()), old)),
                Some(new) if !is_fast_forward(name.as_bstr(), old, new) => {
                    let name = history::ref_name(stamp, Why::Rewritten, name.as_bstr());
                    past.push((name, old));
                }
                Some(_) => {}
            }
        }
        for (name, old) in past {
            self.set(name, None, Some(old));
        }
        if !self.edits.is_empty() {
            for name in history::expired(refs, now, keep) {
                let old = refs.get(&name).copied();
                self.set(name, old, None);
            }
        }
        self
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
                self.set(record, None, Some(is));
                self.held
                    .push(local_refs::in_the_way_of(public.as_bstr(), name.as_bstr()));
            }
            // Ours went another way than upstream: it stays, and the record says what upstream has.
            (Some(was), Some(is), Some(here)) if here != was && here != is => {
                self.set(record, Some(was), Some(is));
                self.held
                    .push(local_refs::in_the_way_of(public.as_bstr(), name.as_bstr()));
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

    /// The objects that must be there and complete before the plan is carried out.
    pub(crate) fn tips(&self) -> BTreeSet<ObjectId> {
        self.edits.values().filter_map(|edit| edit.new).collect()
    }
}

#[cfg(test)]
mod tests;

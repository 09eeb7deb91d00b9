//! What a sync, a push or a change of the refspecs does to refs: for a sync, the difference between what upstream has and
//! what was recorded before it was asked. [`publish`](super::publish) writes it.
//!
//! A plan reads and writes no files, so that tests can try any two advertisements with any state.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    time::{Duration, SystemTime},
};

use common::refspec::{self, PublicRef, Refspecs, UpstreamRef};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

mod withhold;

use crate::repository::{
    history::{self, Why},
    local_refs, on_demand,
    refs::{Refs, UpstreamRefs},
    unserved::Reasons,
};

/// What upstream has of what a mirror tracks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Advertisement {
    /// Its branches, tags and other refs; HEAD aside.
    pub refs: UpstreamRefs,
    /// Where its HEAD is.
    pub head: Head,
    /// The targets of those of its refs that are symbolic; HEAD aside.
    pub symrefs: BTreeMap<UpstreamRef, UpstreamRef>,
}

impl Advertisement {
    /// The same advertisement, but with the recorded value of each ref that upstream cannot serve. A ref without a record
    /// is left out.
    pub(crate) fn without_unserved(&self, unserved: &Reasons, refs: &Refs) -> Self {
        let mut served = self.clone();
        for (name, oid) in &self.refs {
            if !unserved.contains_key(oid) {
                continue;
            }
            match refs.get(&*name.record()) {
                Some(recorded) => served.refs.insert(name.clone(), *recorded),
                None => served.refs.remove(name),
            };
        }
        if matches!(&self.head, Head::Detached(oid) if unserved.contains_key(oid)) {
            let recorded = refs.get(&*UpstreamRef::head().record());
            served.head = recorded.map_or(Head::Unknown, |oid| Head::Detached(*oid));
        }
        served
    }
}

/// Where upstream's HEAD is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Head {
    /// On a branch, which may be unborn.
    Branch(UpstreamRef),
    /// On a commit.
    Detached(ObjectId),
    /// Upstream does not tell.
    #[default]
    Unknown,
}

/// One ref that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The value that the ref must have; `None` when it must not exist.
    pub old: Option<ObjectId>,
    /// The value that the ref gets; `None` deletes it.
    pub new: Option<ObjectId>,
}

/// A tracked ref that upstream has just changed because a push asked it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The ref.
    pub name: UpstreamRef,
    /// The value that the client saw under the public name.
    pub shown: Option<ObjectId>,
    /// The value that upstream had.
    pub old: Option<ObjectId>,
    /// The value that upstream has now.
    pub new: Option<ObjectId>,
}

/// A local branch or tag that a push changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalEdit {
    /// The branch or tag.
    pub name: PublicRef,
    /// The value that the client saw.
    pub old: Option<ObjectId>,
    /// The value that the ref gets.
    pub new: Option<ObjectId>,
}

/// Which refs of the mirror change, and what upstream has and the mirror does not show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// The refs that change, by their names in the mirror: public refs, records, the history and what is withheld.
    pub edits: BTreeMap<BString, Edit>,
    /// Refs of upstream that are not shown, one line each.
    pub withheld: Vec<String>,
}

/// A recorded ref of upstream to which other refspecs give another public name.
struct Renamed {
    record: BString,
    recorded: ObjectId,
    before: Option<PublicRef>,
    after: Option<PublicRef>,
}

impl Plan {
    /// Plans how `refs`, read before upstream was asked, become what upstream has.
    ///
    /// A public ref moves only if it equals its record, and is deleted only if it came from upstream.
    pub(crate) fn of_sync(refs: &Refs, upstream: &Advertisement, track: &Refspecs) -> Self {
        let mut plan = Self::default();
        let recorded = refs
            .iter()
            .filter_map(|(name, oid)| Some((refspec::recorded(name)?, *oid)));
        let recorded: UpstreamRefs = recorded.collect();
        for (name, recorded, advertised) in side_by_side(&recorded, &upstream.refs) {
            if let Some(public) = track.public(name) {
                plan.move_tracked(refs, name, public, recorded, advertised);
            }
        }
        plan.record_detached_head(refs, &upstream.head);
        plan.drop_untracked_records(refs, track);
        plan.withhold_conflicts(refs, track);
        plan
    }

    /// Plans how `refs` become what upstream has after a push, and what is local to the mirror.
    ///
    /// A ref that is no longer as it was when the push began is left to the next sync.
    pub(crate) fn of_push(
        refs: &Refs,
        accepted: &[Accepted],
        local: &[LocalEdit],
        track: &Refspecs,
    ) -> Self {
        let mut plan = Self::default();
        for LocalEdit { name, old, new } in local {
            // The ref may have its new value already.
            if refs.get(&**name) != new.as_ref() {
                plan.set(name.clone(), *old, *new);
            }
        }
        for Accepted {
            name,
            shown,
            old,
            new,
        } in accepted
        {
            let Some(public) = track.public(name) else {
                continue;
            };
            let record = name.record();
            if refs.get(&*public) == shown.as_ref() && refs.get(&*record) == old.as_ref() {
                plan.set(public, *shown, *new);
                plan.set(record, *old, *new);
            }
        }
        plan.withhold_conflicts(refs, track);
        plan
    }

    /// Plans how `refs` of a mirror become those of one with other refspecs.
    ///
    /// A public ref that is no longer tracked is deleted, unless the user has moved it, or wants to `keep` it. What is kept
    /// keeps its record, so that it moves on when it is tracked again.
    pub(crate) fn of_refspecs(
        refs: &Refs,
        before: &Refspecs,
        after: &Refspecs,
        keep: bool,
    ) -> Self {
        let mut plan = Self::default();
        let renamed = refs.iter().filter_map(|(record, recorded)| {
            let name = refspec::recorded(record)?;
            let (before, after) = (before.public(&name), after.public(&name));
            (before != after).then(|| Renamed {
                record: record.clone(),
                recorded: *recorded,
                before,
                after,
            })
        });
        let renamed: Vec<_> = renamed.collect();
        for it in renamed.iter().filter(|_| !keep) {
            let recorded = Some(it.recorded);
            if let Some(before) = &it.before
                && refs.get(&**before).copied() == recorded
            {
                plan.set(before.clone(), recorded, None);
            }
            if it.after.is_none() {
                plan.set(it.record.clone(), recorded, None);
            }
        }
        for Renamed {
            recorded, after, ..
        } in renamed
        {
            let Some(after) = after else { continue };
            let current = refs.get(&*after).copied();
            // Two may change their names with each other.
            let is_free = current.is_none() || plan.edits.contains_key(&*after);
            if current == Some(recorded) {
                plan.edits.remove(&*after);
            } else if is_free {
                plan.set(after, current, Some(recorded));
            }
        }
        plan.withhold_conflicts(refs, after);
        plan
    }

    /// Adds each tip that the plan would lose to the history, and deletes what has been there for longer than `keep`, and
    /// what nobody has asked for any more.
    ///
    /// `why_deleted` is the reason that the history gives for a ref that the plan deletes.
    pub(crate) fn with_history(
        mut self,
        refs: &Refs,
        track: &Refspecs,
        why_deleted: Why,
        now: SystemTime,
        keep: Duration,
        mut is_fast_forward: impl FnMut(&BStr, ObjectId, ObjectId) -> bool,
    ) -> Self {
        let stamp = history::stamp(refs, now);
        let mut lost = Vec::new();
        for (name, edit) in &self.edits {
            let Some(old) = edit.old.filter(|_| !keep.is_zero()) else {
                continue;
            };
            // What a local ref hides is lost as much as what is shown.
            let hidden = refspec::recorded(name)
                .and_then(|upstream| track.public(&upstream))
                .filter(|public| refs.get(&**public) != Some(&old));
            // What is hidden and what hides it may be `a` and `a/b`; one stamp is for what was there together.
            let (public, stamp) = match &hidden {
                Some(public) => (&**public, stamp + 1),
                None if refspec::is_reserved(name) => continue,
                None => (name.as_bstr(), stamp),
            };
            let why = match edit.new {
                None => why_deleted,
                Some(new) if !is_fast_forward(public, old, new) => Why::Rewritten,
                Some(_) => continue,
            };
            lost.push((history::ref_name(stamp, why, public), old));
        }
        for (name, old) in lost {
            self.set(name, None, Some(old));
        }
        if !self.edits.is_empty() {
            let expired = history::expired(refs, now, keep).into_iter();
            for name in expired.chain(on_demand::expired(refs, now)) {
                let old = refs.get(&name).copied();
                self.set(name, old, None);
            }
        }
        self
    }

    /// Plans one tracked ref: what the record says, and what upstream has now.
    fn move_tracked(
        &mut self,
        refs: &Refs,
        name: &UpstreamRef,
        public: PublicRef,
        recorded: Option<ObjectId>,
        advertised: Option<ObjectId>,
    ) {
        let shown = refs.get(&*public).copied();
        let record = name.record();
        match (recorded, advertised, shown) {
            // A local ref has the name: there is no record, and another value.
            (None, Some(advertised), Some(shown)) if shown != advertised => {
                self.set(record, None, Some(advertised));
                self.withheld.push(local_refs::hidden_line(&public, name));
            }
            // The user has moved the ref another way than upstream: it stays, and the record says what upstream has.
            (Some(recorded), Some(advertised), Some(shown))
                if shown != recorded && shown != advertised =>
            {
                self.set(record, Some(recorded), Some(advertised));
                self.withheld.push(local_refs::hidden_line(&public, name));
            }
            // The ref came from upstream and is gone there.
            (Some(recorded), None, Some(shown)) if shown == recorded => {
                self.set(public, Some(shown), None);
                self.set(record, Some(recorded), None);
            }
            (Some(recorded), None, _) => self.set(record, Some(recorded), None),
            (_, Some(advertised), shown) => {
                self.set(public, shown, Some(advertised));
                self.set(record, recorded, Some(advertised));
            }
            (None, None, _) => {}
        }
    }

    /// Records a detached HEAD, so that the commit which only it names is kept and can be negotiated with.
    fn record_detached_head(&mut self, refs: &Refs, head: &Head) {
        let record = UpstreamRef::head().record();
        let recorded = refs.get(&*record).copied();
        let advertised = match head {
            Head::Detached(oid) => Some(*oid),
            Head::Branch(_) | Head::Unknown => None,
        };
        self.set(record, recorded, advertised);
    }

    fn set(&mut self, name: impl Into<BString>, old: Option<ObjectId>, new: Option<ObjectId>) {
        if old != new {
            self.edits.insert(name.into(), Edit { old, new });
        }
    }

    /// The objects that must be there and complete before the plan is published.
    pub(crate) fn tips(&self) -> BTreeSet<ObjectId> {
        self.edits.values().filter_map(|edit| edit.new).collect()
    }
}

/// All names in two lists of refs, with the value in each. It goes through both once: a look into a large map takes longer.
fn side_by_side<'r>(
    one: &'r UpstreamRefs,
    other: &'r UpstreamRefs,
) -> impl Iterator<Item = (&'r UpstreamRef, Option<ObjectId>, Option<ObjectId>)> {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    iter::from_fn(move || {
        let name = match (one.peek(), other.peek()) {
            (Some((name, _)), Some((other, _))) => (*name).min(*other),
            (Some((name, _)), None) | (None, Some((name, _))) => *name,
            (None, None) => return None,
        };
        let value = |refs: Option<(&UpstreamRef, &ObjectId)>| refs.map(|(_, oid)| *oid);
        Some((
            name,
            value(one.next_if(|(next, _)| *next == name)),
            value(other.next_if(|(next, _)| *next == name)),
        ))
    })
}

#[cfg(test)]
mod tests;

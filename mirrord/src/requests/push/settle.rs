//! Writes to the mirror what a push changes: the tracked refs that upstream has accepted, and the local ones.

use std::{collections::BTreeSet, io, time::SystemTime};

use gix::ObjectId;

use super::route::PushChanges;
use crate::{
    mirrors::{gate::Reservation, settings::Rules},
    repository::{
        ancestry::Ancestry,
        history::Why,
        local_refs,
        plan::{LocalEdit, Plan},
        publish,
        quarantine::{Origin, Quarantine},
        refs,
    },
};

/// A sync may publish between the push's reading of the refs and its writing; then the push reads them again.
const MAX_TRIES: usize = 5;

/// Writes the changes of a push to the mirror, durably. Returns what the person should know, one line each.
///
/// # Errors
/// Fails where an object is missing, another ref is in the way, or the mirror cannot be written.
pub(super) fn settle(
    quarantine: &Quarantine,
    reservation: Reservation,
    changes: &PushChanges,
) -> io::Result<Vec<String>> {
    let PushChanges {
        mirror,
        accepted,
        local,
        is_everything,
    } = changes;
    let Rules {
        track,
        keep_history,
        ..
    } = &mirror.settings.rules;
    reservation.write_while_no_sync_begins(|no_sync_ran| {
        let accepted_tips = accepted.iter().filter_map(|accepted| accepted.new);
        let tips: BTreeSet<ObjectId> = local
            .iter()
            .filter_map(|local| local.new)
            .chain(accepted_tips)
            .collect();
        if !tips.is_empty() {
            let is_local = local.iter().any(|local| local.new.is_some());
            let origin = if is_local {
                Origin::LocalOnly
            } else {
                Origin::Upstream
            };
            // Objects of refused refs are removed with the quarantine.
            if *is_everything {
                quarantine.release(origin)?;
            } else {
                quarantine.release_only(&tips, origin)?;
            }
        }
        // A sync that ran meanwhile may have asked upstream before the push reached it; the next one writes the records.
        let accepted = if no_sync_ran {
            accepted.as_slice()
        } else {
            &[]
        };
        if accepted.is_empty() && local.is_empty() {
            return Ok(Vec::new());
        }
        let repo = refs::open(&mirror.git_dir)?;
        if let Some(missing) = tips.iter().find(|tip| !repo.has_object(*tip)) {
            return Err(io::Error::other(format!("object {missing} is not here")));
        }
        let mut ancestry = Ancestry::new(&repo);
        for _ in 0..MAX_TRIES {
            let refs = refs::read(&mirror.git_dir)?;
            let plan = Plan::of_push(&refs, accepted, local, track);
            let is_lost = |local: &&LocalEdit| {
                refs.get(&*local.name) != local.new.as_ref()
                    && !plan.edits.contains_key(&*local.name)
            };
            if let Some(lost) = local.iter().find(is_lost) {
                let message = format!("another ref is in the way of '{}'", lost.name);
                return Err(io::Error::other(message));
            }
            let plan = plan.with_history(
                &refs,
                track,
                Why::Deleted,
                SystemTime::now(),
                *keep_history,
                |name, old, new| ancestry.is_fast_forward(name, old, new),
            );
            if !publish::publish(&mirror.git_dir, &plan, None, track)?.again {
                return Ok(local_refs::shortened(plan.withheld));
            }
        }
        Err(io::Error::other("the mirror's refs change too fast"))
    })
}

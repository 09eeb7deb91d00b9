//! Makes the mirror what a push has made of upstream, and what stays here.

use std::{collections::BTreeSet, io, time::SystemTime};

use gix::ObjectId;

use super::route::Outcome;
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

/// A sync may publish while a push does; then the push looks again.
const MAX_TRIES: usize = 5;

/// Makes the mirror what upstream has accepted and what stays here; it lasts when this returns. Returns what the person
/// should know.
pub(super) fn settle(
    quarantine: &Quarantine,
    reservation: Reservation,
    outcome: &Outcome,
) -> io::Result<Vec<String>> {
    let Outcome {
        mirror,
        accepted,
        here,
        all,
    } = outcome;
    let Rules {
        track,
        keep_history,
        ..
    } = &mirror.settings.rules;
    reservation.settle(|known| {
        let accepted_tips = accepted.iter().filter_map(|accepted| accepted.new);
        let tips: BTreeSet<ObjectId> = here
            .iter()
            .filter_map(|here| here.new)
            .chain(accepted_tips)
            .collect();
        if !tips.is_empty() {
            let stays = here.iter().any(|here| here.new.is_some());
            let whose = if stays {
                Origin::LocalOnly
            } else {
                Origin::Upstream
            };
            // What a refused ref brought goes with the quarantine.
            if *all {
                quarantine.release(whose)?;
            } else {
                quarantine.release_only(&tips, whose)?;
            }
        }
        let accepted = if known { accepted.as_slice() } else { &[] };
        if accepted.is_empty() && here.is_empty() {
            return Ok(Vec::new());
        }
        let repo = refs::open(&mirror.git_dir)?;
        if let Some(missing) = tips.iter().find(|tip| !repo.has_object(*tip)) {
            return Err(io::Error::other(format!("object {missing} is not here")));
        }
        let mut ancestry = Ancestry::new(&repo);
        for _ in 0..MAX_TRIES {
            let refs = refs::read(&mirror.git_dir)?;
            let plan = Plan::of_push(&refs, accepted, here, track);
            let is_lost = |here: &&LocalEdit| {
                refs.get(&*here.name) != here.new.as_ref() && !plan.edits.contains_key(&*here.name)
            };
            if let Some(lost) = here.iter().find(is_lost) {
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

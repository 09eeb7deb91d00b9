//! The last step of a sync: publishes the refs, and records what the mirror is now. A new mirror moves to its directory.

use std::path::Path;

use common::protocol::{Failure, OrFailure};
use gix::Repository;

use super::{
    job::Outcome,
    memory::Applied,
    receive::Received,
    run::{Destination, Run, Stop},
    siblings,
    state::write_synced,
    usage::Download,
};
use crate::{
    repository::{
        ancestry::{self, Ancestry},
        damage,
        history::Why,
        local_refs, publish, refs, steps, unserved,
    },
    upstream::Trouble,
};

/// How the refs were published, and whether the mirror changed with it.
struct Published {
    /// How many public refs changed.
    changed_refs: usize,
    /// Whether the mirror changed.
    changed: bool,
    /// Whether a ref changed meanwhile, so that the sync has to run again.
    again: bool,
}

impl Run<'_> {
    /// Makes the mirror what upstream is.
    pub(super) fn apply(&mut self, mut received: Received) -> Result<Outcome, Stop> {
        let git_dir = received.destination.git_dir().to_owned();
        let published = received.publish(&git_dir)?;
        let Received {
            answer,
            destination,
            running,
            plan,
            ..
        } = received;
        let mut warnings = answer.warnings;
        let mirror = match destination {
            Destination::Mirror(mirror) => mirror,
            Destination::New(new) => {
                match self
                    .engine
                    .registry
                    .finish_mirror(new, &self.target.git_dir)
                {
                    Ok(mirror) => {
                        warnings.extend(siblings::local_refs_elsewhere(
                            &self.engine.registry,
                            &mirror,
                        ));
                        mirror
                    }
                    // Somebody has just made one there.
                    Err(_) if self.target.git_dir.exists() => return Err(Stop::RunAgain),
                    Err(err) => return Err(Failure::io("cannot make a mirror", &err).into()),
                }
            }
        };
        let signed_in_by_git = answer.session.signed_in_by_git();
        self.memory.keep_session(answer.session);
        if published.again {
            return Err(Stop::RunAgain);
        }
        if let Some(running) = &running {
            running.record_caught_up();
        }
        if plan.withheld.is_empty() {
            self.memory.applied = Some(Applied {
                advertisement: answer.advertisement,
                mirror: mirror.clone(),
                refs: refs::Stamp::of(&mirror.git_dir),
            });
        }
        warnings.extend(local_refs::shortened(plan.withheld));
        Ok(Outcome::InStep {
            mirror: Box::new(mirror),
            warnings,
            changed_refs: published.changed_refs,
            changed: published.changed,
            signed_in_by_git,
            // The task counts it.
            download: Download::default(),
            asked_at: answer.asked_at,
            reached: self.reached.clone(),
        })
    }
}

impl Received {
    /// Publishes the refs, and records in the repository what came.
    fn publish(&mut self, git_dir: &Path) -> Result<Published, Trouble> {
        let repo = refs::open(git_dir).or_failure("cannot open the mirror")?;
        let mut ancestry = Ancestry::new(&repo);
        self.complete_plan(&repo, &mut ancestry);
        let track = &self.settings.rules.track;
        let published = publish::publish(git_dir, &self.plan, Some(self.served()), track)
            .or_failure("cannot publish what upstream has")?;
        if !published.again {
            self.record_step(git_dir, &mut ancestry);
        }
        if self.answer.needs_all {
            damage::record_full_fetch(git_dir)
                .or_failure("cannot write that everything was fetched")?;
        }
        unserved::write(git_dir, &self.unserved)
            .or_failure("cannot write what upstream cannot serve")?;
        // What was damaged before may be whole now.
        let changed = !self.plan.edits.is_empty() || self.answer.needs_all;
        // Before a new mirror moves to its directory: from then on others sweep it of files that are half written.
        if !published.again && (changed || !git_dir.join(refs::SYNCED).exists()) {
            write_synced(git_dir, self.answer.asked_at)
                .or_failure("cannot write when the sync was")?;
        }
        Ok(Published {
            changed_refs: published.moved,
            changed,
            again: published.again,
        })
    }

    /// Withholds what the refspecs do not allow, and adds the history of what is lost.
    fn complete_plan(&mut self, repo: &Repository, ancestry: &mut Ancestry) {
        let rules = &self.settings.rules;
        let (before, track) = (&self.before, &rules.track);
        let mut plan = std::mem::take(&mut self.plan);
        plan.withhold_non_commits(track, |oid| {
            ancestry::peel_to_commit(repo, oid) == Some(oid)
        });
        plan.withhold_rewrites(before, track, |name, old, new| {
            ancestry.is_fast_forward(name, old, new)
        });
        self.plan = plan.with_history(
            before,
            track,
            Why::Deleted,
            self.answer.asked_at,
            rules.keep_history,
            |name, old, new| ancestry.is_fast_forward(name, old, new),
        );
    }

    /// Records the pack that came as the step from the refs before to those after, for clients that have what was there
    /// before. A first download is of use to no such client and is not recorded. Several packs are not recorded either, nor a
    /// pack that upstream made after it was told of more than the records.
    fn record_step(&self, git_dir: &Path, ancestry: &mut Ancestry) {
        if matches!(self.destination, Destination::New(_))
            || !self.is_from_records
            || self.packs.len() > 1
        {
            return;
        }
        let pack = self.packs.first().cloned();
        let recorded = steps::record(git_dir, &self.before, &self.plan, pack, |name, old, new| {
            ancestry.is_fast_forward(name, old, new)
        });
        if let Err(err) = recorded {
            let name = &self.settings.name;
            tracing::warn!("cannot write what came into '{name}': {err}");
        }
    }
}

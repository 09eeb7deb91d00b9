//! What is recorded of a sync when it has ended: a line in the daemon's log, and an entry in the journal.

use std::time::Instant;

use common::protocol::{Cause, Entry, Failure, FailureKind, Outcome as EntryOutcome, What};

use super::{
    Engine,
    job::{Create, Outcome, SyncOptions},
};
use crate::{
    mirrors::{journal, registry::Target},
    upstream::Trouble,
};

/// The entry of a running sync, which is written when the sync ends.
#[derive(Clone)]
pub(super) struct JournalEntry {
    target: Target,
    cause: Cause,
    /// The name of the mirror that this sync makes, if it makes one.
    new_name: String,
    began: Instant,
}

impl JournalEntry {
    /// Begins the entry of a sync that begins now.
    pub(super) fn begin(target: &Target, options: &SyncOptions) -> Self {
        let new_name = match &options.create {
            Create::With(settings) => settings.name.clone(),
            Create::No | Create::Auto => target.url.mirror_name(),
        };
        Self {
            target: target.clone(),
            cause: options.cause,
            new_name: new_name.to_string(),
            began: Instant::now(),
        }
    }

    /// The name of the mirror that this sync makes, if it makes one.
    pub(super) fn new_name(&self) -> &str {
        &self.new_name
    }

    /// Writes how the sync ended, for which upstream sent this many bytes.
    pub(super) fn end(self, engine: &Engine, bytes: u64, result: &Result<Outcome, Trouble>) {
        let (url, elapsed) = (&self.target.url, self.began.elapsed());
        let took = elapsed.as_millis();
        let (refs, outcome) = match result {
            Ok(Outcome::InStep {
                mirror,
                changed_refs,
                changed,
                ..
            }) => {
                if bytes > 0 {
                    engine
                        .usage
                        .record_download(&mirror.git_dir, bytes, elapsed);
                }
                tracing::info!("'{url}' in step after {took} ms");
                let outcome = match changed {
                    true => EntryOutcome::InStep,
                    false => EntryOutcome::Unchanged,
                };
                (*changed_refs as u64, outcome)
            }
            // Not a sync of any mirror: the client goes on to another one.
            Ok(Outcome::Moved(to)) => return tracing::info!("'{url}' redirects to '{to}'"),
            Ok(Outcome::Gone) => return,
            Err(trouble) => {
                tracing::warn!("no sync of '{url}' after {took} ms: {}", trouble.failure);
                (0, outcome_of(&trouble.failure))
            }
        };
        let milliseconds = u64::try_from(took).unwrap_or(u64::MAX);
        let mirror = match result {
            Ok(Outcome::InStep { mirror, .. }) => mirror.settings.name.to_string(),
            _ => current_name(engine, &self.target).unwrap_or(self.new_name),
        };
        let entry = Entry {
            at: journal::now(),
            mirror,
            what: What::Sync,
            cause: self.cause,
            milliseconds,
            bytes,
            refs,
            outcome,
        };
        engine.journal.record(&self.target.git_dir, entry);
    }
}

fn outcome_of(failure: &Failure) -> EntryOutcome {
    match failure.kind {
        FailureKind::Cancelled => EntryOutcome::Cancelled,
        _ => EntryOutcome::Failed(failure.message.clone()),
    }
}

/// The name of the mirror, if there is one.
fn current_name(engine: &Engine, target: &Target) -> Option<String> {
    let found = engine.registry.mirror_at(&target.git_dir).ok()?;
    found.map(|mirror| mirror.settings.name.to_string())
}

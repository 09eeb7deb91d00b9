//! What is noted of a sync: a line in the log, and an entry in the journal.

use std::time::Instant;

use common::protocol::{Cause, Entry, Failure, FailureKind, Outcome as Came, What};

use super::{Create, Engine, Outcome, Wish};
use crate::{
    mirrors::{journal, registry::Target},
    upstream::Trouble,
};

/// A sync that runs, until it is noted how it ended.
#[derive(Clone)]
pub(super) struct JournalEntry {
    target: Target,
    cause: Cause,
    /// What a mirror that there is not yet would be called.
    unborn: String,
    began: Instant,
}

impl JournalEntry {
    /// A sync that begins now.
    pub(super) fn begins(target: &Target, wish: &Wish) -> Self {
        let unborn = match &wish.create {
            Create::With(settings) => settings.name.clone(),
            Create::No | Create::Auto => target.url.mirror_name(),
        };
        Self {
            target: target.clone(),
            cause: wish.cause,
            unborn: unborn.to_string(),
            began: Instant::now(),
        }
    }

    /// What the mirror would be called that this sync makes.
    pub(super) fn name_of_new(&self) -> &str {
        &self.unborn
    }

    /// It has ended, and upstream sent so many bytes.
    pub(super) fn ended(self, engine: &Engine, bytes: u64, result: &Result<Outcome, Trouble>) {
        let (url, elapsed) = (&self.target.url, self.began.elapsed());
        let took = elapsed.as_millis();
        let (refs, outcome) = match result {
            Ok(Outcome::InStep {
                mirror,
                moved,
                changed,
                ..
            }) => {
                if bytes > 0 {
                    engine.usage.downloaded(&mirror.git_dir, bytes, elapsed);
                }
                tracing::info!("'{url}' in step after {took} ms");
                let outcome = match changed {
                    true => Came::InStep,
                    false => Came::Unchanged,
                };
                (*moved as u64, outcome)
            }
            // Not a sync of any mirror: who wanted it goes on to another.
            Ok(Outcome::Moved(to)) => return tracing::info!("'{url}' redirects to '{to}'"),
            Ok(Outcome::Gone) => return,
            Err(trouble) => {
                tracing::warn!("no sync of '{url}' after {took} ms: {}", trouble.failure);
                (0, failed(&trouble.failure))
            }
        };
        let milliseconds = u64::try_from(took).unwrap_or(u64::MAX);
        let mirror = match result {
            Ok(Outcome::InStep { mirror, .. }) => mirror.settings.name.to_string(),
            _ => name(engine, &self.target).unwrap_or(self.unborn),
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
        engine.journal.note(&self.target.git_dir, entry);
    }
}

/// What came of a sync that did not work.
fn failed(failure: &Failure) -> Came {
    match failure.kind {
        FailureKind::Cancelled => Came::Cancelled,
        _ => Came::Failed(failure.message.clone()),
    }
}

/// What the mirror is called, if there is one.
fn name(engine: &Engine, target: &Target) -> Option<String> {
    let found = engine.registry.mirror_at(&target.git_dir).ok()?;
    found.map(|mirror| mirror.settings.name.to_string())
}

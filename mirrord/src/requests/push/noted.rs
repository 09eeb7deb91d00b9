//! What the journal says of a push.

use std::{path::PathBuf, sync::Arc, time::Instant};

use common::protocol::{Cause, Entry, Outcome, What};

use crate::{
    mirrors::{journal, registry::Mirror},
    sync::Engine,
};

/// A push that is under way. Dropping it notes what has become of it, if anything has, so that one whose client vanishes is
/// noted as well.
pub(super) struct JournalEntry {
    engine: Arc<Engine>,
    git_dir: PathBuf,
    mirror: String,
    began: Instant,
    /// Bytes that it brought.
    pub bytes: u64,
    /// What would be said of it if it ended now.
    pub outcome: Option<Outcome>,
}

impl JournalEntry {
    /// A push that begins now.
    pub(super) fn begins(engine: &Arc<Engine>, mirror: &Mirror) -> Self {
        Self {
            engine: engine.clone(),
            git_dir: mirror.git_dir.clone(),
            mirror: mirror.settings.name.to_string(),
            began: Instant::now(),
            bytes: 0,
            outcome: None,
        }
    }

    /// It has ended.
    pub(super) fn ended(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for JournalEntry {
    fn drop(&mut self) {
        let Some(outcome) = self.outcome.take() else {
            return;
        };
        let refs = match &outcome {
            Outcome::Pushed { sent, kept, .. } => sent + kept,
            _ => 0,
        };
        let milliseconds = u64::try_from(self.began.elapsed().as_millis());
        let entry = Entry {
            at: journal::now(),
            mirror: std::mem::take(&mut self.mirror),
            what: What::Push,
            cause: Cause::Push,
            milliseconds: milliseconds.unwrap_or(u64::MAX),
            bytes: self.bytes,
            refs,
            outcome,
        };
        self.engine.journal.note(&self.git_dir, entry);
    }
}

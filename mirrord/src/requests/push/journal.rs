//! The journal entry of a push.

use std::{path::PathBuf, sync::Arc, time::Instant};

use common::protocol::{Cause, Entry, Outcome, What};

use crate::{
    mirrors::{journal, registry::Mirror},
    sync::Engine,
};

/// The journal entry of a push that is under way. Dropping it records its outcome, if it has one, so that a push whose
/// client vanishes is recorded as well.
pub(super) struct JournalEntry {
    engine: Arc<Engine>,
    git_dir: PathBuf,
    mirror: String,
    began: Instant,
    /// Bytes that the push has brought.
    pub bytes: u64,
    /// The outcome of the push if it ended now.
    pub outcome: Option<Outcome>,
}

impl JournalEntry {
    /// Begins the entry of a push that begins now.
    pub(super) fn begin(engine: &Arc<Engine>, mirror: &Mirror) -> Self {
        Self {
            engine: engine.clone(),
            git_dir: mirror.git_dir.clone(),
            mirror: mirror.settings.name.to_string(),
            began: Instant::now(),
            bytes: 0,
            outcome: None,
        }
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
        self.engine.journal.record(&self.git_dir, entry);
    }
}

//! What has happened to mirrors, and why.

use serde::{Deserialize, Serialize};

use super::Mirror;

/// Why a mirror is brought in step. The first of them goes first where not all can go at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// Somebody fetches.
    Fetch,
    /// Somebody pushes.
    Push,
    /// Somebody says so.
    Command,
    /// Upstream said that it has something new.
    Webhook,
    /// The schedule of the mirror.
    Schedule,
}

impl Cause {
    /// Whether somebody waits for it.
    #[must_use]
    pub fn is_awaited(self) -> bool {
        self < Self::Webhook
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fetch => "fetch",
            Self::Push => "push",
            Self::Command => "command",
            Self::Webhook => "webhook",
            Self::Schedule => "schedule",
        })
    }
}

/// The request for entries of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The only mirror whose entries are wanted; None for all.
    pub mirror: Option<Mirror>,
    /// The last so many alone.
    pub count: Option<u64>,
    /// Whether entries that are recorded from now on follow.
    pub follow: bool,
}

/// The journal's entry about one sync, push or removal that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// The name of the mirror at that time.
    pub mirror: String,
    /// The kind of event.
    pub what: What,
    /// Why it was done.
    pub cause: Cause,
    /// The duration.
    pub milliseconds: u64,
    /// Bytes of the pack that upstream sent, or that the push brought; those that a removal has given back to the disk.
    pub bytes: u64,
    /// The number of public refs that changed.
    pub refs: u64,
    /// The outcome.
    pub outcome: Outcome,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The mirror was brought in step with upstream.
    Sync,
    /// Somebody pushed.
    Push,
    /// The daemon removed the mirror.
    Removal,
    /// Packs of the mirror differed from what was verified.
    Repair,
}

/// What came of a sync, a push or a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The mirror has what upstream had, and was changed for that.
    InStep,
    /// The mirror had already what upstream had.
    Unchanged,
    /// A push has come to its end.
    Pushed {
        /// Refs that upstream took.
        sent: u64,
        /// Refs that stay in the mirror.
        kept: u64,
        /// Refs that were refused.
        refused: u64,
        /// Why the first ref was refused that was refused before upstream was asked.
        reason: Option<String>,
    },
    /// The sync or push failed, for this reason: one line without a secret.
    Failed(String),
    /// The sync or push was ended early: nobody waited for it any more, or the daemon stopped.
    Cancelled,
    /// The daemon removed the mirror, for this reason. Its next use makes it anew.
    Removed(String),
    /// Files of its packs that somebody else has changed were laid aside: one line.
    Replaced(String),
}

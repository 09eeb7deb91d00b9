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
    /// It is time.
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

/// What somebody wants to know of what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Of this mirror alone.
    pub mirror: Option<Mirror>,
    /// The last so many alone.
    pub count: Option<u64>,
    /// Also what happens from now on.
    pub follow: bool,
}

/// One sync, push or removal, when it has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it ended, in seconds since 1970.
    pub at: u64,
    /// What the mirror was called then.
    pub mirror: String,
    /// What it was.
    pub what: What,
    /// Why it was done.
    pub cause: Cause,
    /// How long it took.
    pub milliseconds: u64,
    /// Bytes of the pack that upstream sent, or that the push brought; those that a removal has given back to the disk.
    pub bytes: u64,
    /// How many public refs changed.
    pub refs: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What happened to a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It was brought in step with upstream.
    Sync,
    /// Somebody pushed.
    Push,
    /// It went by itself.
    Removal,
    /// Its packs were compared with what was verified, and some were not the same.
    Repair,
}

/// What came of a sync, a push or a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The mirror has what upstream had, and was changed for that.
    InStep,
    /// The mirror had it already.
    Unchanged,
    /// A push has come to its end.
    Pushed {
        /// Refs that upstream took.
        sent: u64,
        /// Refs that stay in the mirror.
        kept: u64,
        /// Refs that were refused.
        refused: u64,
        /// Why the first of those was that was refused before upstream was asked.
        reason: Option<String>,
    },
    /// It did not work, for this reason: one line, and no secret in it.
    Failed(String),
    /// It was ended early: nobody waited for it any more, or the daemon stopped.
    Cancelled,
    /// The mirror has gone by itself, for this reason: its next use makes it anew.
    Removed(String),
    /// Files of its packs that somebody else has changed were laid aside: one line.
    Replaced(String),
}

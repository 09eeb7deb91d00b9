//! What has happened to mirrors, and why.

use serde::{Deserialize, Serialize};

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

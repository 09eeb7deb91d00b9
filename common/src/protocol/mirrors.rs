//! What is said of mirrors, and of the daemon, by those who look after them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Credential, Fetch, Mirror};

/// A mirror to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add {
    /// Its upstream, and with what to ask it.
    pub fetch: Fetch,
    /// What it is to be called.
    pub name: String,
    /// Settings that differ from the defaults, as they are typed: key and value.
    pub settings: Vec<(String, String)>,
    /// What it is to sign in with.
    pub credential: Credential,
    /// Whether upstream must answer first.
    pub test: bool,
    /// Whether somebody sees the steps of that: then it looks at what no mirror needs, too.
    pub watched: bool,
    /// Whether to download it at once.
    pub sync: bool,
}

/// A change of a mirror's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Set {
    /// The mirror.
    pub mirror: Mirror,
    /// Its new upstream, canonical and without credentials.
    pub url: Option<String>,
    /// Settings, as they are typed: key and value.
    pub settings: Vec<(String, String)>,
    /// What it is to sign in with from now on.
    pub credential: Option<Credential>,
    /// Whether branches that are no longer tracked stay as local ones, where they would go to the history.
    pub keep: bool,
}

/// A past tip to be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// The mirror.
    pub mirror: Mirror,
    /// The ref, as typed: `main` or in full.
    pub name: Vec<u8>,
    /// Of when, or which, as typed: a time or an object; the latest when not given.
    pub at: Option<String>,
    /// The time where the person is, with its zone, as RFC 9557 writes it.
    pub now: String,
    /// The ref that it becomes, as typed; the same when not given.
    pub to: Option<Vec<u8>>,
}

/// What to do with the daemon's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Config {
    /// Say them all.
    List,
    /// Say one.
    Get(String),
    /// Set one: key and value, as typed.
    Set(String, String),
    /// Make one what it is by default.
    Unset(String),
}

/// One setting, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether nobody has set it.
    pub is_default: bool,
}

/// One mirror in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// What the list says of it.
    pub info: MirrorInfo,
    /// Its settings.
    pub settings: Vec<(String, String)>,
    /// What it does not show of upstream, and why, one line each.
    pub held: Vec<String>,
    /// How many branches and tags follow upstream.
    pub tracked: u64,
}

/// A branch or tag that is in the mirror alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRef {
    /// Its name.
    pub name: Vec<u8>,
    /// Its value, in hexadecimal.
    pub oid: String,
}

/// A value that a ref once had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Until when, in seconds since 1970.
    pub at: u64,
    /// The ref.
    pub name: Vec<u8>,
    /// The value, in hexadecimal.
    pub oid: String,
    /// What became of it: `rewritten`, `deleted`, `untracked`.
    pub why: String,
}

/// One mirror, as listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorInfo {
    /// Its name.
    pub name: String,
    /// Its upstream's canonical URL.
    pub url: String,
    /// Its bare repository.
    pub git_dir: PathBuf,
    /// When upstream was last seen to be what the mirror has, in seconds since 1970.
    pub synced: Option<u64>,
    /// Why the last sync of this daemon's life failed, when it did.
    pub failing: Option<String>,
    /// Whether that needs somebody: a credential was refused, or cannot be had.
    pub needs_you: bool,
    /// When the token that it signs in with expires, in seconds since 1970, when upstream has told.
    pub expires: Option<u64>,
    /// What it is for, in its owner's words.
    pub description: String,
    /// Whether a sync runs now.
    pub syncing: bool,
}

/// The daemon, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process id.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// Seconds since it started.
    pub uptime: u64,
    /// Its socket.
    pub socket: PathBuf,
    /// The folder of its mirrors.
    pub mirrors_dir: PathBuf,
    /// How many mirrors there are.
    pub mirrors: usize,
    /// Conversations that are open, this one aside.
    pub clients: usize,
    /// Clients that wait for a sync.
    pub waiting: usize,
    /// The upstreams with a running sync.
    pub syncing: Vec<String>,
    /// The mirrors that need somebody, and why: their credential was refused, or cannot be had.
    pub needs_you: Vec<(String, String)>,
    /// The mirrors of whose token it is known when it expires, and when: in seconds since 1970.
    pub tokens: Vec<(String, u64)>,
}

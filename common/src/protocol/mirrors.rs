//! What is said of mirrors, and of the daemon, by those who look after them.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Credential, Fetch, Mirror, Progress};

/// A mirror to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add {
    /// Its upstream, and with what to ask it.
    pub fetch: Fetch,
    /// The name of the mirror.
    pub name: String,
    /// Settings that differ from the defaults, as they are typed: key and value.
    pub settings: Vec<(String, String)>,
    /// The credential that the mirror is to sign in with.
    pub credential: Credential,
    /// Whether upstream must answer first.
    pub test: bool,
    /// Whether the client prints the steps of the test. Then the test also probes what no mirror needs.
    pub watched: bool,
    /// Whether to run the first sync at once.
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
    /// The credential that the mirror signs in with from now on.
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
    /// How it is.
    pub health: Health,
    /// Whether the next answer must be upstream's, however fresh the mirror is: a push may have reached it, or what is
    /// tracked has changed.
    pub in_doubt: bool,
    /// Its settings.
    pub settings: Vec<(String, String)>,
    /// The refs of upstream that the mirror does not show, and why, one line each.
    pub withheld: Vec<String>,
    /// How many branches and tags follow upstream.
    pub tracked: u64,
    /// For how long it stays without anybody using it, where it may go by itself.
    pub keep_unused: Option<Duration>,
}

/// A branch or tag that is in the mirror alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRef {
    /// The name of the mirror.
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
    /// What became of it: `rewritten`, `deleted`, `untracked`, `damaged`.
    pub why: String,
}

/// A mirror in a list of mirrors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MirrorInfo {
    /// Its name.
    pub name: String,
    /// The canonical URL of its upstream.
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
    /// The description that its owner gave it.
    pub description: String,
    /// Whether a sync runs now.
    pub syncing: bool,
}

/// A mirror whose first sync runs, for a first clone or for `mirrord add`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstClone {
    /// The name that the mirror will have.
    pub name: String,
    /// The canonical URL of its upstream.
    pub url: String,
    /// The progress of the sync.
    pub progress: Option<Progress>,
}

/// The state of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The mirror as in a list.
    pub info: MirrorInfo,
    /// Since when its syncs have failed, in seconds since 1970, when the last one did.
    pub behind: Option<u64>,
    /// The next scheduled sync.
    pub next: Option<Next>,
    /// The progress of the sync that runs.
    pub progress: Option<Progress>,
    /// The size of its objects on disk, in bytes.
    pub size: u64,
    /// The number of its local branches and tags.
    pub locals: u64,
    /// When somebody last used it, in seconds since 1970, when that is known.
    pub used: Option<u64>,
    /// Whether a clone of its URL has made it and nobody has changed anything since, so that it may go by itself.
    pub automatic: bool,
    /// The downloads that it saved.
    pub saved: Saved,
    /// The damage, until it is repaired.
    pub damage: Option<Damage>,
    /// Files of its packs that somebody else has changed of late, and that were replaced.
    pub changed_files: Vec<ChangedFile>,
}

/// A file of a mirror's packs that somebody else has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedFile {
    /// The name of the file, without the directory.
    pub name: String,
    /// When it was last changed, in seconds since 1970.
    pub at: u64,
}

/// The damage of a mirror, from when it is found until it is repaired.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Damage {
    /// The description of the damage.
    pub what: String,
    /// Whether upstream has been asked since then for all that it has.
    pub asked: bool,
    /// The refs of which something is lost that upstream did not have.
    pub lost: Vec<String>,
}

/// The downloads that a mirror saved its clones and fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Saved {
    /// The number of clones.
    pub clones: u64,
    /// The number of fetches.
    pub fetches: u64,
    /// The estimated bytes that upstream would have sent.
    pub bytes: u64,
    /// The time that these bytes would have taken at the speed of the mirror's largest download; None if it has made none.
    pub milliseconds: Option<u64>,
}

/// The next scheduled sync of a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// The time until it begins; None if it has begun, or does not begin before something changes.
    pub wait: Option<Duration>,
    /// Why it goes then, or does not.
    pub why: Why,
    /// Whether it has gone already.
    pub running: bool,
}

/// Why a mirror goes when it goes, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// The interval of the settings has passed.
    Interval,
    /// Upstream has said that it has something new.
    Webhook,
    /// The last sync failed, and is tried again.
    Retry,
    /// Upstream refused it; it is looked at again now and then.
    Refused,
    /// The host is not contacted for a while.
    HostRests,
    /// A person has to do something first.
    NeedsYou,
    /// The settings say never.
    Never,
}

/// The daemon, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The process id of the daemon.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// Seconds since it started.
    pub uptime: u64,
    /// The path of the daemon's socket.
    pub socket: PathBuf,
    /// The folder of its mirrors.
    pub mirrors_dir: PathBuf,
    /// The number of mirrors.
    pub mirrors: usize,
    /// Conversations that are open, this one aside.
    pub clients: usize,
    /// Clients that wait for a sync.
    pub waiting: usize,
    /// The upstreams with a running sync.
    pub syncing: Vec<String>,
    /// The mirrors whose first sync runs.
    pub first_clones: Vec<FirstClone>,
    /// The address of the webhook, or why it does not listen; None while it is off.
    pub webhook: Option<String>,
    /// The limit of the size of all mirrors on disk, in bytes, if there is one.
    pub disk_budget: Option<u64>,
}

//! Every message that crosses the socket, and the version of them all.
//!
//! One conversation per connection: the client sends one [`Request`], the daemon sends [`Reply`]s until a final one.
//! Where a reply asks something, the client sends one [`Answer`] on the same connection. Adding or changing a variant
//! anywhere in this file is a new [`VERSION`].

use std::{fmt, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::name::Name;
pub use crate::standing::Standing;

/// The version of everything below. It is exchanged before any message, so that two builds which differ can say so.
pub const VERSION: u16 = 2;

/// What a client may ask; the first message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Bring a mirror in line with upstream and say where it is. Answered by any number of [`Reply::Progress`],
    /// [`Reply::Ask`], [`Reply::LoginAccepted`] and [`Reply::LoginRefused`], then [`Reply::Ready`] or [`Reply::Failed`].
    /// The connection is the lease: the client keeps it open for as long as it reads the mirror.
    Fetch(Fetch),
    /// Bring a mirror in line with upstream and open a push to it. Answered as [`Request::Fetch`] is, with
    /// [`Reply::Open`] for [`Reply::Ready`] and never with a stale answer. The push is open for as long as the
    /// connection is.
    Push(Fetch),
    /// Carry out an open push: the client sends [`Answer::Commands`] batches, the last one empty, and hears where each
    /// goes in [`Reply::Routed`] batches, the last one empty. Refs that go upstream are then reserved until the client
    /// has sent what upstream accepted, in [`Answer::Accepted`] batches, the last one empty. Answered by
    /// [`Reply::Settled`] or [`Reply::Failed`].
    Reserve(Reserve),
    /// Give the login registered under a one-time id. Answered by [`Reply::Login`] or [`Reply::Failed`].
    Login {
        /// The id; it is good for one use.
        id: String,
        /// The scheme, host and port for which git wants it: `https://host:port`.
        origin: String,
    },
    /// List the mirrors. Answered by [`Reply::Mirrors`] batches, then [`Reply::Done`].
    List,
    /// Say how the daemon is. Answered by [`Reply::Status`].
    Status,
    /// Stop in order. Answered by [`Reply::Done`] at once; the connection closes when the daemon has stopped.
    Stop,
}

/// The fetch of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The mirror: a canonical upstream URL without credentials, or a name.
    pub mirror: Mirror,
    /// The login that was part of the URL, for this request only.
    pub login: Option<Login>,
    /// The user name that was part of the URL without a password: whoever is asked is asked for that one's.
    pub username: Option<String>,
    /// What git would read where the user stands.
    pub standing: Standing,
    /// The transports that git's own rules allow where the user stands (`protocol.<name>.allow`).
    pub transports: Vec<String>,
    /// The user's word on stale answers (`MIRROR_STALE`); `None` leaves it to the mirror.
    pub stale: Option<Stale>,
}

/// What a push asks before anything is sent to upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// The id of the open push, from [`Open`].
    pub id: String,
    /// Whether all of it is wanted or nothing.
    pub atomic: bool,
    /// Whether some of its commands were refused before they came here.
    pub incomplete: bool,
}

/// One ref that a push changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The name under which the client sees it.
    pub name: Vec<u8>,
    /// The value that the client saw, in hexadecimal; `None` when it saw none.
    pub old: Option<String>,
    /// The value that it is to get; `None` deletes it.
    pub new: Option<String>,
}

/// Where one command of a push goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// To upstream.
    Upstream {
        /// Its name there.
        name: Vec<u8>,
        /// The value that it must have there.
        lease: Lease,
    },
    /// Nowhere, for this reason.
    Refused(String),
}

/// The value that a ref must have at upstream, or else a push does not touch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lease {
    /// Any: the mirror does not keep this ref, and upstream's own rules decide.
    None,
    /// It must not exist.
    Absent,
    /// This one, in hexadecimal.
    Value(String),
}

/// How a mirror is named by a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mirror {
    /// By its upstream, in canonical form; made when it does not exist.
    Url(String),
    /// By its name; it must exist.
    Name(Name),
}

/// A user name and, when known, a password or token. Its `Debug` shows neither.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Login {
    /// The user name; empty when upstream does not care.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// Whether an answer that could not be checked is better than none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stale {
    /// Serve what is here, with its age on stderr.
    Serve,
    /// Fail.
    Fail,
}

/// What the daemon says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Something moved, or nothing did for a while; never final.
    Progress(Progress),
    /// A question to the person; the client sends an [`Answer`].
    Ask(Ask),
    /// Upstream took the login that this client answered with.
    LoginAccepted,
    /// Upstream refused the login that this client answered with.
    LoginRefused,
    /// The mirror is there to be read; final for the daemon, the client may stay.
    Ready(Ready),
    /// A push can begin; final for the daemon, the client stays.
    Open(Open),
    /// Where commands of a push go, in the order in which they were sent.
    Routed(Vec<Route>),
    /// The mirror has what upstream accepted, and keeps it; what the person should know, one line each. Final.
    Settled(Vec<String>),
    /// It did not work, and why; final.
    Failed(Failure),
    /// The login asked for with [`Request::Login`]; final.
    Login(Login),
    /// Some of the mirrors; more follow until [`Reply::Done`].
    Mirrors(Vec<MirrorInfo>),
    /// The daemon's state; final.
    Status(Status),
    /// Nothing more to say; final.
    Done,
}

/// What a client says when asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The login for [`Ask::Login`].
    Login(Login),
    /// Nobody and nothing here knows.
    Nothing,
    /// Some commands of a push.
    Commands(Vec<Command>),
    /// Some commands that upstream accepted, by their places in the order in which they were sent.
    Accepted(Vec<u32>),
}

/// A question that only the client's side can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// A login for an http upstream, as `git credential fill` finds it.
    Login {
        /// The upstream's URL, without credentials.
        url: String,
        /// The user name that was part of the URL.
        username: Option<String>,
        /// Upstream's `WWW-Authenticate` headers, which some credential helpers look at.
        challenges: Vec<String>,
    },
}

/// How far a sync is. Amounts are totals so far, so that a lost message loses nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Waiting for an answer of upstream.
    Asking {
        /// Who is asked.
        host: String,
        /// For how long already.
        seconds: u32,
    },
    /// Upstream's own words, raw as they came, lines in pieces.
    Remote(Vec<u8>),
    /// Objects are coming in.
    Receiving(Amount, /** Bytes so far. */ u64),
    /// Deltas are being resolved.
    Resolving(Amount),
    /// What came is being checked.
    Checking,
}

/// So much of so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Amount {
    /// How many so far.
    pub done: u64,
    /// How many there are; 0 while unknown.
    pub of: u64,
}

/// Where a mirror is, and what can be said of its freshness.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The bare repository.
    pub git_dir: PathBuf,
    /// The upstream's URL, without credentials.
    pub url: String,
    /// Set when upstream could not be asked: the answer is of this age, for this reason.
    pub stale: Option<Aged>,
    /// Things that the person should know, one line each.
    pub warnings: Vec<String>,
}

/// An open push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The mirror, which is fresh.
    pub ready: Ready,
    /// The id to carry it out with.
    pub id: String,
    /// Where what the client sends is kept apart until upstream has accepted it: an object directory.
    pub quarantine: PathBuf,
    /// The login that upstream took, to be fetched by one child.
    pub login: Option<OfferedLogin>,
}

/// A login that waits for [`Request::Login`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedLogin {
    /// Its one-time id.
    pub id: String,
    /// Whether it stood in the URL: then it is for this request alone, and nobody else is asked or told.
    pub typed: bool,
}

/// An answer that is not fresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aged {
    /// Seconds since upstream was last seen to be what the mirror has; `None` when nobody knows any more.
    pub seconds: Option<u64>,
    /// Why upstream could not be asked.
    pub reason: String,
}

/// Why something did not work, in git's voice: lower case, no full stop, no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure, for those who decide by it.
    pub kind: FailureKind,
    /// What failed, subject in single quotes, the cause after a colon.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// The kinds of failure between which somebody decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// Upstream could not be reached or was not able to answer; it may be later.
    Unreachable,
    /// Upstream wants a login that we do not have (401).
    LoginNeeded,
    /// Upstream answered no: refused login, no permission, no such project, moved.
    Refused,
    /// What upstream sent is wrong: incomplete, corrupt, not git.
    Unusable,
    /// Something on this machine: disk, permissions, a missing program.
    Here,
    /// Stopped on purpose: nobody waits for it any more, or the daemon stops.
    Cancelled,
}

impl Failure {
    /// A failure without a hint.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// The same failure with something to do about it.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The system refused something on this machine.
    #[must_use]
    pub fn io(what: &str, error: &io::Error) -> Self {
        Self::here(format!("{what}: {}", words(error)))
    }

    /// Something on this machine went wrong.
    #[must_use]
    pub fn here(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Here, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The system's words for an error, in git's voice: without Rust's number behind them.
#[must_use]
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
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
}

//! Every message that crosses the socket, and the version of them all.
//!
//! One conversation per connection: the client sends one [`Opening`], the daemon sends [`Reply`]s until a final one.
//! Where a reply asks something, the client sends one [`Answer`] on the same connection. Adding or changing a variant
//! anywhere in this file or below it is a new [`VERSION`].

mod credential;
mod failure;
mod fetch;
mod journal;
mod mirrors;
mod push;
mod request_id;
mod test;
mod webhook;
pub mod wire;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::{
    credential::{
        Credential, FilledLogin, LOGIN_ID, Login, OneTimeId, QUESTION_ID, Secret, SignIn,
    },
    failure::{Failure, FailureKind, OrFailure},
    fetch::{Aged, Amount, ClientContext, Fetch, Lack, Mirror, Progress, Ready, Stale},
    journal::{Cause, Entry, Log, Outcome, What},
    mirrors::{
        Add, ChangedFile, Config, Damage, FirstClone, Health, LocalRef, MirrorInfo, Next, Past,
        Restore, Saved, Set, Setting, Shown, Status, Why,
    },
    push::{CarryOutPush, Command, Lease, Open, ProxySignIn, Route, SendPush},
    request_id::{REQUEST_ID, RequestId},
    test::{Check, Step, Test, Verdict},
    webhook::{AtGitLab, Delivery, Found, Hook, Listen, Webhook, WebhookReply},
};
use crate::address::redact;

/// The reason that git gives for the refs of an atomic push that were not refused themselves (`atomic_push_failure`).
pub const ATOMIC_PUSH_FAILURE: &str = "atomic push failure";

/// The version of everything below. It is exchanged before any message, so that two builds which differ can say so.
pub const VERSION: u16 = 12;

/// The first message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The id that both sides log with what they do for the request.
    pub id: RequestId,
    /// The request.
    pub request: Request,
}

/// The requests of clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Bring a mirror in line with upstream and say where it is. Answered by any number of [`Reply::Progress`],
    /// [`Reply::Ask`], [`Reply::LoginAccepted`] and [`Reply::LoginRefused`], then [`Reply::Ready`] or [`Reply::Failed`].
    /// The connection is the lease: the client keeps it open for as long as it reads the mirror.
    Fetch(Fetch),
    /// Look through the mirror in this directory before anybody reads it again: git has complained of its objects.
    /// Answered by [`Reply::Done`].
    CheckObjects(PathBuf),
    /// Say whether a part of it that somebody wants is to come straight from upstream: because there is no such mirror yet,
    /// and the settings want it so. Answered by [`Reply::PassesThrough`] or [`Reply::Failed`]; for a name that no mirror has
    /// with [`FailureKind::NoMirror`].
    PassesThrough(Mirror),
    /// Make a mirror for which nobody waits, nobody can be asked, and of which nobody hears. Answered by [`Reply::Done`].
    Download(Fetch),
    /// Bring a mirror in line with upstream and open a push to it. Answered as [`Request::Fetch`] is, with
    /// [`Reply::Open`] for [`Reply::Ready`]. Where upstream could not be asked, nothing will go there. The push is open
    /// for as long as the connection is.
    Push(Fetch),
    /// Carry out an open push: the client sends [`Answer::Commands`] batches, the last one empty, and hears where each
    /// goes in [`Reply::Routed`] batches, and in the end in [`Reply::Reserved`]. The refs are then reserved until the
    /// client has sent [`Answer::Accepted`] batches, the last one empty, of what upstream accepted and what stays in the
    /// mirror. Answered by [`Reply::Settled`] or [`Reply::Failed`].
    CarryOutPush(CarryOutPush),
    /// Send an open push to an upstream on the web, over the daemon's connection. Answered by [`Reply::Capabilities`], or by
    /// upstream's advertisement in [`Reply::Bytes`], the last one empty. Then the client sends git's request in
    /// [`Answer::Bytes`], the last one empty, and hears upstream's answer in [`Reply::Bytes`], the last one empty. Answered
    /// by [`Reply::NotTaken`] at any time where upstream certainly has nothing of it, by [`Reply::Failed`] where it may have
    /// it.
    SendPush(SendPush),
    /// Give the login that waits under a one-time id. Answered by [`Reply::Login`] or [`Reply::Failed`].
    Login {
        /// The id; it is good for one use.
        id: OneTimeId,
        /// The push that it is for, when it is for one.
        push: Option<String>,
        /// The scheme, host and port for which git wants it: `https://host:port`.
        origin: String,
    },
    /// Reports whether upstream accepted the login that was given for this id. Answered by [`Reply::Done`].
    LoginTried {
        /// The id.
        id: OneTimeId,
        /// Whether upstream took it.
        accepted: bool,
    },
    /// Put a question of ssh's to whoever waits for it, or answer it with what waits under this id. Answered by
    /// [`Reply::Answer`] or [`Reply::Failed`].
    Question {
        /// The id that the ssh was given.
        id: OneTimeId,
        /// The push that it is for, when it is for one.
        push: Option<String>,
        /// The question, as ssh would print it.
        prompt: String,
    },
    /// Make a mirror with a name. Answered as [`Request::Test`] is, with [`Reply::Added`] for [`Reply::Tested`].
    Add(Add),
    /// Try out an upstream, and change nothing. Answered as [`Request::Fetch`] is, with a [`Reply::Step`] for each step as
    /// it is done, and [`Reply::Tested`] for [`Reply::Ready`]; with [`Reply::Failed`] where it could not begin.
    Test(Test),
    /// Bring a mirror in line with upstream, however fresh it is. Answered as [`Request::Fetch`] is, with
    /// [`Reply::Synced`] for [`Reply::Ready`] and never with a stale answer.
    Sync(Fetch),
    /// Take upstream as it is now, however empty or other it looks. Answered as [`Request::Sync`] is.
    Accept(Fetch),
    /// Change settings. Answered by any number of [`Reply::Progress`], then [`Reply::Changed`] or [`Reply::Failed`].
    Set(Set),
    /// Say all of one mirror. Answered by [`Reply::Shown`], [`Reply::Locals`] batches and [`Reply::Done`], or
    /// [`Reply::Failed`].
    Show(Mirror),
    /// Call a mirror something else. Answered by any number of [`Reply::Progress`], then [`Reply::Changed`] or [`Reply::Failed`].
    Rename(
        /** What it is called. */ Mirror,
        /** Its new name. */ String,
    ),
    /// Remove a mirror. Answered by any number of [`Reply::Progress`], then [`Reply::Removed`]; where local branches are
    /// in the way by [`Reply::Locals`] batches and [`Reply::Failed`].
    Remove {
        /// The mirror.
        mirror: Mirror,
        /// Whether a mirror with local branches is removed, too.
        force: bool,
    },
    /// Say what the refs of a mirror, or one of them, once were. Answered by [`Reply::Past`] batches, newest first, and
    /// [`Reply::Done`], or [`Reply::Failed`].
    History(Mirror, Option<Vec<u8>>),
    /// Bring back what a ref once was. Answered by any number of [`Reply::Progress`], then [`Reply::Restored`] or [`Reply::Failed`].
    Restore(Restore),
    /// Say or change the daemon's own settings. Answered by [`Reply::Settings`] or [`Reply::Failed`].
    Config(Config),
    /// Do something with the webhook. Answered by any number of [`Reply::Progress`], then [`Reply::Webhook`] or
    /// [`Reply::Failed`].
    Webhook(Webhook),
    /// List the mirrors. Answered by [`Reply::Mirrors`] batches, [`Reply::FirstClones`] and [`Reply::Done`].
    List,
    /// Say how the daemon and its mirrors are. Answered by [`Reply::Status`], [`Reply::Healths`] batches and
    /// [`Reply::Done`].
    Status,
    /// Say what syncs and pushes did. Answered by [`Reply::Entries`] batches, oldest first, and [`Reply::Done`], or
    /// [`Reply::Failed`]. Who follows hears of more until the daemon stops, with [`Reply::Progress`] and
    /// [`Reply::Missed`] in between.
    Log(Log),
    /// Stop in order. Answered by [`Reply::Done`] at once; the connection closes when the daemon has stopped.
    Stop,
}

impl Request {
    /// The request as the log names it: what is asked for, and of which mirror.
    #[must_use]
    pub fn title(&self) -> String {
        let of = |what: &str, mirror: &Mirror| match mirror {
            Mirror::Url(url) => format!("{what} of '{}'", redact(url)),
            Mirror::Name(name) => format!("{what} of '{name}'"),
        };
        match self {
            Self::Fetch(fetch) => of("fetch", &fetch.mirror),
            Self::CheckObjects(git_dir) => format!("check of '{}'", git_dir.display()),
            Self::PassesThrough(mirror) => of("question for a pass-through", mirror),
            Self::Download(fetch) => of("first sync", &fetch.mirror),
            Self::Push(fetch) => of("push", &fetch.mirror),
            Self::CarryOutPush(_) => "reservation of a push".to_owned(),
            Self::SendPush(_) => "sending of a push".to_owned(),
            Self::Login { origin, .. } => format!("login for '{origin}'"),
            Self::LoginTried { .. } => "outcome of a login".to_owned(),
            Self::Question { .. } => "question of ssh".to_owned(),
            Self::Add(_) => "add".to_owned(),
            Self::Test(_) => "test".to_owned(),
            Self::Sync(fetch) => of("sync", &fetch.mirror),
            Self::Accept(fetch) => of("accept", &fetch.mirror),
            Self::Set(_) => "change of settings".to_owned(),
            Self::Show(mirror) => of("show", mirror),
            Self::Rename(mirror, _) => of("rename", mirror),
            Self::Remove { mirror, .. } => of("removal", mirror),
            Self::History(mirror, _) => of("history", mirror),
            Self::Restore(_) => "restore".to_owned(),
            Self::Config(_) => "config".to_owned(),
            Self::Webhook(_) => "webhook".to_owned(),
            Self::List => "list".to_owned(),
            Self::Status => "status".to_owned(),
            Self::Log(_) => "log".to_owned(),
            Self::Stop => "stop".to_owned(),
        }
    }
}

/// The replies of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Something moved, or nothing did for a while; never final.
    Progress(Progress),
    /// A question to the person; the client sends an [`Answer`].
    Ask(Ask),
    /// The login was taken that this client has answered with.
    LoginAccepted {
        /// The URL in the question.
        url: String,
    },
    /// The login was refused that this client has answered with.
    LoginRefused {
        /// The URL in the question.
        url: String,
        /// The `WWW-Authenticate` headers of the refusal.
        challenges: Vec<String>,
    },
    /// The mirror is there to be read; final for the daemon, the client may stay.
    Ready(Ready),
    /// The answer to [`Request::PassesThrough`]; final.
    PassesThrough(bool),
    /// A push can begin; final for the daemon, the client stays.
    Open(Open),
    /// The routes of the commands of a push, in the order in which these were sent.
    Routed(Vec<Route>),
    /// All commands of a push have been routed, and their refs are reserved.
    Reserved {
        /// Whether upstream is to take all or nothing.
        atomic: bool,
        /// The name of the mirror.
        name: String,
    },
    /// What upstream's `git receive-pack` can do, as it advertised it last.
    Capabilities(Vec<u8>),
    /// A part of what upstream sends, as it came.
    Bytes(Vec<u8>),
    /// Upstream has nothing of the push: it refuses it for this reason, or, without a reason, the client's git is to send it
    /// itself; final.
    NotTaken(Option<Failure>),
    /// The mirror has what upstream accepted and what stays here, and keeps it; what the person should know, one line
    /// each. Final.
    Settled(Vec<String>),
    /// The request failed; final.
    Failed(Failure),
    /// The login asked for with [`Request::Login`]; final.
    Login(Login),
    /// The answer to [`Request::Question`]; final.
    Answer(Secret),
    /// Some of the mirrors; more follow until [`Reply::Done`].
    Mirrors(Vec<MirrorInfo>),
    /// A mirror is in step; final.
    Synced {
        /// The name of the mirror.
        name: String,
        /// The number of refs that changed.
        changed: u64,
        /// Warnings for the person, one line each.
        warnings: Vec<String>,
    },
    /// A step of a test is done; never final.
    Step(Step),
    /// A test has come to its end; final.
    Tested {
        /// Whether a mirror would work.
        works: bool,
        /// The upstream: what was typed may have been redirected.
        url: String,
    },
    /// There is a mirror; final.
    Added {
        /// The name of the mirror.
        name: String,
        /// The URL of its upstream, which may differ from the typed one after a redirect.
        url: String,
        /// Warnings for the person, one line each.
        warnings: Vec<String>,
    },
    /// The mirror has the new settings; final.
    Changed {
        /// The name of the mirror.
        name: String,
        /// Warnings for the person, one line each.
        warnings: Vec<String>,
    },
    /// One mirror.
    Shown(Box<Shown>),
    /// Some branches and tags that are in the mirror alone.
    Locals(Vec<LocalRef>),
    /// A mirror is gone. Final.
    Removed {
        /// The bundle of its local branches, if it had any.
        bundle: Option<PathBuf>,
        /// Warnings for the person.
        warnings: Vec<String>,
    },
    /// Some past tips; more follow until [`Reply::Done`].
    Past(Vec<Past>),
    /// A past tip is back; final.
    Restored {
        /// The value that was restored.
        past: Past,
        /// The ref that it is now.
        name: Vec<u8>,
        /// How to restore the ref at upstream, too, if the person may want that.
        hint: Option<String>,
    },
    /// Some of what syncs and pushes did; more follow until [`Reply::Done`].
    Entries(Vec<Entry>),
    /// The number of entries that were left out, of whatever mirrors, because this client was too slow; never final.
    Missed(u64),
    /// The daemon's own settings; final.
    Settings(Vec<Setting>),
    /// The answer to a request about the webhook; final.
    Webhook(WebhookReply),
    /// Mirrors whose first sync runs; more follow until [`Reply::Done`].
    FirstClones(Vec<FirstClone>),
    /// The daemon's state.
    Status(Status),
    /// The states of some mirrors; more follow until [`Reply::Done`].
    Healths(Vec<Health>),
    /// The end of the replies; final.
    Done,
}

impl Reply {
    /// The reply as the log names it, where it is one that ends what the client waits for.
    #[must_use]
    pub fn outcome(&self) -> Option<String> {
        Some(match self {
            Self::Progress(_)
            | Self::Ask(_)
            | Self::Step(_)
            | Self::Missed(_)
            | Self::Bytes(_)
            | Self::Capabilities(_) => return None,
            Self::NotTaken(_) => "not taken".to_owned(),
            Self::LoginAccepted { .. } => "login accepted".to_owned(),
            Self::LoginRefused { .. } => "login refused".to_owned(),
            Self::Ready(ready) | Self::Open(Open { ready, .. }) => match &ready.stale {
                Some(aged) => format!("stale, {}", aged.reason),
                None => "in step".to_owned(),
            },
            Self::Failed(failure) => format!("failed, {failure}"),
            Self::PassesThrough(true) => "passes through".to_owned(),
            Self::PassesThrough(false) => "does not pass through".to_owned(),
            Self::Synced { changed, .. } => format!("in step, {changed} refs changed"),
            _ => "done".to_owned(),
        })
    }
}

/// The answers of a client to questions of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The login for [`Ask::Login`].
    Login(FilledLogin),
    /// The answer to [`Ask::Question`].
    Text(Secret),
    /// No person and no program knows the answer; the reason, if git gave one.
    Nothing(Option<String>),
    /// Some commands of a push.
    Commands(Vec<Command>),
    /// Some commands that upstream accepted, or that stay here, by their places in the order in which they were sent.
    Accepted(Vec<u32>),
    /// A part of git's request to upstream.
    Bytes(Vec<u8>),
}

/// A question that only the client's side can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// A login for an http upstream, as `git credential fill` finds it.
    Login {
        /// The URL of the upstream or the proxy, without credentials.
        url: String,
        /// The user name that was part of the URL.
        username: Option<Secret>,
        /// The `WWW-Authenticate` headers, which some credential helpers look at.
        challenges: Vec<String>,
        /// Whether the URL is that of a proxy, for which git's http client does not look into `~/.netrc`.
        is_proxy: bool,
    },
    /// A question of ssh: for a passphrase, or whether a host key is right.
    Question {
        /// The question, as ssh would print it.
        prompt: String,
        /// Whether the answer may be seen while it is typed.
        echo: bool,
    },
}

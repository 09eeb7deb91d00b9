//! Talks to upstream: asks what it has, and receives what is missing into a quarantine. No ref is written here.
//!
//! gix's lower layer does the protocol. What it cannot speak to (old servers, sign-in by Kerberos, client
//! certificates) goes through `git fetch`, to the same end. All of it is blocking code that a [`Watch`](crate::process::watch::Watch) can cancel.

mod access;
mod advertised;
mod answers;
mod child;
mod fallback;
mod hooks_api;
mod http;
mod local;
mod one_time_logins;
mod probe;
mod session;
mod sideband;
mod ssh;
mod token_expiry;
mod trials;
mod v2;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use common::{
    address::upstream_url::UpstreamUrl,
    paths::Paths,
    protocol::{Failure, FailureKind},
};

pub(crate) use self::{
    access::Access,
    advertised::Advertised,
    answers::server_message::moved_to,
    hooks_api::{ProjectHook, ProjectHooks},
    one_time_logins::OneTimeLogins,
    probe::{Probe, Reading, Unread},
    session::Session,
    token_expiry::TokenExpiry,
    trials::Trials,
};
use crate::process::questions::Questions;

/// A failure, with what those who deal with it here need beside its words.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// What the person is told.
    pub failure: Failure,
    /// Upstream's `WWW-Authenticate` headers, when it wants a login.
    pub challenges: Vec<String>,
    /// Upstream refused the login that it was given.
    pub login_refused: bool,
    /// Upstream refused the ssh key that it was given.
    pub key_refused: bool,
    /// It was not even asked: it has said the same too often.
    pub known_refusal: bool,
    /// Upstream gave no answer for as long as it was waited for.
    pub no_answer: bool,
    /// On a kept session: it may have gone stale, and a new one may do better.
    pub retry_on_new_session: bool,
    /// Where upstream says that it is now.
    pub moved_to: Option<Box<UpstreamUrl>>,
    /// For how long upstream wants to be left alone, when it says so: by everybody, whatever they want. An hour at most.
    pub retry_after: Option<Duration>,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            challenges: Vec::new(),
            login_refused: false,
            key_refused: false,
            known_refusal: false,
            no_answer: false,
            retry_on_new_session: false,
            moved_to: None,
            retry_after: None,
        }
    }
}

impl Trouble {
    /// Whether it needs somebody: a credential was refused, or cannot be had.
    pub(crate) fn needs_you(&self) -> bool {
        self.login_refused || self.key_refused || self.failure.kind == FailureKind::LoginNeeded
    }

    /// Whether upstream takes nothing but a Kerberos ticket, which signs in without asking anybody.
    fn wants_ticket(&self) -> bool {
        let negotiate = |line: &String| line.to_ascii_lowercase().starts_with("negotiate");
        !self.challenges.is_empty() && self.challenges.iter().all(negotiate)
    }
}

/// What all conversations with upstreams share.
pub(crate) struct Upstreams {
    /// OneTimeLogins that are refused.
    pub trials: Trials,
    clients: http::Clients,
    /// What speaks ssh.
    pub ssh: ssh::Ssh,
    /// OneTimeLogins on their way to a child of ours.
    pub logins: Arc<OneTimeLogins>,
    /// The directory of the settings of children.
    child_settings: PathBuf,
    /// What children of ours want to know.
    pub questions: Arc<Questions>,
}

impl Upstreams {
    /// With what lies in these places.
    pub(crate) fn new(paths: &Paths) -> Self {
        let questions = Arc::<Questions>::default();
        let child_settings = paths.child_settings();
        // What a daemon before left there belongs to no child any more. It is made again for whoever needs it.
        let _ = fs::remove_dir_all(&child_settings);
        Self {
            child_settings,
            trials: Trials::new(paths.refused()),
            clients: http::Clients::default(),
            ssh: ssh::Ssh::new(paths.ssh(), paths.ssh_configurations(), questions.clone()),
            logins: Arc::default(),
            questions,
        }
    }

    /// Asks when the token expires that an access signs in with.
    pub(crate) async fn token_expiry(&self, url: &UpstreamUrl, access: &Access) -> TokenExpiry {
        token_expiry::ask(&self.clients, url, access).await
    }

    /// Ends every connection that would outlive this process. Blocks until they have ended.
    pub(crate) fn end(&self) {
        self.ssh.end();
    }
}

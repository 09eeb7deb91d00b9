//! Talks to upstreams: lists the refs of one, and fetches a pack of what is missing into a quarantine. No ref is written
//! here. A sync begins at [`session`], `mirrord test` at [`probe`].
//!
//! gix's lower layer does the protocol. What it cannot speak to (old servers, sign-in by Kerberos, client
//! certificates) goes through `git fetch`, to the same end. All of it is blocking code that a [`Watch`] can cancel.

mod access;
mod advertised;
mod answers;
mod child;
mod fallback;
mod hooks_api;
mod http;
mod http_settings;
mod local;
mod one_time_logins;
mod probe;
mod proxy;
mod push_capabilities;
mod session;
mod sideband;
mod ssh;
mod token_expiry;
mod trials;
mod v2;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    paths::Paths,
    protocol::{Failure, FailureKind},
};

use tokio::sync::broadcast;

pub(crate) use self::{
    access::Access,
    advertised::Advertised,
    answers::server_message::moved_to,
    hooks_api::{ProjectHook, ProjectHooks},
    http::{Beginning, ReceivePack, Unanswered},
    http_settings::ProactiveAuth,
    one_time_logins::OneTimeLogins,
    probe::{Probe, Reading, Unread},
    proxy::ProxyQuestion,
    push_capabilities::Known,
    session::Session,
    token_expiry::TokenExpiry,
    trials::Trials,
    v2::PackRequest,
};
use crate::process::{questions::Questions, watch::Watch};

/// A failure, with what the daemon needs to know beside the message.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    /// The message and hint for the person.
    pub failure: Box<Failure>,
    /// Upstream's `WWW-Authenticate` headers, when it wants a login.
    pub challenges: Vec<String>,
    /// Upstream refused the login that it was given.
    pub login_refused: bool,
    /// The proxy before upstream wants a login, or refused the one that it was given.
    pub proxy_refused: bool,
    /// The URL that has answered, where upstream redirected to it.
    pub asked_at: Option<Box<UpstreamUrl>>,
    /// Upstream refused the ssh key that it was given.
    pub key_refused: bool,
    /// Upstream was not asked: it has refused this login too often.
    pub known_refusal: bool,
    /// Upstream gave no answer before the time-out.
    pub no_answer: bool,
    /// The session may have gone stale: a kept one is opened anew, and asked once more.
    pub retry_on_new_session: bool,
    /// Where upstream says that it is now.
    pub moved_to: Option<Box<UpstreamUrl>>,
    /// The time for which upstream wants no request (`Retry-After`), an hour at most. It holds for all mirrors of the host.
    pub retry_after: Option<Duration>,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self {
            failure: Box::new(failure),
            challenges: Vec::new(),
            login_refused: false,
            proxy_refused: false,
            asked_at: None,
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
    /// Whether a person has to act: a credential was refused, or cannot be had.
    pub(crate) fn needs_you(&self) -> bool {
        self.login_refused || self.key_refused || self.failure.kind == FailureKind::LoginNeeded
    }

    /// Whether upstream offers no way to sign in but Kerberos, which asks nobody.
    fn wants_kerberos(&self) -> bool {
        !self.challenges.is_empty() && self.challenges.iter().all(|line| is_of(line, "negotiate"))
    }

    /// Whether upstream refused a name and a password as we send them, and takes them in another way that git knows.
    fn wants_digest(&self) -> bool {
        let offers = |scheme: &str| self.challenges.iter().any(|line| is_of(line, scheme));
        self.login_refused && !offers("basic") && (offers("digest") || offers("ntlm"))
    }
}

/// Whether a challenge is of a scheme, given in lower case.
fn is_of(challenge: &str, scheme: &str) -> bool {
    let word = challenge.split([' ', ',']).next().unwrap_or_default();
    word.eq_ignore_ascii_case(scheme)
}

/// The state that all sessions with upstreams share.
pub(crate) struct Upstreams {
    /// Refused logins, and how often each may be tried.
    pub trials: Trials,
    clients: http::Clients,
    /// What can be pushed to upstreams on the web, and how.
    pub push_capabilities: push_capabilities::PushCapabilities,
    /// The ssh that is run for upstreams.
    pub ssh: ssh::Ssh,
    /// Logins that wait for a child of ours to ask for them.
    pub logins: Arc<OneTimeLogins>,
    /// The directory of configuration files for children.
    child_settings: PathBuf,
    /// Questions that children of ours may ask.
    pub questions: Arc<Questions>,
}

impl Upstreams {
    /// Reads the record of refused logins, and ends what an earlier daemon has left.
    pub(crate) fn new(paths: &Paths) -> Self {
        let questions = Arc::<Questions>::default();
        let child_settings = paths.child_settings();
        // A daemon that was killed may have left files there. The directory is made again when it is needed.
        let _ = fs::remove_dir_all(&child_settings);
        Self {
            child_settings,
            trials: Trials::new(paths.refused()),
            clients: http::Clients::default(),
            push_capabilities: push_capabilities::PushCapabilities::default(),
            ssh: ssh::Ssh::new(paths.ssh(), paths.ssh_configurations(), questions.clone()),
            logins: Arc::default(),
            questions,
        }
    }

    /// The `git receive-pack` of an upstream on the web, where our own http client can talk to it. Nothing is sent yet.
    pub(crate) fn receive_pack(&self, url: &UpstreamUrl, access: &Access) -> Option<ReceivePack> {
        let is_ours = matches!(url.scheme(), Scheme::Http | Scheme::Https)
            && access.http.needs_git.is_none()
            && !access.is_step;
        let watch = Watch::new("push", broadcast::channel(1).0, Vec::new());
        let session = || http::HttpSession::new(url, access, &self.clients, &watch).ok();
        is_ours.then(session).flatten().map(ReceivePack::new)
    }

    /// Asks the host when the token expires that `access` signs in with.
    pub(crate) async fn token_expiry(&self, url: &UpstreamUrl, access: &Access) -> TokenExpiry {
        token_expiry::ask(&self.clients, url, access).await
    }

    /// Ends every connection that would outlive this process. Blocks until they have ended.
    pub(crate) fn end(&self) {
        self.ssh.end();
    }
}

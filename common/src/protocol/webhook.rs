//! What is said of the webhook, and of the hook of each mirror.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Fetch, Mirror, Secret};

/// What to do with the webhook, or with the hook of one mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Webhook {
    /// Listen from now on. Answered by [`WebhookSaid::Listens`].
    On(Listen),
    /// Do not listen any more. Answered by [`WebhookSaid::Off`].
    Off,
    /// Say what a mirror's host must be told; a mirror that has no hook gets one. Answered by [`WebhookSaid::Hook`].
    Show(Mirror),
    /// Make a new secret token. Answered by [`WebhookSaid::Hook`].
    Rotate(Mirror),
    /// From now on deliveries are signed with this token, which GitLab shows once. Answered by [`WebhookSaid::Hook`].
    Sign(Mirror, Secret),
    /// Make the hook at the mirror's GitLab, or mend it. Answered by [`WebhookSaid::Registered`].
    Register(Box<AtGitLab>),
    /// Say how the hook is at the mirror's GitLab. Answered by [`WebhookSaid::Found`].
    Check(Box<AtGitLab>),
}

/// Where to listen; what is not given is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Address and port, as typed.
    pub at: Option<String>,
    /// The URL under which the hosts of mirrors reach it, as typed; blank for the address itself.
    pub public_url: Option<String>,
    /// The files of the certificate and its key, absolute paths; blank ones for plain http.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// Something to do at a mirror's GitLab, with a token that is used for this and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtGitLab {
    /// The mirror, and what git would read where the user stands.
    pub fetch: Fetch,
    /// The token.
    pub token: Secret,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookSaid {
    /// It listens.
    Listens {
        /// Scheme, address and port.
        address: String,
        /// What the URLs of all hooks begin with.
        base: String,
        /// What the person should know, one line each.
        warnings: Vec<String>,
    },
    /// It does not listen.
    Off,
    /// What a mirror's host must be told.
    Hook(Hook),
    /// The hook is at GitLab as it should be.
    Registered {
        /// What must be told there, and what it has been told.
        hook: Hook,
        /// Whether it was not there before.
        is_new: bool,
        /// How it is there now.
        found: Box<Found>,
    },
    /// How the hook is at GitLab.
    Found(Box<Found>),
}

/// What a mirror's host must be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The mirror's name.
    pub name: String,
    /// Where to send deliveries.
    pub url: String,
    /// What to send along.
    pub secret_token: Secret,
    /// Whether only signed ones are taken.
    pub is_signed: bool,
    /// What the person should know, one line each.
    pub warnings: Vec<String>,
}

/// A hook as GitLab has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The mirror's name.
    pub name: String,
    /// Its number there.
    pub id: u64,
    /// Where it sends deliveries.
    pub url: String,
    /// GitLab's own word for how it is: `executable`, `temporarily_disabled`, `disabled`.
    pub status: String,
    /// Until when it is switched off, in GitLab's own words.
    pub disabled_until: Option<String>,
    /// Whether pushes of branches are told.
    pub push: bool,
    /// Whether pushes of tags are told.
    pub tag_push: bool,
    /// What is wrong with it, one line each.
    pub wrong: Vec<String>,
    /// The last deliveries, newest first, when GitLab tells of them.
    pub deliveries: Option<Vec<Delivery>>,
}

/// One delivery, as GitLab remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// What it was for, such as `push_hooks`.
    pub trigger: String,
    /// What was answered: a status code, or GitLab's words for why there was no answer.
    pub status: String,
    /// When it was answered, in the answer's own words.
    pub at: Option<String>,
    /// For how long GitLab waited, in milliseconds.
    pub took: Option<u64>,
}

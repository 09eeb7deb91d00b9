//! What is said of the webhook, and of the hook of each mirror.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Fetch, Mirror, Secret};

/// The requests about the webhook, or about the hook of one mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Webhook {
    /// Listen from now on. Answered by [`WebhookReply::Listens`].
    On(Listen),
    /// Do not listen any more. Answered by [`WebhookReply::Off`].
    Off,
    /// Say what a mirror's host must be told; a mirror that has no hook gets one. Answered by [`WebhookReply::Hook`].
    Show(Mirror),
    /// Make a new secret token. Answered by [`WebhookReply::Hook`].
    Rotate(Mirror),
    /// Stores the signing token of deliveries, which GitLab shows once. Answered by [`WebhookReply::Hook`].
    Sign(Mirror, Secret),
    /// Make the hook at the mirror's GitLab, or mend it. Answered by [`WebhookReply::Registered`].
    Register(Box<AtGitLab>),
    /// Say how the hook is at the mirror's GitLab. Answered by [`WebhookReply::Found`].
    Check(Box<AtGitLab>),
}

/// The settings of the listener. None leaves a setting as it is.
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

/// The answers to requests about the webhook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WebhookReply {
    /// The webhook listens.
    Listens {
        /// Scheme, address and port.
        address: String,
        /// The beginning of the URLs of all hooks.
        base: String,
        /// Warnings for the person, one line each.
        warnings: Vec<String>,
    },
    /// The webhook does not listen.
    Off,
    /// The hook that the mirror's host must have.
    Hook(Hook),
    /// The hook is at GitLab as it should be.
    Registered {
        /// The hook that GitLab has been given.
        hook: Hook,
        /// Whether it was not there before.
        is_new: bool,
        /// The hook as GitLab has it now.
        found: Box<Found>,
    },
    /// The hook as GitLab has it.
    Found(Box<Found>),
}

/// The hook of a mirror, as its host must have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The mirror's name.
    pub name: String,
    /// The URL for deliveries.
    pub url: String,
    /// The secret token of deliveries.
    pub secret_token: Secret,
    /// Whether only signed ones are taken.
    pub is_signed: bool,
    /// Warnings for the person, one line each.
    pub warnings: Vec<String>,
}

/// A hook as GitLab has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// The mirror's name.
    pub name: String,
    /// The number of the hook at GitLab.
    pub id: u64,
    /// The URL to which it sends deliveries.
    pub url: String,
    /// GitLab's own word for how it is: `executable`, `temporarily_disabled`, `disabled`.
    pub status: String,
    /// The time until which GitLab has disabled the hook, as GitLab writes it.
    pub disabled_until: Option<String>,
    /// Whether pushes of branches are told.
    pub push: bool,
    /// Whether pushes of tags are told.
    pub tag_push: bool,
    /// The faults of the hook, one line each.
    pub wrong: Vec<String>,
    /// The last deliveries, newest first, when GitLab tells of them.
    pub deliveries: Option<Vec<Delivery>>,
}

/// A delivery in GitLab's list of recent ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The event of the delivery, such as `push_hooks`.
    pub trigger: String,
    /// The status code of the answer, or GitLab's reason why there was none.
    pub status: String,
    /// When it was answered, in the answer's own words.
    pub at: Option<String>,
    /// The time until the answer, in milliseconds.
    pub took: Option<u64>,
}

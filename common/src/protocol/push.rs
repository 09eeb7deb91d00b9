//! What a push asks for, where each of its commands goes, and with what it is sent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{OneTimeId, Ready, SignIn};

/// The request of a push before anything is sent to upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarryOutPush {
    /// The id of the open push, from [`Open`].
    pub id: String,
    /// Whether all of it is wanted or nothing.
    pub atomic: bool,
    /// Whether some of its commands were refused before they came here.
    pub incomplete: bool,
}

/// The request to send an open push to upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendPush {
    /// The id of the open push, from [`Open`].
    pub id: String,
    /// Whether upstream is asked what it has and can do, or what it could do the last time is enough.
    pub asks: bool,
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

/// The route of one command of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// To upstream.
    Upstream {
        /// The name of the ref at upstream.
        name: Vec<u8>,
        /// The value that it must have there.
        lease: Lease,
    },
    /// Into the mirror, and no further.
    Local {
        /// Whether it is a deletion of what hid upstream's own ref of that name.
        reveals: bool,
    },
    /// Nowhere, for this reason.
    Refused(String),
}

/// The value that a ref must have at upstream, or else a push does not touch it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lease {
    /// Any: the mirror does not keep this ref, or has not seen it, and upstream's own rules decide.
    None,
    /// The ref must not exist.
    Absent,
    /// The ref must have this value, in hexadecimal.
    Value(String),
}

/// An open push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The mirror, which is fresh.
    pub ready: Ready,
    /// The id to carry it out with.
    pub id: String,
    /// Whether what is pushed is looked at for faults.
    pub fsck: bool,
    /// The object directory for the objects of the client until upstream has accepted them.
    pub quarantine: PathBuf,
    /// The URL to push to, without credentials.
    pub upstream: String,
    /// The credential of the push to upstream.
    pub sign_in: SignIn,
    /// The proxy before upstream, where the daemon knows its password and the user's settings do not.
    pub proxy: Option<ProxySignIn>,
}

/// A proxy, and how to sign in to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxySignIn {
    /// The proxy's URL, without credentials.
    pub url: String,
    /// The id under which the login waits.
    pub login: OneTimeId,
}

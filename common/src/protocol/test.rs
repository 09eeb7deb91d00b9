//! What is said of an upstream that is tested, step by step.

use serde::{Deserialize, Serialize};

use super::{Credential, Fetch};

/// A test of an upstream, of which a mirror need not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// The mirror or the upstream, and with what to ask it.
    pub fetch: Fetch,
    /// Settings that differ from the mirror's, or from the defaults, as they are typed: key and value.
    pub settings: Vec<(String, String)>,
    /// The credential, if it is not the mirror's.
    pub credential: Option<Credential>,
}

/// A finished step of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The check of the step.
    pub check: Check,
    /// The result.
    pub verdict: Verdict,
    /// The duration in microseconds.
    pub took: u64,
    /// The fact that was found, or the reason of a failure, in one line without secrets.
    pub detail: String,
    /// What the person can do about it.
    pub hint: Option<String>,
}

/// The checks of a test, in their order. Not every upstream has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// The host's name, or that of the proxy before it.
    Resolve,
    /// Whether somebody listens there.
    Connect,
    /// The certificate of an https host.
    Certificate,
    /// The key by which an ssh host is known.
    HostKey,
    /// The URL to which upstream redirects, if it does.
    Redirect,
    /// The user as whom upstream knows the credential.
    SignIn,
    /// The refs that upstream lets the credential read.
    Read,
    /// Whether upstream would take a push.
    Push,
    /// Whether the refs of a push can stand or fall together there.
    Atomic,
    /// Whether a push can have options there.
    PushOptions,
    /// The server of large files (LFS).
    Lfs,
    /// The refs of upstream that would be tracked.
    Refspecs,
}

/// The result of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The check has passed.
    Passed,
    /// The check has failed.
    Failed,
    /// The check was not made, or had no result.
    Unknown,
}

impl Check {
    /// Whether no mirror works where this fails.
    #[must_use]
    pub fn decides(self) -> bool {
        match self {
            Self::Resolve
            | Self::Connect
            | Self::Certificate
            | Self::HostKey
            | Self::Redirect
            | Self::SignIn
            | Self::Read => true,
            Self::Push | Self::Atomic | Self::PushOptions | Self::Lfs | Self::Refspecs => false,
        }
    }
}

impl Step {
    /// Whether no mirror works because of this.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.verdict == Verdict::Failed && self.check.decides()
    }
}

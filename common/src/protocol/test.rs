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
    /// What to sign in with, where that differs from the mirror's.
    pub credential: Option<Credential>,
}

/// One step of a test that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was looked at.
    pub check: Check,
    /// What came of it.
    pub verdict: Verdict,
    /// For how long, in microseconds.
    pub took: u64,
    /// What there is to say of it, in one line without secrets: a fact, or the reason.
    pub words: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What the steps of a test look at, in their order. Not every upstream has all of them.
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
    /// Where upstream says that it is, when that is elsewhere.
    Redirect,
    /// Who we are to upstream.
    SignIn,
    /// What upstream lets us read.
    Read,
    /// Whether upstream would take a push.
    Push,
    /// Whether the refs of a push can stand or fall together there.
    Atomic,
    /// Whether a push can have options there.
    PushOptions,
    /// Where large files are.
    Lfs,
    /// Which refs of upstream would be tracked.
    Refspecs,
}

/// What came of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It is as it should be.
    Passed,
    /// It is not.
    Failed,
    /// It was not asked, or there was no telling.
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

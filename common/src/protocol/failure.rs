//! Why something did not work.

use std::{fmt, io};

use serde::{Deserialize, Serialize};

use crate::text::io_message;

/// Why something did not work, in git's voice: lower case, no full stop, no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind, by which callers decide.
    pub kind: FailureKind,
    /// The message: what failed, its subject in single quotes, the cause after a colon.
    pub message: String,
    /// What upstream said in plain text: lines that git shows as `remote:`.
    pub remote: Vec<String>,
    /// What the person can do about it.
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
    /// Upstream sent something incomplete, corrupt, or not git's.
    Unusable,
    /// Something on this machine: disk, permissions, a missing program.
    Here,
    /// Upstream suddenly looks empty or replaced; nothing of that is believed until somebody says so.
    Wiped,
    /// The request names an unknown setting or value.
    Usage,
    /// No mirror has the name that the request gives.
    NoMirror,
    /// No daemon carries out the request: it cannot be started, does not answer, or speaks another version.
    NoDaemon,
    /// Upstream answers git, and no mirror can be made of it.
    CannotMirror,
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
            remote: Vec::new(),
            hint: None,
        }
    }

    /// Adds a hint at what the person can do.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The system refused something on this machine: `context` is what failed, `error` is the cause.
    #[must_use]
    pub fn io(context: impl fmt::Display, error: &io::Error) -> Self {
        Self::here(format!("{context}: {}", io_message(error)))
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

/// Turns the system's error into a [`Failure`], in the middle of a chain of calls.
pub trait OrFailure<T> {
    /// Returns the value, or a failure that says `context` and the system's error after it.
    ///
    /// # Errors
    /// Fails when the result is an error.
    fn or_failure(self, context: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> OrFailure<T> for io::Result<T> {
    fn or_failure(self, context: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|err| Failure::io(context, &err))
    }
}

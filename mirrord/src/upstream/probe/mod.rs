//! Tests an upstream step by step for `mirrord test`, and changes nothing there: whether it is reached ([`connect`]), which
//! refs it lists ([`read`]), whether it offers pushes and large files ([`offers`]), and what would be tracked ([`refspecs`]).
//!
//! Refs are listed as a sync would list them. Each step is reported as soon as it is done.

mod connect;
mod offers;
mod read;
mod refspecs;

use std::time::{Duration, Instant};

use common::{
    address::upstream_url::{Scheme, UpstreamUrl},
    protocol::{Check, Failure, FailureKind, Step, Verdict},
    text::masked,
};

pub(crate) use self::read::{Reading, Unread};
use super::{Access, Trouble, Upstreams};
use crate::process::watch::Watch;

/// The test of one upstream.
pub(crate) struct Probe<'p> {
    /// The URL of the upstream.
    pub url: &'p UpstreamUrl,
    /// The credentials and settings.
    pub access: &'p Access,
    /// The connections to upstreams.
    pub upstreams: &'p Upstreams,
    /// Cancels the test.
    pub watch: &'p Watch,
    /// Is called with each step.
    pub report: &'p dyn Fn(Step),
}

impl Probe<'_> {
    fn passed(&self, check: Check, took: Duration, text: impl Into<String>) {
        (self.report)(step(check, Verdict::Passed, took, text.into()));
    }

    fn unknown(&self, check: Check, took: Duration, text: impl Into<String>) {
        (self.report)(step(check, Verdict::Unknown, took, text.into()));
    }

    /// Reports that a step failed, and returns the failure.
    fn failed(&self, check: Check, took: Duration, failure: Failure) -> Failure {
        if failure.kind != FailureKind::Cancelled {
            (self.report)(failed(self.url, check, took, &failure));
        }
        failure
    }

    fn is_http(&self) -> bool {
        matches!(self.url.scheme(), Scheme::Http | Scheme::Https)
    }
}

fn step(check: Check, verdict: Verdict, took: Duration, text: String) -> Step {
    Step {
        check,
        verdict,
        took: took.as_micros().try_into().unwrap_or(u64::MAX),
        detail: text,
        hint: None,
    }
}

fn failed(url: &UpstreamUrl, check: Check, took: Duration, failure: &Failure) -> Step {
    Step {
        hint: failure.hint.clone(),
        ..step(check, Verdict::Failed, took, reason(url, failure))
    }
}

/// Returns the message of a failure without what every line would repeat.
fn reason(url: &UpstreamUrl, failure: &Failure) -> String {
    let message = &failure.message;
    let starts = ["cannot reach", "cannot read", "cannot use what"];
    let cut = |start| {
        let rest = message.strip_prefix(&format!("{start} '{url}'"))?;
        let rest = rest.strip_prefix(" sent").unwrap_or(rest);
        rest.strip_prefix(": ")
    };
    let rest = starts.into_iter().find_map(cut).unwrap_or(message);
    let rest = rest.trim_start_matches("the requested URL returned ");
    masked(rest.trim_start_matches("certificate refused: ").as_bytes())
}

/// Runs something, and returns how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed())
}

/// Whether the test was cancelled.
fn is_cancelled(trouble: &Trouble) -> bool {
    trouble.failure.kind == FailureKind::Cancelled
}

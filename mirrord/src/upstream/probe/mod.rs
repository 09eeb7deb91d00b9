//! Tests an upstream step by step, and changes nothing there: whether it is reached, what it lets us read, what it says
//! of pushes and large files, and what would be tracked of it.
//!
//! What is read is read as a sync would read it. Each step is told as soon as it is done.

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

/// What a test is made with.
pub(crate) struct Probe<'p> {
    /// What is tested.
    pub url: &'p UpstreamUrl,
    /// With what.
    pub access: &'p Access,
    /// The ways to upstreams.
    pub upstreams: &'p Upstreams,
    /// Who waits for it.
    pub watch: &'p Watch,
    /// Hears each step.
    pub report: &'p dyn Fn(Step),
}

impl Probe<'_> {
    fn passed(&self, check: Check, took: Duration, words: impl Into<String>) {
        (self.report)(step(check, Verdict::Passed, took, words.into()));
    }

    fn unknown(&self, check: Check, took: Duration, words: impl Into<String>) {
        (self.report)(step(check, Verdict::Unknown, took, words.into()));
    }

    /// Tells that a step failed, and returns the failure that it is to a mirror.
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

fn step(check: Check, verdict: Verdict, took: Duration, words: String) -> Step {
    Step {
        check,
        verdict,
        took: took.as_micros().try_into().unwrap_or(u64::MAX),
        words,
        hint: None,
    }
}

fn failed(url: &UpstreamUrl, check: Check, took: Duration, failure: &Failure) -> Step {
    Step {
        hint: failure.hint.clone(),
        ..step(check, Verdict::Failed, took, reason(url, failure))
    }
}

/// Why, without what every line would repeat.
fn reason(url: &UpstreamUrl, failure: &Failure) -> String {
    let words = &failure.message;
    let starts = ["cannot reach", "cannot read", "cannot use what"];
    let cut = |start| {
        let rest = words.strip_prefix(&format!("{start} '{url}'"))?;
        let rest = rest.strip_prefix(" sent").unwrap_or(rest);
        rest.strip_prefix(": ")
    };
    let rest = starts.into_iter().find_map(cut).unwrap_or(words);
    let rest = rest.trim_start_matches("the requested URL returned ");
    masked(rest.trim_start_matches("certificate refused: ").as_bytes())
}

/// Runs something and says how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let result = work();
    (result, began.elapsed())
}

/// Whether a trouble is but the end of all.
fn is_end(trouble: &Trouble) -> bool {
    trouble.failure.kind == FailureKind::Cancelled
}

//! What upstreams' `git receive-pack` can do, as they said it last to those who asked with the same access.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use common::address::upstream_url::UpstreamUrl;
use parking_lot::Mutex;

use super::Access;

/// How long an answer counts. A server that is upgraded can do something else afterwards.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// How many answers are kept.
const MAX_ANSWERS: usize = 1000;

/// The capabilities of one moment, which say nothing of the next request.
const OF_A_MOMENT: [&[u8]; 2] = [b"push-cert=", b"session-id="];

/// What is known of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its capabilities, separated by blanks.
    Capabilities(Vec<u8>),
    /// It refuses whoever asks so: the user's git may know another way to sign in.
    Refuses,
}

/// What is known of all upstreams.
#[derive(Default)]
pub(crate) struct PushCapabilities(Mutex<HashMap<(UpstreamUrl, Access), (Instant, Known)>>);

impl PushCapabilities {
    /// What is known of this upstream.
    pub(crate) fn get(&self, url: &UpstreamUrl, access: &Access) -> Option<Known> {
        let answers = self.0.lock();
        let (since, known) = answers.get(&(url.clone(), access.clone()))?;
        (since.elapsed() < MAX_AGE).then(|| known.clone())
    }

    /// Records what upstream has advertised.
    pub(crate) fn record(&self, url: &UpstreamUrl, access: &Access, capabilities: &[u8]) {
        let capabilities: Vec<_> = capabilities
            .split(|byte| *byte == b' ')
            .filter(|one| !OF_A_MOMENT.iter().any(|begin| one.starts_with(begin)))
            .collect();
        self.set(url, access, Known::Capabilities(capabilities.join(&b' ')));
    }

    /// Records that upstream refuses whoever asks so.
    pub(crate) fn record_refusal(&self, url: &UpstreamUrl, access: &Access) {
        self.set(url, access, Known::Refuses);
    }

    fn set(&self, url: &UpstreamUrl, access: &Access, known: Known) {
        let mut answers = self.0.lock();
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        answers.insert((url.clone(), access.clone()), (Instant::now(), known));
    }
}

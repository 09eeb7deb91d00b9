//! The request for a sync, and how the sync ended.

use std::time::SystemTime;

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Cause, Progress},
    refspec::OnDemand,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::Span;

use super::usage::Download;
use crate::{
    mirrors::{registry::Mirror, settings::Settings},
    process::questions::{Asker, Fingerprint, Question},
    upstream::{Access, Trouble},
};

/// Why a sync is requested, and what it may do.
#[derive(Debug, Clone)]
pub(crate) struct SyncOptions {
    /// Why it is requested.
    pub cause: Cause,
    /// What to do where there is no mirror.
    pub create: Create,
    /// Whether upstream is believed even if it looks wiped.
    pub accept: bool,
    /// What clients want beside what is tracked.
    pub on_demand: OnDemand,
    /// The request in the log that it is for.
    pub span: Span,
}

impl SyncOptions {
    /// The options of a usual sync, which makes no mirror and accepts no upstream that looks wiped.
    pub(crate) fn new(cause: Cause) -> Self {
        Self {
            cause,
            create: Create::No,
            accept: false,
            on_demand: OnDemand::default(),
            span: Span::current(),
        }
    }
}

/// What a sync does where there is no mirror.
#[derive(Debug, Clone, Default)]
pub(crate) enum Create {
    /// Nothing: the mirror was there when the sync was requested, and has been removed or lies elsewhere.
    #[default]
    No,
    /// Makes a mirror, because a client asked for its URL.
    Auto,
    /// Makes a mirror with these settings.
    With(Box<Settings>),
}

impl Create {
    /// The precedence among the jobs of a batch: the highest one counts.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::No => 0,
            Self::Auto => 1,
            Self::With(_) => 2,
        }
    }
}

/// A requested sync in the queue of its mirror's task.
pub(super) struct Job {
    /// How to sign in at upstream.
    pub access: Access,
    /// Why it is requested, and what it may do.
    pub options: SyncOptions,
    /// Where the outcome goes.
    pub answer: oneshot::Sender<Result<Outcome, Trouble>>,
    /// Where questions to the client go, if it can be asked.
    pub questions: Option<Asker>,
}

/// How a sync ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The mirror has what upstream had after the request was made.
    InStep {
        /// The mirror.
        mirror: Box<Mirror>,
        /// What the person should know, one line each.
        warnings: Vec<String>,
        /// How many public refs this sync changed.
        changed_refs: usize,
        /// Whether this sync changed something.
        changed: bool,
        /// Whether git signed in with something that only it has seen.
        signed_in_by_git: bool,
        /// What this sync downloaded, as the one who requested it counts it.
        download: Download,
        /// When upstream was asked. What it has had since then is not known.
        asked_at: SystemTime,
        /// Where upstream has redirected to, if the user's settings follow it.
        reached: Option<UpstreamUrl>,
    },
    /// There is no such mirror yet, and upstream redirects to this URL.
    Moved(UpstreamUrl),
    /// There is no mirror, and the request was not to make one.
    Gone,
}

/// A requested sync, or other work at an upstream, for whoever waits for it.
pub(crate) struct Pending<T = Outcome> {
    /// The progress of the mirror's syncs. A running sync is cancelled when the last of these receivers is dropped.
    pub progress: broadcast::Receiver<Progress>,
    /// How it ended.
    pub outcome: oneshot::Receiver<Result<T, Trouble>>,
    /// Questions to the client.
    pub questions: mpsc::Receiver<Question>,
    /// The access of the client that is being asked something.
    pub asking: watch::Receiver<Option<Fingerprint>>,
    /// Signals that the work makes progress.
    pub moves: watch::Receiver<()>,
}

impl<T: Send + 'static> Pending<T> {
    /// Stops waiting, and lets the work go on for whoever comes next.
    pub(crate) fn detach(self) {
        let Self {
            progress, outcome, ..
        } = self;
        tokio::spawn(async move {
            let _ = outcome.await;
            drop(progress);
        });
    }
}

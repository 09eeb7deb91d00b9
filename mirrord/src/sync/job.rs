//! What is asked of a mirror's task, and what comes of it.

use std::time::SystemTime;

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Cause, Progress},
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::Span;

use crate::{
    mirrors::{registry::Mirror, settings::Settings},
    process::questions::{Asker, Fingerprint, Question},
    upstream::{Access, Trouble},
};

/// What a sync is to do beside its usual work.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// Why it is wanted.
    pub cause: Cause,
    /// What to do where there is no mirror.
    pub create: Create,
    /// Whether upstream is believed even if it suddenly looks empty or replaced.
    pub accept: bool,
    /// The request that it is for, in the log.
    pub span: Span,
}

impl Wish {
    /// Of a mirror that there is, and nothing beside.
    pub(crate) fn new(cause: Cause) -> Self {
        Self {
            cause,
            create: Create::No,
            accept: false,
            span: Span::current(),
        }
    }
}

/// What a sync does that finds no mirror.
#[derive(Debug, Clone, Default)]
pub(crate) enum Create {
    /// Nothing: it was there when somebody asked for it, and is gone or lies elsewhere.
    #[default]
    No,
    /// Makes one, because somebody asked for its URL.
    Auto,
    /// Makes one with these settings.
    With(Box<Settings>),
}

impl Create {
    /// Of several wishes, the one that says most.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::No => 0,
            Self::Auto => 1,
            Self::With(_) => 2,
        }
    }
}

/// A sync that somebody waits for.
pub(super) struct Job {
    /// With what to ask upstream.
    pub access: Access,
    /// What to do beside.
    pub wish: Wish,
    /// Who waits.
    pub answer: oneshot::Sender<Result<Outcome, Trouble>>,
    /// Where they can be asked, when they can.
    pub questions: Option<Asker>,
}

/// What a sync has downloaded, as it is told to one of those who waited for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Download {
    /// Bytes of the packs that upstream sent.
    pub bytes: u64,
    /// Whether they are said to have come for this one. All others who waited had them for nothing.
    pub is_own: bool,
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
        moved: usize,
        /// Whether this sync changed something.
        changed: bool,
        /// Whether git signed in with something that only it has seen.
        signed_in_by_git: bool,
        /// What it has downloaded.
        download: Download,
        /// When upstream was asked: what it has had since then, nobody here knows.
        asked: SystemTime,
    },
    /// There is no such mirror yet, and upstream says that its URL is this one.
    Moved(UpstreamUrl),
    /// There is no mirror, and none was to be made.
    Gone,
}

/// A sync that was asked for, or something else to do with an upstream.
pub(crate) struct Pending<T = Outcome> {
    /// What is seen of this mirror's syncs. While nobody holds one, a running sync is not wanted.
    pub progress: broadcast::Receiver<Progress>,
    /// The end of it.
    pub outcome: oneshot::Receiver<Result<T, Trouble>>,
    /// What whoever waits is asked meanwhile.
    pub questions: mpsc::Receiver<Question>,
    /// With what somebody goes to upstream who is being asked.
    pub asking: watch::Receiver<Option<Fingerprint>>,
    /// Hears when something of it moves.
    pub moves: watch::Receiver<()>,
}

impl<T: Send + 'static> Pending<T> {
    /// Waits no longer, and lets it go on: whoever comes next has something of it.
    pub(crate) fn leave(self) {
        let Self {
            progress, outcome, ..
        } = self;
        tokio::spawn(async move {
            let _ = outcome.await;
            drop(progress);
        });
    }
}

//! One sync, in four steps: ask upstream what it has, receive what is missing, judge whether upstream looks wiped, and
//! apply it to the refs. Each step is a file, takes what the one before it returns, and blocks.

use std::{io, path::Path};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, OrFailure},
};

use super::{
    Engine,
    job::{Create, Outcome, SyncOptions},
    memory::Memory,
};
use crate::{
    mirrors::{
        gate::{Gate, RunningSync},
        registry::{Mirror, NewMirror, Target},
        settings::{Settings, copy},
    },
    process::watch::Watch,
    repository::{
        refs::{Snapshot, UpstreamRefs},
        retrack,
    },
    upstream::{Access, Trouble},
};

/// How often a sync runs that is overtaken by a push each time.
const MAX_RUNS: usize = 5;

/// What one sync works with.
pub(super) struct Run<'r> {
    pub engine: &'r Engine,
    pub target: &'r Target,
    pub options: &'r SyncOptions,
    pub access: &'r Access,
    pub watch: &'r Watch,
    pub memory: &'r mut Memory,
    /// What upstream has of the refs that are wanted beside what is tracked, once it was asked.
    pub on_demand: UpstreamRefs,
    /// Where upstream has redirected to, if the user's settings follow it.
    pub reached: Option<UpstreamUrl>,
}

/// The mirror before upstream is asked.
pub(super) struct Start {
    /// The mirror, if there is one.
    pub mirror: Option<Mirror>,
    /// Keeps the mirror from being changed while this sync runs.
    pub running: Option<RunningSync>,
    /// The refs before upstream is asked: a push that comes in between must not look like old news.
    pub refs: Snapshot,
    /// The mirror's settings, or those that it will have.
    pub settings: Settings,
}

/// The repository that a sync writes to.
pub(super) enum Destination {
    /// A mirror.
    Mirror(Mirror),
    /// A repository that becomes a mirror when the sync succeeds.
    New(NewMirror),
}

/// Why a run stops before its last step.
pub(super) enum Stop {
    /// Nothing is left to do.
    Done(Box<Outcome>),
    /// Refs have changed meanwhile, here or at upstream: the sync has to run again.
    RunAgain,
    /// The sync failed.
    Failed(Trouble),
}

impl<T: Into<Trouble>> From<T> for Stop {
    fn from(trouble: T) -> Self {
        Self::Failed(trouble.into())
    }
}

impl Run<'_> {
    /// Brings the mirror in step with its upstream.
    pub(super) fn sync(mut self) -> Result<Outcome, Trouble> {
        for _ in 0..MAX_RUNS {
            let outcome = match self.run_once() {
                Err(Stop::Done(outcome)) => Ok(*outcome),
                outcome => outcome,
            };
            match outcome.and_then(|outcome| self.keep_on_demand(outcome)) {
                Ok(outcome) => return Ok(outcome),
                Err(Stop::Done(outcome)) => return Ok(*outcome),
                Err(Stop::RunAgain) => {}
                Err(Stop::Failed(trouble)) => return Err(trouble),
            }
        }
        let message = "the mirror's refs change faster than it can be brought in step";
        Err(Failure::here(message).into())
    }

    fn run_once(&mut self) -> Result<Outcome, Stop> {
        let start = self.start()?;
        let answer = self.ask(&start)?;
        let received = self.receive(start, answer)?;
        let believed = self.judge(received)?;
        self.apply(believed)
    }

    /// Finds the mirror, waits until nobody changes it, and reads its refs.
    fn start(&self) -> Result<Start, Stop> {
        let url = &self.target.url;
        let find = || self.engine.registry.mirror_at(&self.target.git_dir);
        let mut mirror = find().or_failure("cannot read the mirror")?;
        let mut running = None;
        if let Some(found) = &mirror {
            let gate = self.engine.gates.gate(&found.git_dir);
            running = Some(gate.begin_sync());
            // It may have been changed until now, and not from now on.
            mirror = find().or_failure("cannot read the mirror")?;
            if let Some(found) = &mut mirror {
                clean_up(found, &gate).or_failure("cannot clean up the mirror")?;
            }
        }
        if let Some(mirror) = &mirror
            && mirror.settings.url != *url
        {
            // Upstream redirects this URL, as another sync has just found. The mirror's task is that of the other URL.
            return Err(Stop::Done(Box::new(Outcome::Moved(
                mirror.settings.url.clone(),
            ))));
        }
        let refs = match &mirror {
            Some(mirror) => {
                Snapshot::take(&mirror.git_dir).or_failure("cannot read the mirror's refs")?
            }
            None => Snapshot::default(),
        };
        let settings = match (&mirror, &self.options.create) {
            (Some(mirror), _) => mirror.settings.clone(),
            (None, Create::With(settings)) => (**settings).clone(),
            (None, Create::Auto) => self.engine.automatic_settings(url)?,
            (None, Create::No) => return Err(Stop::Done(Box::new(Outcome::Gone))),
        };
        Ok(Start {
            mirror,
            running,
            refs,
            settings,
        })
    }
}

/// Finishes what a daemon that was killed has left half done, and copies the settings.
fn clean_up(mirror: &mut Mirror, gate: &Gate) -> io::Result<()> {
    gate.sweep_once(|| retrack::sweep(&mirror.git_dir))?;
    retrack::finish_change(mirror)?;
    if let Err(err) = copy::refresh(&mirror.git_dir) {
        let name = &mirror.settings.name;
        tracing::warn!("cannot copy the settings of '{name}': {err}");
    }
    Ok(())
}

impl Destination {
    /// Its bare repository.
    pub(super) fn git_dir(&self) -> &Path {
        match self {
            Self::Mirror(mirror) => &mirror.git_dir,
            Self::New(new) => new.git_dir(),
        }
    }
}

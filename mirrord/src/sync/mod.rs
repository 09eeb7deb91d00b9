//! Brings mirrors in line with their upstreams: one task per mirror, which drains its queue, runs once, and answers the
//! whole batch with what that run really did.
//!
//! A request that arrives during a run is left in the queue: upstream may already have been asked, so only a later run
//! can vouch for what it has now. A batch is of one access; what one login may read says nothing about another.

mod ask;
pub(crate) mod beside;
pub(crate) mod guard;
mod hang;
mod job;
mod noted;
pub(crate) mod open_pushes;
mod parts;
mod receive;
mod run;
mod state;
mod task;
mod trouble;
pub(crate) mod usage;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, FirstClone, OrFailure, Progress},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinError,
};

use self::{job::Job, noted::JournalEntry, open_pushes::Pushes, task::follow, usage::Usage};
pub(crate) use self::{
    job::{Create, Download, Outcome, Pending, Wish},
    state::State,
    trouble::{Failed, take_mended},
};
use crate::{
    credentials::Credentials,
    mirrors::{
        config::Config,
        gate::Gates,
        journal::Journal,
        registry::{Mirror, Registry, Target},
        settings::Settings,
    },
    process::{
        blocking,
        questions::{Askable, Asker, Fingerprint},
        watch::Watch,
    },
    schedule::{
        Schedule,
        turns::{Lane, Turns},
    },
    upkeep::Upkeep,
    upstream::{Access, Trouble, Upstreams},
};

/// What waiting clients may be behind before they miss something: upstream says a hundred words in a moment for each
/// thing that it counts, and the last of them stays on the terminal.
const PROGRESS_BACKLOG: usize = 512;

/// Everything that syncs share.
pub(crate) struct Engine {
    /// The mirrors on disk.
    pub registry: Registry,
    /// The ways to upstreams.
    pub upstreams: Upstreams,
    /// Logins and proofs.
    pub credentials: Credentials,
    /// Pushes that are under way.
    pub pushes: Pushes,
    /// Who uses which mirror.
    pub gates: Gates,
    /// When mirrors go that nobody asks for.
    pub schedule: Arc<Schedule>,
    /// What happened.
    pub journal: Arc<Journal>,
    /// Who uses the mirrors, and what that saves.
    pub usage: Usage,
    /// Keeps the mirrors in shape.
    pub upkeep: Arc<Upkeep>,
    /// The file of the daemon's own settings.
    pub config: PathBuf,
    tasks: Mutex<HashMap<Target, Task>>,
    /// Origin turn it is.
    turns: Turns,
    running: Mutex<Vec<Watch>>,
    /// Syncs that nobody has asked for.
    pub unasked: AtomicUsize,
}

/// What a mirror's task can be told and asked.
#[derive(Clone)]
struct Task {
    /// Boxed: a queue has room for 32 from the start, and there are thousands of queues.
    queue: mpsc::UnboundedSender<Box<Job>>,
    listeners: broadcast::Sender<Progress>,
    state: Arc<Mutex<State>>,
    /// With what somebody goes to upstream who is being asked.
    asking: watch::Sender<Option<Fingerprint>>,
    /// Tells when something of a sync moves.
    moves: watch::Sender<()>,
}

impl Engine {
    /// An engine for the mirrors of a registry.
    pub(crate) fn new(
        registry: Registry,
        upstreams: Upstreams,
        credentials: Credentials,
        schedule: Schedule,
        journal: Journal,
        config: PathBuf,
    ) -> Arc<Self> {
        let limits = Config::read(&config).unwrap_or_else(|failure| {
            tracing::warn!("{failure}");
            Config::default()
        });
        let turns = Turns::new(limits.syncs, limits.syncs_per_host);
        let (schedule, journal) = (Arc::new(schedule), Arc::new(journal));
        Arc::new(Self {
            registry,
            upstreams,
            config,
            credentials,
            pushes: Pushes::default(),
            gates: Gates::default(),
            usage: Usage::default(),
            upkeep: Upkeep::new(turns.clone(), schedule.clone(), journal.clone()),
            journal,
            tasks: Mutex::default(),
            schedule,
            turns,
            running: Mutex::default(),
            unasked: AtomicUsize::new(0),
        })
    }

    /// Asks for a sync that begins after now, for somebody who can be asked something or not.
    pub(crate) fn sync(
        self: &Arc<Self>,
        target: &Target,
        access: Access,
        wish: Wish,
        can_ask: bool,
    ) -> Pending {
        let task = self.task(target);
        let progress = task.listeners.subscribe();
        let (answer, outcome) = oneshot::channel();
        let (client, questions) = mpsc::channel(1);
        let (asking, is_asking) = (task.asking.clone(), task.asking.subscribe());
        let asker = can_ask.then(|| Asker {
            client,
            fingerprint: access.fingerprint(),
            asking,
        });
        // The task ends with the engine; a job that it does not take answers by dropping its sender.
        let _ = task.queue.send(Box::new(Job {
            access,
            wish,
            answer,
            questions: asker,
        }));
        Pending {
            progress,
            outcome,
            questions,
            asking: is_asking,
            moves: task.moves.subscribe(),
        }
    }

    /// Has something else to do with an upstream than a sync, in its turn; seen, asked and cancelled as a sync is.
    pub(crate) fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        url: &UpstreamUrl,
        access: &Access,
        can_ask: bool,
        work: impl FnOnce(&Upstreams, &Watch) -> T + Send + 'static,
    ) -> Pending<T> {
        let (listeners, progress) = broadcast::channel(PROGRESS_BACKLOG);
        let (answer, outcome) = oneshot::channel();
        let (client, questions) = mpsc::channel(1);
        let (asking, is_asking) = watch::channel(None);
        let (moves, moving) = watch::channel(());
        let asker = can_ask.then(|| Asker {
            client,
            fingerprint: access.fingerprint(),
            asking,
        });
        let askable = asker.into_iter().collect();
        let (engine, url) = (self.clone(), url.clone());
        tokio::spawn(async move {
            let Some(_turn) = engine.turns.take(&url.origin(), Lane::Person).await else {
                return;
            };
            let asking = engine.clone();
            let work = move |watch: &Watch| work(&asking.upstreams, watch);
            let result = engine.watched(&url, listeners, askable, moves, work).await;
            // Whoever has gone needs no answer.
            let _ = answer.send(result.map_err(|panic| panicked(&url, &panic)));
        });
        Pending {
            progress,
            outcome,
            questions,
            asking: is_asking,
            moves: moving,
        }
    }

    /// Upstream says that it has something new for a mirror: that is looked at soon, whatever it was.
    pub(crate) fn hint(&self, mirror: &Mirror) {
        self.schedule.hint(&mirror.git_dir);
    }

    /// What is seen of a mirror's syncs, for somebody who will ask for one.
    pub(crate) fn listen(self: &Arc<Self>, target: &Target) -> broadcast::Receiver<Progress> {
        self.task(target).listeners.subscribe()
    }

    fn task(self: &Arc<Self>, target: &Target) -> Task {
        let mut tasks = self.tasks.lock();
        let task = tasks.entry(target.clone()).or_insert_with(|| {
            let (queue, jobs) = mpsc::unbounded_channel();
            let task = Task {
                queue,
                listeners: broadcast::channel(PROGRESS_BACKLOG).0,
                state: Arc::new(Mutex::default()),
                asking: watch::Sender::new(None),
                moves: watch::Sender::default(),
            };
            tokio::spawn(follow(
                self.clone(),
                target.clone(),
                jobs,
                task.listeners.clone(),
                task.moves.clone(),
                task.state.clone(),
            ));
            task
        });
        task.clone()
    }

    /// Forgets how a mirror was: it is gone, or lies elsewhere. Nobody may be using it.
    pub(crate) fn forget(&self, mirror: &Mirror) -> io::Result<()> {
        let mut tasks = self.tasks.lock();
        // Its task ends when nobody can ask it for anything any more.
        tasks.remove(&mirror.target());
        self.schedule.remove(&mirror.git_dir);
        self.usage.forget(&mirror.git_dir);
        state::forget(&mirror.git_dir)
    }

    /// How a mirror is.
    pub(crate) fn state(&self, mirror: &Mirror) -> State {
        let tasks = self.tasks.lock();
        let task = tasks.get(&mirror.target());
        let mut state = task.map_or_else(State::default, |task| task.state.lock().clone());
        state.or_as_on_disk(&mirror.git_dir);
        state
    }

    /// Notes why a mirror could not even ask its upstream.
    pub(crate) async fn note_failure(
        self: &Arc<Self>,
        target: &Target,
        access: &Access,
        failure: &Failure,
    ) {
        let (task, git_dir) = (self.task(target), target.git_dir.clone());
        let (access, trouble) = (access.clone(), Trouble::from(failure.clone()));
        let noting = move || {
            let mut state = task.state.lock();
            let running = (state.syncing, state.making.clone());
            state.note(&Err(trouble), &access, &git_dir);
            (state.syncing, state.making) = running;
        };
        // Nothing but a bug fails here.
        let _ = tokio::task::spawn_blocking(noting).await;
    }

    /// Notes in the journal that a sync could not even begin.
    pub(crate) fn could_not_begin(&self, target: &Target, wish: &Wish, failure: &Failure) {
        let result = Err(Trouble::from(failure.clone()));
        JournalEntry::begins(target, wish).ended(self, 0, &result);
    }

    /// A mirror has a new credential: what kept the old one from being of use is over.
    pub(crate) fn needs_nobody(&self, mirror: &Mirror) {
        let tasks = self.tasks.lock();
        if let Some(task) = tasks.get(&mirror.target()) {
            task.state.lock().needs_nobody();
        }
        self.schedule.resume(&mirror.git_dir);
        if let Err(err) = trouble::forget(&mirror.git_dir) {
            tracing::warn!(
                "cannot note that '{}' needs nobody: {err}",
                mirror.settings.name
            );
        }
    }

    /// How many wait for a sync.
    pub(crate) fn waiting(&self) -> usize {
        let tasks = self.tasks.lock();
        let waiting: usize = tasks
            .values()
            .map(|task| task.listeners.receiver_count())
            .sum();
        waiting.saturating_sub(self.unasked.load(Ordering::Relaxed))
    }

    /// The upstreams with a running sync.
    pub(crate) fn syncing(&self) -> Vec<UpstreamUrl> {
        let tasks = self.tasks.lock();
        tasks
            .iter()
            .filter(|(_, task)| task.state.lock().syncing)
            .map(|(target, _)| target.url.clone())
            .collect()
    }

    /// The syncs that run and will make a mirror.
    pub(crate) fn first_clones(&self) -> Vec<FirstClone> {
        let tasks = self.tasks.lock();
        let making = tasks.iter().filter_map(|(target, task)| {
            let name = task.state.lock().making.clone()?;
            Some((target.url.to_string(), name, task.listeners.clone()))
        });
        let making: Vec<_> = making.collect();
        drop(tasks);
        let mut clones: Vec<_> = making
            .into_iter()
            .map(|(url, name, listeners)| FirstClone {
                name,
                url,
                progress: self.progress_of(&listeners),
            })
            .collect();
        clones.sort_by(|a, b| a.name.cmp(&b.name));
        clones
    }

    /// Runs the blocking work of a sync, seen by all who listen, and cancelled when nobody does any more.
    async fn watched<T: Send + 'static>(
        &self,
        url: &UpstreamUrl,
        listeners: broadcast::Sender<Progress>,
        askable: Askable,
        moves: watch::Sender<()>,
        work: impl FnOnce(&Watch) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let host = url.host().unwrap_or(url.path());
        let watch = Watch::telling(host, listeners, askable, moves);
        self.running().push(watch.clone());
        let ticker = tokio::spawn(watch.clone().tick());
        let working = watch.clone();
        let result = tokio::task::spawn_blocking(move || work(&working)).await;
        ticker.abort();
        self.running().retain(|running| !running.is(&watch));
        result
    }

    /// The daemon's own settings as they are now. Where they cannot be read, what needs them is as by default.
    pub(crate) fn config(&self) -> Config {
        Config::read(&self.config).unwrap_or_else(|failure| {
            tracing::warn!("{failure}");
            Config::default()
        })
    }

    /// The settings of a mirror that is made because somebody asked for its URL.
    pub(crate) fn automatic(&self, url: &UpstreamUrl) -> Result<Settings, Failure> {
        let config = Config::read(&self.config)?;
        let mut settings = Settings::for_url(url, config.defaults);
        settings.name = self
            .registry
            .free_name(&settings.name)
            .or_failure("cannot name the mirror")?;
        settings.automatic = true;
        Ok(settings)
    }

    /// How far the sync of a mirror is that runs now, when one does.
    pub(crate) fn progress(&self, mirror: &Mirror) -> Option<Progress> {
        let tasks = self.tasks.lock();
        let listeners = tasks.get(&mirror.target())?.listeners.clone();
        drop(tasks);
        self.progress_of(&listeners)
    }

    fn progress_of(&self, listeners: &broadcast::Sender<Progress>) -> Option<Progress> {
        let running = self.running();
        running
            .iter()
            .find(|watch| watch.is_seen_by(listeners))?
            .sample()
    }

    /// Cancels what runs, and begins nothing new.
    pub(crate) fn stop(&self) {
        self.turns.close();
        self.upkeep.stop();
        self.running().iter().for_each(Watch::cancel);
        self.journal.close();
    }

    fn running(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.running.lock()
    }

    /// Writes down what only memory knows: when each mirror was last seen to be in step. An unchanged upstream costs
    /// no write, so this is older on disk.
    pub(crate) fn settle(&self) {
        let tasks = self.tasks.lock();
        for task in tasks.values() {
            task.state.lock().save();
        }
        self.usage.save();
    }
}

fn panicked(url: &UpstreamUrl, panic: &JoinError) -> Trouble {
    blocking::panicked(&format!("the sync of '{url}'"), panic).into()
}

//! The engine: what all syncs share, the requests for syncs and for other work at an upstream. `task` runs the syncs of one
//! mirror, and `status` says how mirrors are.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicUsize},
};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, OrFailure, Progress},
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinError,
};

use super::{
    job::{Job, Pending, SyncOptions},
    open_pushes::OpenPushes,
    state::State,
    task::run_task,
    usage::Usage,
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

/// How many progress messages a waiting client may be behind before it misses one. Upstream sends a hundred in a moment
/// for each thing that it counts, and the last of them stays on the terminal.
const PROGRESS_BACKLOG: usize = 512;

/// Everything that syncs share.
pub(crate) struct Engine {
    /// The mirrors on disk.
    pub registry: Registry,
    /// What all sessions with upstreams share.
    pub upstreams: Upstreams,
    /// The logins that are kept, and who has read what with them.
    pub credentials: Credentials,
    /// The pushes that are open.
    pub pushes: OpenPushes,
    /// Who reads, syncs or changes which mirror.
    pub gates: Gates,
    /// When each mirror is synced next in the background.
    pub schedule: Arc<Schedule>,
    /// What `mirrord log` shows.
    pub journal: Arc<Journal>,
    /// When each mirror was last used, and what it has saved.
    pub usage: Usage,
    /// Repacks, checks and repairs the mirrors.
    pub upkeep: Arc<Upkeep>,
    /// The file of the daemon's own settings.
    pub config: PathBuf,
    /// How many scheduled syncs are under way. Each listens to its mirror's progress as a client does.
    pub scheduled_syncs: AtomicUsize,
    tasks: Mutex<HashMap<Target, Task>>,
    /// Limits how many syncs run at once.
    pub(super) turns: Turns,
    /// The watches of all that runs now.
    running: Mutex<Vec<Watch>>,
}

/// The engine's ends of a mirror's task.
#[derive(Clone)]
pub(super) struct Task {
    /// The requested syncs. Boxed: a queue has room for 32 from the start, and there are thousands of queues.
    queue: mpsc::UnboundedSender<Box<Job>>,
    /// Where the progress of its syncs goes.
    pub listeners: broadcast::Sender<Progress>,
    /// How the mirror is.
    pub state: Arc<Mutex<State>>,
    /// The access of the client that is being asked something.
    asking: watch::Sender<Option<Fingerprint>>,
    /// Signals that a sync makes progress.
    pub moves: watch::Sender<()>,
}

/// The task's own ends.
pub(super) struct TaskEnds {
    /// The requested syncs.
    pub jobs: mpsc::UnboundedReceiver<Box<Job>>,
    /// Where the progress of its syncs goes.
    pub listeners: broadcast::Sender<Progress>,
    /// How the mirror is.
    pub state: Arc<Mutex<State>>,
    /// Signals that a sync makes progress.
    pub moves: watch::Sender<()>,
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
            pushes: OpenPushes::default(),
            gates: Gates::default(),
            usage: Usage::default(),
            upkeep: Upkeep::new(turns.clone(), schedule.clone(), journal.clone()),
            journal,
            tasks: Mutex::default(),
            schedule,
            turns,
            running: Mutex::default(),
            scheduled_syncs: AtomicUsize::new(0),
        })
    }

    /// Requests a sync that begins after now. `can_ask` says whether the client can be asked something meanwhile.
    pub(crate) fn request_sync(
        self: &Arc<Self>,
        target: &Target,
        access: Access,
        options: SyncOptions,
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
            options,
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

    /// Runs other work at an upstream than a sync. It waits for its turn, reports progress, asks and is cancelled as a sync
    /// is.
    pub(crate) fn run_at_upstream<T: Send + 'static>(
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
            let Some(_turn) = engine.turns.take(&url.origin(), Lane::Client).await else {
                return;
            };
            let shared = engine.clone();
            let work = move |watch: &Watch| work(&shared.upstreams, watch);
            let result = engine
                .run_watched(&url, listeners, askable, moves, work)
                .await;
            // A client that has gone needs no answer.
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

    /// Schedules a sync soon, because upstream says that something has changed.
    pub(crate) fn notify_changed(&self, mirror: &Mirror) {
        self.schedule.notify_changed(&mirror.git_dir);
    }

    /// Subscribes to the progress of a mirror's syncs, for a client that will request one.
    pub(crate) fn subscribe_progress(
        self: &Arc<Self>,
        target: &Target,
    ) -> broadcast::Receiver<Progress> {
        self.task(target).listeners.subscribe()
    }

    /// The task of a mirror, started when there is none.
    pub(super) fn task(self: &Arc<Self>, target: &Target) -> Task {
        let mut tasks = self.tasks();
        let task = tasks.entry(target.clone()).or_insert_with(|| {
            let (queue, jobs) = mpsc::unbounded_channel();
            let task = Task {
                queue,
                listeners: broadcast::channel(PROGRESS_BACKLOG).0,
                state: Arc::new(Mutex::default()),
                asking: watch::Sender::new(None),
                moves: watch::Sender::default(),
            };
            let ends = TaskEnds {
                jobs,
                listeners: task.listeners.clone(),
                state: task.state.clone(),
                moves: task.moves.clone(),
            };
            tokio::spawn(run_task(self.clone(), target.clone(), ends));
            task
        });
        task.clone()
    }

    /// The tasks of all mirrors that were synced in this daemon's life.
    pub(super) fn tasks(&self) -> MutexGuard<'_, HashMap<Target, Task>> {
        self.tasks.lock()
    }

    /// Runs blocking work. Its progress goes to all listeners, and it is cancelled when none is left.
    pub(super) async fn run_watched<T: Send + 'static>(
        &self,
        url: &UpstreamUrl,
        listeners: broadcast::Sender<Progress>,
        askable: Askable,
        moves: watch::Sender<()>,
        work: impl FnOnce(&Watch) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let host = url.host().unwrap_or(url.path());
        let watch = Watch::with_moves(host, listeners, askable, moves);
        self.running().push(watch.clone());
        let ticker = tokio::spawn(watch.clone().tick());
        let working = watch.clone();
        let result = tokio::task::spawn_blocking(move || work(&working)).await;
        ticker.abort();
        self.running().retain(|running| !running.is_same(&watch));
        result
    }

    /// The daemon's own settings as they are now, or the defaults where they cannot be read.
    pub(crate) fn config(&self) -> Config {
        Config::read(&self.config).unwrap_or_else(|failure| {
            tracing::warn!("{failure}");
            Config::default()
        })
    }

    /// The settings of a mirror that is made because a client asked for its URL.
    pub(crate) fn automatic_settings(&self, url: &UpstreamUrl) -> Result<Settings, Failure> {
        let config = Config::read(&self.config)?;
        let mut settings = Settings::for_url(url, config.defaults);
        settings.name = self
            .registry
            .free_name(&settings.name)
            .or_failure("cannot name the mirror")?;
        settings.automatic = true;
        Ok(settings)
    }

    /// Cancels everything that runs. Nothing new begins.
    pub(crate) fn stop(&self) {
        self.turns.close();
        self.upkeep.stop();
        self.running().iter().for_each(Watch::cancel);
        self.journal.end_followers();
    }

    /// The watches of all that runs now.
    pub(super) fn running(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.running.lock()
    }
}

/// The failure of work that panicked.
pub(super) fn panicked(url: &UpstreamUrl, panic: &JoinError) -> Trouble {
    blocking::panicked(&format!("the sync of '{url}'"), panic).into()
}

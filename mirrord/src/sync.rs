//! Brings mirrors in line with their upstreams: one task per mirror, which drains its queue, runs once, and answers the
//! whole batch with what that run really did.
//!
//! A request that arrives during a run is left in the queue: upstream may already have been asked, so only a later run
//! can vouch for what it has now. A batch is of one access; what one login may read says nothing about another.

mod once;

use std::{
    collections::{HashMap, VecDeque},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::{
    protocol::{Failure, FailureKind, Progress},
    upstream_url::UpstreamUrl,
};
use tokio::{
    sync::{Semaphore, broadcast, mpsc, oneshot},
    time::timeout,
};

use self::once::Memory;
use crate::{
    credentials::{Credentials, KEEP},
    durable,
    pushes::Pushes,
    registry::{Mirror, Registry},
    upstream::{Access, Trouble, Upstreams},
    watch::Watch,
};

/// More syncs at once would only make each of them slower.
const MOST_AT_ONCE: usize = 16;

/// One slow host must not take the turns of all others.
const MOST_AT_HOST: usize = 8;

/// What waiting clients may miss before they see the next total.
const PROGRESS_BACKLOG: usize = 256;

/// When the last good sync was, in seconds since 1970; a file in the mirror.
const SYNCED: &str = "synced";

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
    tasks: Mutex<HashMap<UpstreamUrl, Task>>,
    at_once: Semaphore,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
    running: Mutex<Vec<Watch>>,
}

/// What a mirror's task can be told and asked.
#[derive(Clone)]
struct Task {
    queue: mpsc::UnboundedSender<Job>,
    listeners: broadcast::Sender<Progress>,
    state: Arc<Mutex<State>>,
}

/// How a mirror is, as far as this daemon has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// When upstream was last seen to be what the mirror has.
    pub synced: Option<SystemTime>,
    /// Why the last sync failed, if it did.
    pub failing: Option<String>,
    /// Whether a sync runs.
    pub syncing: bool,
    git_dir: Option<PathBuf>,
}

struct Job {
    access: Access,
    answer: oneshot::Sender<Result<Outcome, Trouble>>,
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
        /// Whether this sync changed something.
        changed: bool,
        /// Whether git signed in with something that only it has seen.
        signed_in_by_git: bool,
        /// When upstream was asked: what it has had since then, nobody here knows.
        asked: SystemTime,
    },
    /// There is no such mirror yet, and upstream says that its URL is this one.
    Moved(UpstreamUrl),
}

/// A sync that was asked for.
pub(crate) struct Pending {
    /// What is seen of this mirror's syncs. While nobody holds one, a running sync is not wanted.
    pub progress: broadcast::Receiver<Progress>,
    /// The end of the sync.
    pub outcome: oneshot::Receiver<Result<Outcome, Trouble>>,
}

impl Engine {
    /// An engine for the mirrors of a registry.
    pub(crate) fn new(registry: Registry, upstreams: Upstreams) -> Arc<Self> {
        Arc::new(Self {
            registry,
            upstreams,
            credentials: Credentials::default(),
            pushes: Pushes::default(),
            tasks: Mutex::default(),
            at_once: Semaphore::new(MOST_AT_ONCE),
            hosts: Mutex::default(),
            running: Mutex::default(),
        })
    }

    /// Asks for a sync that begins after now.
    pub(crate) fn sync(self: &Arc<Self>, url: &UpstreamUrl, access: Access) -> Pending {
        let task = self.task(url);
        let progress = task.listeners.subscribe();
        let (answer, outcome) = oneshot::channel();
        // The task ends with the engine; a job that it does not take answers by dropping its sender.
        let _ = task.queue.send(Job { access, answer });
        Pending { progress, outcome }
    }

    /// What is seen of a mirror's syncs, for somebody who will ask for one.
    pub(crate) fn listen(self: &Arc<Self>, url: &UpstreamUrl) -> broadcast::Receiver<Progress> {
        self.task(url).listeners.subscribe()
    }

    fn task(self: &Arc<Self>, url: &UpstreamUrl) -> Task {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tasks.entry(url.clone()).or_insert_with(|| {
            let (queue, jobs) = mpsc::unbounded_channel();
            let task = Task {
                queue,
                listeners: broadcast::channel(PROGRESS_BACKLOG).0,
                state: Arc::new(Mutex::default()),
            };
            tokio::spawn(follow(
                self.clone(),
                url.clone(),
                jobs,
                task.listeners.clone(),
                task.state.clone(),
            ));
            task
        });
        task.clone()
    }

    /// How a mirror is.
    pub(crate) fn state(&self, mirror: &Mirror) -> State {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tasks.get(&mirror.settings.url);
        let mut state = task.map_or_else(State::default, |task| lock(&task.state).clone());
        state.synced = state.synced.max(read_synced(&mirror.git_dir));
        state
    }

    /// The turns at one host; upstreams on this machine are one.
    fn host(&self, url: &UpstreamUrl) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let turns = || Arc::new(Semaphore::new(MOST_AT_HOST));
        hosts.entry(url.origin()).or_insert_with(turns).clone()
    }

    /// How many wait for a sync.
    pub(crate) fn waiting(&self) -> usize {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks
            .values()
            .map(|task| task.listeners.receiver_count())
            .sum()
    }

    /// The upstreams with a running sync.
    pub(crate) fn syncing(&self) -> Vec<UpstreamUrl> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks
            .iter()
            .filter(|(_, task)| lock(&task.state).syncing)
            .map(|(url, _)| url.clone())
            .collect()
    }

    /// Cancels what runs, and begins nothing new.
    pub(crate) fn stop(&self) {
        self.at_once.close();
        self.running().iter().for_each(Watch::cancel);
    }

    fn running(&self) -> MutexGuard<'_, Vec<Watch>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what only memory knows: when each mirror was last seen to be in step. An unchanged upstream costs
    /// no write, so this is older on disk.
    pub(crate) fn settle(&self) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks.values() {
            let State {
                synced, git_dir, ..
            } = lock(&task.state).clone();
            if let (Some(synced), Some(git_dir)) = (synced, git_dir)
                && read_synced(&git_dir) < Some(synced)
                && let Err(err) = write_synced(&git_dir, synced)
            {
                tracing::warn!(
                    "cannot note the last sync of '{}': {err}",
                    git_dir.display()
                );
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The life of one mirror's task.
async fn follow(
    engine: Arc<Engine>,
    url: UpstreamUrl,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    listeners: broadcast::Sender<Progress>,
    state: Arc<Mutex<State>>,
) {
    let mut waiting = VecDeque::new();
    let mut memory = Memory::default();
    loop {
        if waiting.is_empty() {
            match timeout(KEEP, jobs.recv()).await {
                Ok(Some(job)) => waiting.push_back(job),
                Ok(None) => return,
                // An open conversation knows a login, and a login is not kept longer than this.
                Err(_) => {
                    memory.hang_up();
                    continue;
                }
            }
        }
        let host = engine.host(&url);
        let (Ok(_at_host), Ok(_turn)) = (host.acquire().await, engine.at_once.acquire().await)
        else {
            return;
        };
        while let Ok(job) = jobs.try_recv() {
            waiting.push_back(job);
        }
        waiting.retain(|job: &Job| !job.answer.is_closed());
        let Some(first) = waiting.front() else {
            continue;
        };
        let access = first.access.clone();
        let (batch, rest): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(|job| job.access == access);
        waiting = rest;
        lock(&state).syncing = true;
        let watch = Watch::new(url.host().unwrap_or(url.path()), listeners.clone());
        engine.running().push(watch.clone());
        let ticker = tokio::spawn(watch.clone().tick());
        let work = tokio::task::spawn_blocking({
            let (engine, url, watch) = (engine.clone(), url.clone(), watch.clone());
            move || {
                let began = std::time::Instant::now();
                let result = once::sync(&engine, &url, &access, &watch, &mut memory);
                log(&url, began.elapsed(), &result);
                (result, memory)
            }
        });
        let result = match work.await {
            Ok((result, after)) => {
                memory = after;
                result
            }
            // A bug in the sync must not end the service of this mirror.
            Err(panic) => {
                memory = Memory::default();
                tracing::error!("a sync of '{url}' broke: {panic}");
                Err(Failure::here("the sync broke; the daemon's log says how").into())
            }
        };
        ticker.abort();
        engine.running().retain(|running| !running.is(&watch));
        note(&mut lock(&state), &result);
        for job in batch {
            // Whoever has gone needs no answer.
            let _ = job.answer.send(result.clone());
        }
    }
}

fn log(url: &UpstreamUrl, took: Duration, result: &Result<Outcome, Trouble>) {
    let took = took.as_millis();
    match result {
        Ok(Outcome::InStep { .. }) => tracing::info!("'{url}' in step after {took} ms"),
        Ok(Outcome::Moved(to)) => tracing::info!("'{url}' redirects to '{to}'"),
        Err(trouble) => tracing::warn!("no sync of '{url}' after {took} ms: {}", trouble.failure),
    }
}

fn note(state: &mut State, result: &Result<Outcome, Trouble>) {
    state.syncing = false;
    match result {
        Ok(Outcome::InStep { mirror, asked, .. }) => {
            state.synced = Some(*asked);
            state.git_dir = Some(mirror.git_dir.clone());
            state.failing = None;
        }
        Err(trouble) if trouble.failure.kind != FailureKind::Cancelled => {
            state.failing = Some(trouble.failure.message.clone());
        }
        Ok(Outcome::Moved(_)) | Err(_) => {}
    }
}

fn read_synced(git_dir: &Path) -> Option<SystemTime> {
    let text = fs::read_to_string(git_dir.join(SYNCED)).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(text.trim().parse().ok()?))
}

fn write_synced(git_dir: &Path, synced: SystemTime) -> io::Result<()> {
    let seconds = synced
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    durable::replace(&git_dir.join(SYNCED), format!("{seconds}\n").as_bytes())
}

//! The task of one mirror: takes what waits in its queue, a batch at a time, and runs one sync for it.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use common::{protocol::Cause, refspec::OnDemand};
use tokio::{sync::mpsc, time::timeout};
use tracing::{Span, debug_span};

use super::{
    engine::{Engine, TaskEnds, panicked},
    hang::Hang,
    job::{Create, Job, Outcome, SyncOptions},
    journal_entry::JournalEntry,
    memory::Memory,
    run::Run,
    trouble::take_mended,
    usage::Download,
};
use crate::{
    credentials::LOGIN_LIFETIME,
    mirrors::{
        registry::Target,
        settings::{Auth, ServesUrl},
    },
    process::watch::Watch,
    repository::refs::UpstreamRefs,
    schedule::turns::{Lane, Turn},
    upstream::{Access, Trouble},
};

/// Syncs that are answered together: all of one access.
struct Batch {
    jobs: VecDeque<Box<Job>>,
    access: Access,
    options: SyncOptions,
}

/// Runs the syncs that are queued until the last sender of the queue is gone.
pub(super) async fn run_task(engine: Arc<Engine>, target: Target, mut ends: TaskEnds) {
    let host = target.url.origin();
    let mut waiting: VecDeque<Box<Job>> = VecDeque::new();
    let mut memory = Memory::default();
    loop {
        if waiting.is_empty() {
            match timeout(LOGIN_LIFETIME, ends.jobs.recv()).await {
                Ok(Some(job)) => waiting.push_back(job),
                Ok(None) => return,
                // An open session knows a login, and a login is not kept longer than this.
                Err(_) => {
                    memory.close_sessions();
                    continue;
                }
            }
        }
        let Some(_turn) = wait_for_turn(&engine, &host, &mut ends.jobs, &mut waiting).await else {
            return;
        };
        while let Ok(job) = ends.jobs.try_recv() {
            waiting.push_back(job);
        }
        waiting.retain(|job| !job.answer.is_closed());
        let Some(batch) = Batch::take_from(&mut waiting) else {
            continue;
        };
        let cause = batch.options.cause;
        if !cause.is_awaited()
            && let Some(backoff) = engine.schedule.defer(&target.git_dir)
        {
            answer(batch.jobs, &Err(backoff.refusal(&target.url)), 0);
            continue;
        }
        memory = run_batch(&engine, &target, &ends, batch, memory).await;
        if !cause.is_awaited() {
            // No client is likely to fetch right now, and an open session takes 130 KiB.
            memory.close_sessions();
        }
    }
}

impl Batch {
    /// Takes the most urgent job, and all that have the same access.
    fn take_from(waiting: &mut VecDeque<Box<Job>>) -> Option<Self> {
        let first = waiting
            .iter()
            .min_by_key(|job| Lane::from(job.options.cause))?;
        let (access, first_cause) = (first.access.clone(), first.options.cause);
        let (jobs, rest): (VecDeque<_>, VecDeque<_>) = std::mem::take(waiting)
            .into_iter()
            .partition(|job| job.access == access);
        *waiting = rest;
        let options = SyncOptions {
            // The most urgent one.
            cause: jobs
                .iter()
                .map(|job| job.options.cause)
                .min()
                .unwrap_or(first_cause),
            create: jobs
                .iter()
                .map(|job| &job.options.create)
                .max_by_key(|create| create.rank())
                .cloned()
                .unwrap_or_default(),
            accept: jobs.iter().any(|job| job.options.accept),
            on_demand: united(jobs.iter().map(|job| &job.options.on_demand)),
            span: jobs
                .iter()
                .min_by_key(|job| job.options.cause)
                .map_or_else(Span::none, |job| job.options.span.clone()),
        };
        Some(Self {
            jobs,
            access,
            options,
        })
    }
}

/// All that several clients want beside what is tracked.
fn united<'o>(wanted: impl Iterator<Item = &'o OnDemand>) -> OnDemand {
    let mut united = OnDemand::default();
    wanted.for_each(|wanted| united.extend(wanted));
    united
}

/// Runs one sync for a batch, records how it ended, and answers all. Returns the memory for the next sync.
async fn run_batch(
    engine: &Arc<Engine>,
    target: &Target,
    ends: &TaskEnds,
    batch: Batch,
    mut memory: Memory,
) -> Memory {
    let Batch {
        jobs,
        access,
        options,
    } = batch;
    let (cause, accept) = (options.cause, options.accept);
    let entry = JournalEntry::begin(target, &options);
    {
        let mut state = ends.state.lock();
        state.syncing = true;
        state.new_name = (!target.git_dir.exists()).then(|| entry.new_name().to_owned());
    }
    let began = Instant::now();
    let work = {
        let (engine, target, entry) = (engine.clone(), target.clone(), entry.clone());
        let access = access.clone();
        move |watch: &Watch| {
            // The requests of all others in this batch wait for the sync of the first.
            let _sync =
                debug_span!(parent: &options.span, "sync", upstream = %target.url).entered();
            let run = Run {
                engine: &engine,
                target: &target,
                options: &options,
                access: &access,
                watch,
                memory: &mut memory,
                on_demand: UpstreamRefs::new(),
                reached: None,
            };
            let result = run.sync();
            entry.end(&engine, watch.bytes(), &result);
            (result, memory, watch.bytes())
        }
    };
    let askable = jobs.iter().filter_map(|job| job.questions.clone());
    let askable = askable.collect();
    let (listeners, moves) = (ends.listeners.clone(), ends.moves.clone());
    // Boxed: the task of each of a thousand mirrors that wait would else have room for it.
    let watched = Box::pin(engine.run_watched(&target.url, listeners, askable, moves, work));
    let (result, memory, bytes) = match watched.await {
        Ok(ended) => ended,
        // A bug in the sync must not end the service of this mirror.
        Err(panic) => {
            let result = Err(panicked(&target.url, &panic));
            entry.end(engine, 0, &result);
            (result, Memory::default(), 0)
        }
    };
    {
        let mut state = ends.state.lock();
        state.record(&result, &access, &target.git_dir);
        state.hang = Hang::after(state.hang.take(), &result, began.elapsed(), &ends.moves);
    }
    if accept {
        // Whoever has accepted upstream as it is knows that it had failed.
        drop(take_mended(&target.git_dir));
    }
    schedule_next(engine, target, &result, &access, cause);
    if let Ok(Outcome::InStep {
        mirror,
        changed: true,
        ..
    }) = &result
    {
        engine.upkeep.after_change(&engine.gates, mirror);
    }
    answer(jobs, &result, bytes);
    memory
}

/// Schedules the next sync by how this one ended.
fn schedule_next(
    engine: &Engine,
    target: &Target,
    result: &Result<Outcome, Trouble>,
    access: &Access,
    cause: Cause,
) {
    match result {
        Ok(Outcome::InStep { mirror, .. }) => engine.schedule.record_success(mirror),
        Ok(Outcome::Moved(_) | Outcome::Gone) => {}
        // A client's login failed, which says nothing of the login of a scheduled sync.
        Err(trouble) if trouble.needs_you() && cause.is_awaited() && access.auth == Auth::AsGit => {
        }
        Err(trouble) => engine.schedule.record_failure(&target.git_dir, trouble),
    }
}

/// Answers all jobs of a batch. The downloaded bytes count as the first job's own. A job for a URL is not answered from a
/// mirror that a person has just made in the same directory and that does not serve the URL.
fn answer(jobs: impl IntoIterator<Item = Box<Job>>, result: &Result<Outcome, Trouble>, bytes: u64) {
    for (index, job) in jobs.into_iter().enumerate() {
        let mut result = result.clone();
        if let Ok(Outcome::InStep { download, .. }) = &mut result {
            let is_own = index == 0;
            *download = Download { bytes, is_own };
        }
        if let (Create::Auto, Ok(Outcome::InStep { mirror, .. })) = (&job.options.create, &result)
            && mirror.settings.serves_url != ServesUrl::Yes
        {
            result = Ok(Outcome::Gone);
        }
        // The request waits for it in `requests/fetch/waiting`; a client that has gone needs no answer.
        let _ = job.answer.send(result);
    }
}

/// Waits for the mirror's turn, which comes sooner when a more urgent job arrives meanwhile. Returns `None` when the daemon
/// stops.
async fn wait_for_turn(
    engine: &Engine,
    host: &str,
    jobs: &mut mpsc::UnboundedReceiver<Box<Job>>,
    waiting: &mut VecDeque<Box<Job>>,
) -> Option<Turn> {
    loop {
        let most_urgent = waiting
            .iter()
            .map(|job| Lane::from(job.options.cause))
            .min();
        let lane = most_urgent.unwrap_or(Lane::Schedule);
        let turn = engine.turns.take(host, lane);
        tokio::pin!(turn);
        loop {
            tokio::select! {
                biased;
                turn = &mut turn => return turn,
                Some(job) = jobs.recv() => {
                    let is_more_urgent = Lane::from(job.options.cause) < lane;
                    waiting.push_back(job);
                    if is_more_urgent {
                        break;
                    }
                }
            }
        }
    }
}

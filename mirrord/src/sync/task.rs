//! The life of one mirror's task: what waits in its queue, a batch at a time.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use common::protocol::{Cause, Progress};
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::timeout,
};
use tracing::{Span, debug_span};

use super::{
    Engine,
    hang::Hang,
    job::{Create, Download, Job, Outcome, Wish},
    noted::JournalEntry,
    panicked,
    run::{self, Memory},
    state::State,
    trouble::take_mended,
};
use crate::{
    credentials::LOGIN_LIFETIME,
    mirrors::{
        registry::Target,
        settings::{Auth, ServesUrl},
    },
    process::watch::Watch,
    schedule::turns::{Lane, Turn},
    upstream::{Access, Trouble},
};

/// Follows the queue until nobody can ask any more.
pub(super) async fn follow(
    engine: Arc<Engine>,
    target: Target,
    mut jobs: mpsc::UnboundedReceiver<Box<Job>>,
    listeners: broadcast::Sender<Progress>,
    moves: watch::Sender<()>,
    state: Arc<Mutex<State>>,
) {
    let (url, host) = (target.url.clone(), target.url.origin());
    let mut waiting: VecDeque<Box<Job>> = VecDeque::new();
    let mut memory = Memory::default();
    loop {
        if waiting.is_empty() {
            match timeout(LOGIN_LIFETIME, jobs.recv()).await {
                Ok(Some(job)) => waiting.push_back(job),
                Ok(None) => return,
                // An open conversation knows a login, and a login is not kept longer than this.
                Err(_) => {
                    memory.hang_up();
                    continue;
                }
            }
        }
        let Some(_turn) = turn(&engine, &host, &mut jobs, &mut waiting).await else {
            return;
        };
        while let Ok(job) = jobs.try_recv() {
            waiting.push_back(job);
        }
        waiting.retain(|job| !job.answer.is_closed());
        let Some(first) = waiting.iter().min_by_key(|job| Lane::from(job.wish.cause)) else {
            continue;
        };
        let (access, first_cause) = (first.access.clone(), first.wish.cause);
        let (batch, rest): (VecDeque<_>, VecDeque<_>) =
            waiting.into_iter().partition(|job| job.access == access);
        waiting = rest;
        let wish = Wish {
            // The one for whose sake it goes first.
            cause: batch
                .iter()
                .map(|job| job.wish.cause)
                .min()
                .unwrap_or(first_cause),
            create: batch
                .iter()
                .map(|job| &job.wish.create)
                .max_by_key(|create| create.rank())
                .cloned()
                .unwrap_or_default(),
            accept: batch.iter().any(|job| job.wish.accept),
            span: batch
                .iter()
                .min_by_key(|job| job.wish.cause)
                .map_or_else(Span::none, |job| job.wish.span.clone()),
        };
        if !wish.cause.is_awaited()
            && let Some(rest) = engine.schedule.hold(&target.git_dir)
        {
            answer(batch, &Err(rest.refusal(&url)), 0);
            continue;
        }
        let (asked_with, cause, accept) = (access.clone(), wish.cause, wish.accept);
        let noted = JournalEntry::begins(&target, &wish);
        {
            let mut state = state.lock();
            state.syncing = true;
            state.making = (!target.git_dir.exists()).then(|| noted.name_of_new().to_owned());
        }
        let began = Instant::now();
        let work = {
            let (engine, target, noting) = (engine.clone(), target.clone(), noted.clone());
            move |watch: &Watch| {
                // The requests of all others in this batch wait for the sync of the first.
                let _sync =
                    debug_span!(parent: &wish.span, "sync", upstream = %target.url).entered();
                let result = run::sync(&engine, &target, &wish, &access, watch, &mut memory);
                noting.ended(&engine, watch.bytes(), &result);
                (result, memory, watch.bytes())
            }
        };
        let askable = batch.iter().filter_map(|job| job.questions.clone());
        let askable = askable.collect();
        // What is only there while it works is not kept for each of a thousand mirrors that wait.
        let watched =
            Box::pin(engine.watched(&url, listeners.clone(), askable, moves.clone(), work));
        let (result, bytes) = match watched.await {
            Ok((result, after, bytes)) => {
                memory = after;
                (result, bytes)
            }
            // A bug in the sync must not end the service of this mirror.
            Err(panic) => {
                memory = Memory::default();
                let result = Err(panicked(&url, &panic));
                noted.ended(&engine, 0, &result);
                (result, 0)
            }
        };
        if !cause.is_awaited() {
            // Nobody is likely to fetch right now, and an open conversation takes 130 KiB.
            memory.hang_up();
        }
        {
            let mut state = state.lock();
            state.note(&result, &asked_with, &target.git_dir);
            state.hang = Hang::after(state.hang.take(), &result, began.elapsed(), &moves);
        }
        if accept {
            // Whoever has accepted it knows.
            drop(take_mended(&target.git_dir));
        }
        plan(&engine, &target, &result, &asked_with, cause);
        if let Ok(Outcome::InStep {
            mirror,
            changed: true,
            ..
        }) = &result
        {
            engine.upkeep.after_change(&engine.gates, mirror);
        }
        answer(batch, &result, bytes);
    }
}

/// Plans the next sync that nobody asks for by how this one ended.
fn plan(
    engine: &Engine,
    target: &Target,
    result: &Result<Outcome, Trouble>,
    access: &Access,
    cause: Cause,
) {
    match result {
        Ok(Outcome::InStep { mirror, .. }) => engine.schedule.in_step(mirror),
        Ok(Outcome::Moved(_) | Outcome::Gone) => {}
        // It says nothing of what the mirror itself would sign in with.
        Err(trouble) if trouble.needs_you() && cause.is_awaited() && access.auth == Auth::AsGit => {
        }
        Err(trouble) => engine.schedule.failed(&target.git_dir, trouble),
    }
}

/// Answers all who waited; so many bytes came for the first of them. Who asked for a URL is not answered from a mirror that
/// a person has just made in the same place.
fn answer(
    batch: impl IntoIterator<Item = Box<Job>>,
    result: &Result<Outcome, Trouble>,
    bytes: u64,
) {
    for (at, job) in batch.into_iter().enumerate() {
        let mut result = result.clone();
        if let Ok(Outcome::InStep { download, .. }) = &mut result {
            let is_own = at == 0;
            *download = Download { bytes, is_own };
        }
        if let (Create::Auto, Ok(Outcome::InStep { mirror, .. })) = (&job.wish.create, &result)
            && mirror.settings.serves_url != ServesUrl::Yes
        {
            result = Ok(Outcome::Gone);
        }
        // Whoever has gone needs no answer.
        let _ = job.answer.send(result);
    }
}

/// Waits for this mirror's turn, which comes sooner when somebody joins those who wait for it. None comes when the daemon
/// stops.
async fn turn(
    engine: &Engine,
    host: &str,
    jobs: &mut mpsc::UnboundedReceiver<Box<Job>>,
    waiting: &mut VecDeque<Box<Job>>,
) -> Option<Turn> {
    loop {
        let most_urgent = waiting.iter().map(|job| Lane::from(job.wish.cause)).min();
        let lane = most_urgent.unwrap_or(Lane::Schedule);
        let taking = engine.turns.take(host, lane);
        tokio::pin!(taking);
        loop {
            tokio::select! {
                biased;
                turn = &mut taking => return turn,
                Some(job) = jobs.recv() => {
                    let is_more_urgent = Lane::from(job.wish.cause) < lane;
                    waiting.push_back(job);
                    if is_more_urgent {
                        break;
                    }
                }
            }
        }
    }
}

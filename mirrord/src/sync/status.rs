//! How mirrors are and how far their syncs have come, as far as the engine knows.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, FirstClone, Progress},
};
use tokio::sync::broadcast;

use super::{
    engine::Engine,
    job::SyncOptions,
    journal_entry::JournalEntry,
    state::{self, State},
    trouble,
};
use crate::{
    mirrors::registry::{Mirror, Target},
    upstream::{Access, Trouble},
};

impl Engine {
    /// Forgets how a mirror was, because it is removed or lies elsewhere. Nobody may be using it.
    pub(crate) fn forget(&self, mirror: &Mirror) -> io::Result<()> {
        let mut tasks = self.tasks();
        // Its task ends with the last sender of its queue.
        tasks.remove(&mirror.target());
        self.schedule.remove(&mirror.git_dir);
        self.usage.forget(&mirror.git_dir);
        state::forget(&mirror.git_dir)
    }

    /// How a mirror is.
    pub(crate) fn state(&self, mirror: &Mirror) -> State {
        let tasks = self.tasks();
        let task = tasks.get(&mirror.target());
        let mut state = task.map_or_else(State::default, |task| task.state.lock().clone());
        state.fill_from_disk(&mirror.git_dir);
        state
    }

    /// Records in the mirror's state why it could not even ask its upstream.
    pub(crate) async fn record_failure(
        self: &Arc<Self>,
        target: &Target,
        access: &Access,
        failure: &Failure,
    ) {
        let (task, git_dir) = (self.task(target), target.git_dir.clone());
        let (access, trouble) = (access.clone(), Trouble::from(failure.clone()));
        let record = move || {
            let mut state = task.state.lock();
            let running = (state.syncing, state.new_name.clone());
            state.record(&Err(trouble), &access, &git_dir);
            (state.syncing, state.new_name) = running;
        };
        // Only a panic fails here.
        let _ = tokio::task::spawn_blocking(record).await;
    }

    /// Records in the journal that a sync could not even begin.
    pub(crate) fn journal_failure(
        &self,
        target: &Target,
        options: &SyncOptions,
        failure: &Failure,
    ) {
        let result = Err(Trouble::from(failure.clone()));
        JournalEntry::begin(target, options).end(self, 0, &result);
    }

    /// Clears the failure of a mirror that has a new credential, and schedules its next sync.
    pub(crate) fn clear_failure(&self, mirror: &Mirror) {
        let tasks = self.tasks();
        if let Some(task) = tasks.get(&mirror.target()) {
            task.state.lock().clear_failure();
        }
        self.schedule.resume(&mirror.git_dir);
        if let Err(err) = trouble::forget(&mirror.git_dir) {
            tracing::warn!(
                "cannot clear the failure of '{}': {err}",
                mirror.settings.name
            );
        }
    }

    /// How many clients wait for a sync.
    pub(crate) fn waiting_clients(&self) -> usize {
        let tasks = self.tasks();
        let waiting: usize = tasks
            .values()
            .map(|task| task.listeners.receiver_count())
            .sum();
        waiting.saturating_sub(self.scheduled_syncs.load(Ordering::Relaxed))
    }

    /// The upstreams with a running sync.
    pub(crate) fn syncing_upstreams(&self) -> Vec<UpstreamUrl> {
        let tasks = self.tasks();
        tasks
            .iter()
            .filter(|(_, task)| task.state.lock().syncing)
            .map(|(target, _)| target.url.clone())
            .collect()
    }

    /// The running syncs that will make a mirror.
    pub(crate) fn first_clones(&self) -> Vec<FirstClone> {
        let tasks = self.tasks();
        let making = tasks.iter().filter_map(|(target, task)| {
            let name = task.state.lock().new_name.clone()?;
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

    /// The progress of a mirror's running sync, when one runs.
    pub(crate) fn progress(&self, mirror: &Mirror) -> Option<Progress> {
        let tasks = self.tasks();
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

    /// Writes when each mirror was last in step, which a sync that finds nothing new does not write, and its usage.
    pub(crate) fn save(&self) {
        let tasks = self.tasks();
        for task in tasks.values() {
            task.state.lock().save();
        }
        self.usage.save();
    }
}

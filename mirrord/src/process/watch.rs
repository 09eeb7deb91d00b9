//! Between a sync and those who wait for it: what they see of it, and whether anybody is still there.
//!
//! A sync runs in blocking code and only moves counters; a ticker samples them for everybody who waits. The same ticker
//! ends the sync when the last of them has gone, so that an interrupted clone stops the download that it began.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use common::protocol::{Amount, Failure, FailureKind, Progress};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch::Sender};

use crate::process::questions::Askable;

/// The interval of samples of the counters. The first line is shown within a quarter of a second.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// Waiting for upstream is worth a line after this time.
const SLOW_LISTENER_INTERVAL: Duration = Duration::from_millis(200);

/// The longest time between two messages, by which a client tells a slow upstream from a stuck daemon.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// The view of one sync from outside. A clone of a watch is a view of the same sync.
#[derive(Clone)]
pub(crate) struct Watch(Arc<Inner>);

struct Inner {
    listeners: broadcast::Sender<Progress>,
    cancelled: AtomicBool,
    cancel: Notify,
    host: String,
    /// The clients that can be asked questions of ssh.
    askable: Askable,
    /// Notified at each progress.
    moves: Sender<()>,
    stage: Mutex<Stage>,
    objects: Counter,
    deltas: Counter,
    bytes: AtomicUsize,
}

#[derive(Default)]
struct Counter {
    done: AtomicUsize,
    of: AtomicUsize,
}

#[derive(Clone, Copy)]
enum Stage {
    Asking(Instant),
    Receiving,
    Checking,
}

impl Counter {
    fn set(&self, amount: &Amount) {
        let number = |amount| usize::try_from(amount).unwrap_or(usize::MAX);
        self.done.store(number(amount.done), Ordering::Relaxed);
        self.of.store(number(amount.of), Ordering::Relaxed);
    }

    fn amount(&self) -> Amount {
        Amount {
            done: self.done.load(Ordering::Relaxed) as u64,
            of: self.of.load(Ordering::Relaxed) as u64,
        }
    }
}

impl Watch {
    /// A sync with `host`, shown to all who subscribed to `listeners`, of whom those of `askable` can be asked.
    pub(crate) fn new(
        host: &str,
        listeners: broadcast::Sender<Progress>,
        askable: Askable,
    ) -> Self {
        Self::with_moves(host, listeners, askable, Sender::default())
    }

    /// A sync as of [`Watch::new`], whose progress is also sent to `moves`.
    pub(crate) fn with_moves(
        host: &str,
        listeners: broadcast::Sender<Progress>,
        askable: Askable,
        moves: Sender<()>,
    ) -> Self {
        Self(Arc::new(Inner {
            listeners,
            cancelled: AtomicBool::new(false),
            cancel: Notify::new(),
            host: host.to_owned(),
            askable,
            moves,
            stage: Mutex::new(Stage::Asking(Instant::now())),
            objects: Counter::default(),
            deltas: Counter::default(),
            bytes: AtomicUsize::default(),
        }))
    }

    /// Whether both watch the same sync.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the clients that can be asked questions of ssh.
    pub(crate) fn askable(&self) -> &Askable {
        &self.0.askable
    }

    /// Whether somebody is being asked what ssh wants to know: how long that takes is not upstream's fault.
    pub(crate) fn is_asking(&self) -> bool {
        let mut askable = self.0.askable.iter();
        askable.any(|asker| asker.asking.borrow().is_some())
    }

    /// Records progress: upstream sent something, or we process what it sent.
    pub(crate) fn record_progress(&self) {
        self.0.moves.send_replace(());
    }

    /// Records that upstream was asked something and has not answered.
    pub(crate) fn asking(&self) {
        self.enter(Stage::Asking(Instant::now()));
    }

    /// Records that a pack is coming.
    pub(crate) fn receiving(&self) {
        self.enter(Stage::Receiving);
    }

    /// Records that the pack has come and is being checked.
    pub(crate) fn checking(&self) {
        self.record_progress();
        self.enter(Stage::Checking);
        self.send(Progress::Checking);
    }

    /// Upstream said something on its side band.
    pub(crate) fn remote(&self, text: &[u8]) {
        self.send(Progress::Remote(text.to_vec()));
    }

    /// Progress that a child of git counted.
    pub(crate) fn counted(&self, progress: Option<Progress>) {
        match progress {
            Some(Progress::Receiving(amount, bytes)) => {
                self.0.objects.set(&amount);
                self.set_bytes(bytes);
            }
            Some(Progress::Resolving(amount)) => self.0.deltas.set(&amount),
            _ => {}
        }
    }

    /// Records the bytes of a pack that have come so far.
    pub(crate) fn set_bytes(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Ends the sync at its next step; a blocked read ends at once.
    pub(crate) fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
        self.0.cancel.notify_waiters();
    }

    /// Whether the sync should end.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.flag().load(Ordering::Relaxed)
    }

    /// The flag that gix's loops look at.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0.cancelled
    }

    /// Resolves when the sync should end.
    pub(crate) async fn cancelled(&self) {
        let notified = self.0.cancel.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.is_cancelled() {
            notified.await;
        }
    }

    /// Samples the counters for those who wait, and cancels when nobody does. Runs until dropped.
    pub(crate) async fn tick(self) {
        let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
        let mut last: (Option<Progress>, Instant) = (None, Instant::now());
        loop {
            ticks.tick().await;
            if self.0.listeners.receiver_count() == 0 {
                self.cancel();
            }
            let Some(progress) = self.sample() else {
                continue;
            };
            let (before, at) = &last;
            let is_at_work = matches!(progress, Progress::Resolving(_) | Progress::Checking);
            if is_at_work {
                self.record_progress();
            }
            // Everybody sees the end of one stage before the beginning of the next.
            let resolving = |progress: &Progress| matches!(progress, Progress::Resolving(_));
            if resolving(&progress) && !before.as_ref().is_some_and(resolving) {
                self.received().into_iter().for_each(|done| self.send(done));
            }
            if before.as_ref() != Some(&progress) || at.elapsed() >= KEEPALIVE_INTERVAL {
                self.send(progress.clone());
                last = (Some(progress), Instant::now());
            }
        }
    }

    /// Sends the last progress of the download, so that no listener shows an unfinished line.
    pub(crate) fn finish(&self) {
        for progress in [self.received(), self.resolved()].into_iter().flatten() {
            self.send(progress);
        }
    }

    /// Bytes of packs that have come so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed) as u64
    }

    /// Whether these see it.
    pub(crate) fn is_seen_by(&self, listeners: &broadcast::Sender<Progress>) -> bool {
        self.0.listeners.same_channel(listeners)
    }

    /// Returns the progress.
    pub(crate) fn sample(&self) -> Option<Progress> {
        let stage = *self.0.stage.lock();
        match stage {
            Stage::Asking(since) if since.elapsed() < SLOW_LISTENER_INTERVAL => None,
            Stage::Asking(since) => {
                let seconds = u32::try_from(since.elapsed().as_secs()).unwrap_or(u32::MAX);
                Some(Progress::Asking {
                    host: self.0.host.clone(),
                    seconds,
                })
            }
            Stage::Receiving => self.resolved().or_else(|| self.received()),
            Stage::Checking => Some(Progress::Checking),
        }
    }

    fn received(&self) -> Option<Progress> {
        let amount = self.0.objects.amount();
        let bytes = self.bytes();
        (amount.of > 0).then_some(Progress::Receiving(amount, bytes))
    }

    fn resolved(&self) -> Option<Progress> {
        let amount = self.0.deltas.amount();
        (amount.of > 0).then_some(Progress::Resolving(amount))
    }

    fn enter(&self, stage: Stage) {
        *self.0.stage.lock() = stage;
    }

    /// Sends progress to all listeners. A slow listener misses a message and gets the next total.
    fn send(&self, progress: Progress) {
        let _ = self.0.listeners.send(progress);
    }
}
/// The failure of what was stopped on purpose.
pub(crate) fn cancelled() -> Failure {
    Failure::new(
        FailureKind::Cancelled,
        "mirrord was stopped before the sync was done",
    )
    .hinted("the same command again starts it anew")
}

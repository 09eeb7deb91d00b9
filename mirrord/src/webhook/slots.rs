//! The connections that are open, and which of them has to go when there is no room for one more: the one that has been
//! longest about its headers, or else about its body. Whoever says nothing, or a byte now and then, is in nobody's way;
//! and who has just come gets to say what it has to say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{task::AbortHandle, time::Instant};

/// How many may be open at once.
const MAX_CONNECTIONS: usize = 64;

/// Nobody has to go sooner than this: what has been sent with the connection is read by then.
const EVICTION_GRACE: Duration = Duration::from_millis(20);

/// How soon it is looked again whether one can go.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// The connections that are open.
#[derive(Debug, Clone, Default)]
pub(super) struct Slots(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    slots: HashMap<u64, (Stage, Option<AbortHandle>)>,
}

/// What a connection is about; the first to go is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Its headers, since then.
    Headers(Instant),
    /// Its body, since then.
    Body(Instant),
    /// Nothing more: it is being answered.
    Answer,
}

impl Stage {
    fn may_go(&self) -> bool {
        match self {
            Self::Headers(since) | Self::Body(since) => since.elapsed() >= EVICTION_GRACE,
            Self::Answer => false,
        }
    }
}

/// The place of one connection; dropping it makes room.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    number: u64,
}

impl Slots {
    /// Makes room for one more connection, at the cost of another if need be.
    pub(super) async fn take(&self) -> Slot {
        loop {
            if let Some(slot) = self.try_take() {
                return slot;
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// `None` where all are being answered, or have just come.
    fn try_take(&self) -> Option<Slot> {
        let mut open = self.lock();
        if open.slots.len() >= MAX_CONNECTIONS {
            let stages = open
                .slots
                .iter()
                .map(|(number, (stage, _))| (*stage, *number));
            let (_, number) = stages.filter(|(stage, _)| stage.may_go()).min()?;
            if let Some((_, Some(connection))) = open.slots.remove(&number) {
                connection.abort();
            }
        }
        open.next += 1;
        let number = open.next;
        let stage = Stage::Headers(Instant::now());
        open.slots.insert(number, (stage, None));
        Some(Slot {
            slots: self.clone(),
            number,
        })
    }

    /// By what a connection can be ended; one that has ended by now needs none.
    pub(super) fn can_end(&self, number: u64, connection: AbortHandle) {
        match self.lock().slots.get_mut(&number) {
            Some((_, handle)) => *handle = Some(connection),
            // It had to go before anybody knew how, or has gone by itself.
            None => connection.abort(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Which one it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Its headers are awaited, from now on.
    pub(super) fn awaits_headers(&self) {
        self.is_at(Stage::Headers(Instant::now()));
    }

    /// Its body is awaited, from now on.
    pub(super) fn awaits_body(&self) {
        self.is_at(Stage::Body(Instant::now()));
    }

    /// Everything has come.
    pub(super) fn is_answered(&self) {
        self.is_at(Stage::Answer);
    }

    fn is_at(&self, at: Stage) {
        if let Some((stage, _)) = self.slots.lock().slots.get_mut(&self.number) {
            *stage = at;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.lock().slots.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Takes all places, a second apart.
    async fn full() -> (Slots, Vec<Slot>) {
        let slots = Slots::default();
        let mut taken = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            taken.push(slots.try_take().expect("there is room"));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        (slots, taken)
    }

    fn is_open(slots: &Slots, slot: &Slot) -> bool {
        slots.lock().slots.contains_key(&slot.number)
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_places_are_taken_the_one_longest_without_headers_goes() {
        let (slots, taken) = full().await;
        taken[0].awaits_body();
        taken[1].awaits_headers();
        let waiting = tokio::spawn(std::future::pending::<()>());
        slots.can_end(taken[2].number, waiting.abort_handle());
        let one_more = slots.try_take().expect("room was made");
        assert!(!is_open(&slots, &taken[2]), "it had been so the longest");
        assert!(waiting.await.is_err_and(|err| err.is_cancelled()));
        assert!(is_open(&slots, &one_more));
        assert_eq!(slots.lock().slots.len(), MAX_CONNECTIONS);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_come_does_not_go() {
        let (slots, taken) = full().await;
        taken.iter().for_each(Slot::awaits_headers);
        assert!(slots.try_take().is_none());
        let began = Instant::now();
        let one_more = slots.take().await;
        assert!(is_open(&slots, &one_more) && began.elapsed() >= EVICTION_GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_goes_before_an_answer() {
        let (slots, taken) = full().await;
        taken.iter().for_each(Slot::is_answered);
        assert!(slots.try_take().is_none(), "all have something to come");
        taken[7].awaits_body();
        tokio::time::advance(EVICTION_GRACE).await;
        assert!(slots.try_take().is_some());
        assert!(!is_open(&slots, &taken[7]));
        drop(taken);
        assert!(slots.lock().slots.is_empty());
    }
}

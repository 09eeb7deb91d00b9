//! The open connections of the listener, and which one is closed when a new one comes and the limit is reached: the one
//! that has taken longest over its headers, or else over its body. A client that sends nothing, or a byte now and then,
//! therefore blocks nobody, and a client that has just connected has time to send its request.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::{task::AbortHandle, time::Instant};

/// The number of connections that may be open at once.
const MAX_CONNECTIONS: usize = 64;

/// A connection is not closed sooner than this: a request that was sent together with the connection is read by then.
const EVICTION_GRACE: Duration = Duration::from_millis(20);

/// How often `acquire` tries again while no connection can be closed.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// All open connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    open: HashMap<u64, Connection>,
}

/// One open connection.
#[derive(Debug)]
struct Connection {
    stage: Stage,
    /// Ends the connection's task; `None` until that has been spawned.
    task: Option<AbortHandle>,
}

/// What a connection waits for. The order is the order of eviction: the least is closed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The headers of a request, since then.
    Headers(Instant),
    /// The body of a request, since then.
    Body(Instant),
    /// Nothing: the request has been read and is being answered.
    Answer,
}

impl Stage {
    fn can_be_evicted(&self) -> bool {
        match self {
            Self::Headers(since) | Self::Body(since) => since.elapsed() >= EVICTION_GRACE,
            Self::Answer => false,
        }
    }
}

/// The slot of one connection. Dropping it makes room for another connection.
#[derive(Debug)]
pub(in super::super) struct Slot {
    connections: Connections,
    id: u64,
}

impl Connections {
    /// Returns a slot for a new connection, and closes another connection if the limit is reached.
    pub(super) async fn acquire(&self) -> Slot {
        loop {
            if let Some(slot) = self.try_acquire() {
                return slot;
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }

    /// Returns `None` if the limit is reached and every connection is being answered or has just begun.
    fn try_acquire(&self) -> Option<Slot> {
        let mut state = self.lock();
        if state.open.len() >= MAX_CONNECTIONS {
            let stages = state.open.iter();
            let stages = stages.map(|(id, connection)| (connection.stage, *id));
            let evictable = stages.filter(|(stage, _)| stage.can_be_evicted());
            let (_, id) = evictable.min()?;
            if let Some(task) = state.open.remove(&id).and_then(|evicted| evicted.task) {
                task.abort();
            }
        }
        state.last_id += 1;
        let id = state.last_id;
        let stage = Stage::Headers(Instant::now());
        state.open.insert(id, Connection { stage, task: None });
        Some(Slot {
            connections: self.clone(),
            id,
        })
    }

    /// Sets the handle by which a connection's task is ended when the connection is evicted.
    pub(super) fn set_abort_handle(&self, id: u64, task: AbortHandle) {
        match self.lock().open.get_mut(&id) {
            Some(connection) => connection.task = Some(task),
            // The connection was evicted before its task was known, or the task has ended.
            None => task.abort(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

impl Slot {
    /// The number of the connection.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Records that the connection waits for headers from now on.
    pub(super) fn set_reading_headers(&self) {
        self.set_stage(Stage::Headers(Instant::now()));
    }

    /// Records that the connection waits for a body from now on.
    pub(super) fn set_reading_body(&self) {
        self.set_stage(Stage::Body(Instant::now()));
    }

    /// Records that the request has been read.
    pub(in super::super) fn set_answering(&self) {
        self.set_stage(Stage::Answer);
    }

    fn set_stage(&self, stage: Stage) {
        if let Some(connection) = self.connections.lock().open.get_mut(&self.id) {
            connection.stage = stage;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.connections.lock().open.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Opens as many connections as there may be, a second apart.
    async fn at_the_limit() -> (Connections, Vec<Slot>) {
        let connections = Connections::default();
        let mut slots = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            slots.push(connections.try_acquire().expect("there is room"));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        (connections, slots)
    }

    fn is_open(connections: &Connections, slot: &Slot) -> bool {
        connections.lock().open.contains_key(&slot.id)
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_the_connection_longest_without_headers_is_closed() {
        let (connections, slots) = at_the_limit().await;
        slots[0].set_reading_body();
        slots[1].set_reading_headers();
        let task = tokio::spawn(std::future::pending::<()>());
        connections.set_abort_handle(slots[2].id, task.abort_handle());
        let new = connections.try_acquire().expect("room was made");
        assert!(!is_open(&connections, &slots[2]), "it has waited longest");
        assert!(task.await.is_err_and(|err| err.is_cancelled()));
        assert!(is_open(&connections, &new));
        assert_eq!(connections.lock().open.len(), MAX_CONNECTIONS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_just_begun_is_not_closed() {
        let (connections, slots) = at_the_limit().await;
        slots.iter().for_each(Slot::set_reading_headers);
        assert!(connections.try_acquire().is_none());
        let start = Instant::now();
        let new = connections.acquire().await;
        assert!(is_open(&connections, &new) && start.elapsed() >= EVICTION_GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_waits_for_its_body_is_closed_before_one_that_is_answered() {
        let (connections, slots) = at_the_limit().await;
        slots.iter().for_each(Slot::set_answering);
        assert!(
            connections.try_acquire().is_none(),
            "all are being answered"
        );
        slots[7].set_reading_body();
        tokio::time::advance(EVICTION_GRACE).await;
        assert!(connections.try_acquire().is_some());
        assert!(!is_open(&connections, &slots[7]));
        drop(slots);
        assert!(connections.lock().open.is_empty());
    }
}

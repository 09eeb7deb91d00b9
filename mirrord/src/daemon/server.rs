//! Serves the socket: one task per connection, and one conversation per connection. Each request goes on in `dispatch`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{
    paths::Paths,
    protocol::{
        Opening,
        wire::{self, FRAME_TIMEOUT, WireError},
    },
};
use interprocess::local_socket::tokio::{Stream, prelude::*};
use parking_lot::Mutex;
use tokio::{
    signal::unix::Signal,
    sync::Notify,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tracing::Instrument as _;

use crate::{
    daemon::{
        activation,
        connections::Connections,
        jobs::{budgets, scheduled, sweeps},
        lock::Lock,
        socket::Socket,
    },
    requests::conversation::Conversation,
    sync::Engine,
    webhook::Webhook,
};

/// Conversations that are still open this long after a stop are cut off.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// A daemon that makes way for another one goes on serving for so long, or until no client is left.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the daemon checks that its home and its socket are still there.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// After a connection could not be accepted, the next one is tried after this time.
const ACCEPT_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// A client that has been greeted sends its request within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What shows a daemon that it has lost its home or its socket.
pub(crate) struct Home {
    /// The lock on its home.
    pub lock: Arc<Lock>,
    /// The signal of a client that does not find the socket.
    pub socket_missed: Signal,
}

/// How a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At once: clients that wait for a sync are told so.
    Stop,
    /// When no client is left, or soon: another daemon follows, and serves the next clients.
    MakeWay,
}

/// What all conversations share.
pub(crate) struct Server {
    /// What syncs.
    pub engine: Arc<Engine>,
    /// The listener for GitLab's webhooks, when it is on.
    pub webhook: Arc<Webhook>,
    pub(super) paths: Paths,
    pub(super) started: Instant,
    pub(super) clients: AtomicUsize,
    pub(super) connections: Connections,
    stop: Notify,
    /// Conversations of clients that wait for the end of this process.
    stoppers: Mutex<Vec<Conversation>>,
}

impl Server {
    /// Makes a server for the engine's mirrors.
    pub(crate) fn new(engine: Arc<Engine>, paths: Paths) -> Arc<Self> {
        let clients = AtomicUsize::new(0);
        Arc::new(Self {
            connections: Connections::new(),
            webhook: Webhook::new(&engine),
            engine,
            paths,
            started: Instant::now(),
            clients,
            stop: Notify::new(),
            stoppers: Mutex::default(),
        })
    }

    /// Serves until `shutdown` resolves, a client asks for the end, or the home is gone. Then conversations that are open
    /// may end, except where the home is gone.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut socket: Socket,
        Home {
            lock,
            mut socket_missed,
        }: Home,
        shutdown: impl Future<Output = Ending>,
    ) {
        let mut conversations = JoinSet::new();
        let mut jobs = self.spawn_jobs(&lock);
        let mut handover_ends = None;
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(shutdown);
        while handover_ends.is_none() || !conversations.is_empty() {
            tokio::select! {
                connection = socket.accept(), if conversations.len() < self.connections.max => match connection {
                    Ok(_) if !lock.is_in_place() => break,
                    Ok(stream) => drop(conversations.spawn(self.clone().converse(stream))),
                    Err(err) => {
                        // Most likely the process is out of descriptors; a conversation that ends gives some back.
                        tracing::warn!("cannot accept a connection: {err}");
                        sleep(ACCEPT_RETRY_INTERVAL).await;
                    }
                },
                Some(_) = conversations.join_next() => {}
                ending = &mut shutdown, if handover_ends.is_none() => match ending {
                    Ending::Stop => break,
                    Ending::MakeWay => {
                        tracing::info!("making way for the next daemon");
                        handover_ends = Some(Instant::now() + HANDOVER_TIMEOUT);
                    }
                },
                () = self.stop.notified() => break,
                _ = checks.tick() => match lock.is_in_place() {
                    true => socket.remake_if_gone(),
                    false => break,
                },
                Some(()) = socket_missed.recv() => match lock.is_in_place() {
                    true => socket.remake_if_unreachable().await,
                    false => break,
                },
                () = sleep_until(handover_ends.unwrap_or_else(Instant::now)), if handover_ends.is_some() => break,
            }
        }
        activation::notify_stopping();
        tracing::info!("stopping");
        // From here on clients find no daemon. The next client starts one, which waits for our lock.
        let is_home = lock.is_in_place();
        socket.close(is_home);
        jobs.abort_all();
        self.webhook.shutdown().await;
        self.engine.stop();
        if !is_home {
            // The directory that is there now, if any, is another daemon's.
            tracing::error!("the home is gone, or is another one by now: ending at once");
            conversations.shutdown().await;
            return;
        }
        let _ = timeout(DRAIN_TIMEOUT, async {
            while conversations.join_next().await.is_some() {}
        })
        .await;
        conversations.shutdown().await;
        self.engine.upkeep.ended().await;
        self.engine.save();
    }

    /// Takes the locks that all conversations share. Where a stuck task never gives one back, this does not return, and the
    /// watchdog is not fed.
    pub(crate) fn take_shared_locks(&self) {
        self.engine.waiting_clients();
    }

    fn spawn_jobs(self: &Arc<Self>, lock: &Arc<Lock>) -> JoinSet<()> {
        let engine = &self.engine;
        let mut jobs = JoinSet::new();
        jobs.spawn(scheduled::run(engine.clone(), lock.clone()));
        jobs.spawn(budgets::run(engine.clone()));
        jobs.spawn(sweeps::run(engine.clone()));
        jobs.spawn(follow_touches(engine.clone()));
        jobs.spawn(self.webhook.clone().resume());
        jobs
    }

    async fn converse(self: Arc<Self>, stream: Stream) {
        self.clients.fetch_add(1, Ordering::Relaxed);
        match self.serve(stream).await {
            Ok(()) | Err(WireError::Closed) => {}
            Err(err) => tracing::debug!("a conversation ended: {err}"),
        }
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    async fn serve(&self, mut stream: Stream) -> Result<(), WireError> {
        let peer = stream.peer_creds()?;
        if peer.euid() != Some(rustix::process::geteuid().as_raw()) {
            tracing::warn!("another user tried to connect");
            return Ok(());
        }
        wire::greet(&mut stream, FRAME_TIMEOUT).await?;
        let opening = timeout(REQUEST_TIMEOUT, wire::recv(&mut stream)).await;
        let Opening { id, request } = opening.map_err(|_| WireError::Late)??;
        let title = tracing::enabled!(tracing::Level::DEBUG).then(|| request.title());
        let conversation = Conversation::new(stream, title);
        let span = tracing::debug_span!("request", %id);
        self.answer(conversation, request).instrument(span).await
    }

    /// Stops the daemon for a client, whose connection stays open until the process ends: the client waits for that.
    pub(super) fn stop(&self, conversation: Conversation) {
        self.stoppers.lock().push(conversation);
        self.stop.notify_one();
    }
}

/// Compares the packs of mirrors that were read lately as soon as a program touches them. Runs until dropped. Where the system
/// reports no changes of files, the next read compares.
async fn follow_touches(engine: Arc<Engine>) {
    #[cfg(target_os = "linux")]
    let upkeep = engine.upkeep.clone();
    #[cfg(target_os = "linux")]
    upkeep
        .compare_touched(&engine.registry, &engine.gates)
        .await;
    #[cfg(not(target_os = "linux"))]
    drop(engine);
}

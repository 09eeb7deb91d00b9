//! The socket's other side: one task per connection, one conversation per connection.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::{
    paths::Paths,
    protocol::{Answer, Ask, Failure, MirrorInfo, Progress, Reply, Request, Status},
    wire::{self, WireError},
};
use interprocess::local_socket::tokio::{Listener, Stream, prelude::*};
use tokio::{
    sync::{
        Notify,
        broadcast::{self, error::RecvError},
    },
    task::JoinSet,
    time::Instant,
};

use crate::{fetch, push, sync::Engine};

/// Conversations that are still open this long after a stop are cut off.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client hears something at least this often.
const ALIVE: Duration = Duration::from_secs(5);

/// A client that does not listen for this long is given up.
const DEAF: Duration = Duration::from_secs(30);

/// Mirrors in one message: far below the limit of a frame.
const BATCH: usize = 500;

/// What conversations need.
pub(crate) struct Server {
    /// What syncs.
    pub engine: Arc<Engine>,
    paths: Paths,
    started: Instant,
    clients: AtomicUsize,
    stop: Notify,
    stoppers: Mutex<Vec<Conversation>>,
}

impl Server {
    /// A server for the engine's mirrors.
    pub(crate) fn new(engine: Arc<Engine>, paths: Paths) -> Arc<Self> {
        let clients = AtomicUsize::new(0);
        Arc::new(Self {
            engine,
            paths,
            started: Instant::now(),
            clients,
            stop: Notify::new(),
            stoppers: Mutex::default(),
        })
    }

    /// Serves until `shutdown` resolves or a client asks for the end; then finishes what is being served.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: Listener,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut conversations = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                connection = listener.accept() => match connection {
                    Ok(stream) => drop(conversations.spawn(self.clone().converse(stream))),
                    Err(err) => {
                        // Out of descriptors, most likely: those who are served will give some back.
                        tracing::warn!("cannot accept a connection: {err}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = conversations.join_next() => {}
                () = &mut shutdown => break,
                () = self.stop.notified() => break,
            }
        }
        tracing::info!("stopping");
        // From here on clients find nobody, and the next one starts a new daemon, which waits for our lock.
        drop(listener);
        self.engine.stop();
        let _ = tokio::time::timeout(PATIENCE, async {
            while conversations.join_next().await.is_some() {}
        })
        .await;
        conversations.shutdown().await;
        self.engine.settle();
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
        wire::greet(&mut stream).await?;
        let request = wire::recv(&mut stream).await?;
        let mut conversation = Conversation {
            stream,
            heard: Instant::now(),
        };
        match request {
            Request::Fetch(request) => {
                match fetch::fetch(&self.engine, &mut conversation, request).await? {
                    Ok(fetched) => {
                        conversation.say(&Reply::Ready(fetched.ready)).await?;
                        // The client reads the mirror now; its connection says for how long.
                        conversation.end().await;
                        Ok(())
                    }
                    Err(failure) => conversation.say(&Reply::Failed(failure)).await,
                }
            }
            Request::Push(request) => push::open(&self.engine, &mut conversation, request).await,
            Request::Reserve(request) => {
                push::carry_out(&self.engine, &mut conversation, request).await
            }
            Request::Login { id, origin } => {
                let login = self.engine.upstreams.logins.take(&id, &origin);
                let unknown = || Reply::Failed(Failure::here("no login waits under this id"));
                conversation
                    .say(&login.map_or_else(unknown, Reply::Login))
                    .await
            }
            Request::List => match self.mirrors() {
                Ok(mirrors) => {
                    for batch in mirrors.chunks(BATCH) {
                        conversation.say(&Reply::Mirrors(batch.to_vec())).await?;
                    }
                    conversation.say(&Reply::Done).await
                }
                Err(err) => {
                    conversation
                        .say(&Reply::Failed(Failure::here(format!(
                            "cannot list the mirrors: {err}"
                        ))))
                        .await
                }
            },
            Request::Status => {
                let status = self.status();
                conversation.say(&Reply::Status(status)).await
            }
            Request::Stop => {
                conversation.say(&Reply::Done).await?;
                // Kept open for as long as this process lives: its end is the end that the client waits for.
                self.stoppers
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(conversation);
                self.stop.notify_one();
                Ok(())
            }
        }
    }

    fn mirrors(&self) -> io::Result<Vec<MirrorInfo>> {
        let mirrors = self.engine.registry.all()?;
        let info = |mirror: crate::registry::Mirror| {
            let state = self.engine.state(&mirror);
            MirrorInfo {
                name: mirror.settings.name.to_string(),
                url: mirror.settings.url.to_string(),
                git_dir: mirror.git_dir,
                synced: state.synced.map(seconds),
                failing: state.failing,
                syncing: state.syncing,
            }
        };
        Ok(mirrors.into_iter().map(info).collect())
    }

    fn status(&self) -> Status {
        let syncing = self.engine.syncing().into_iter().map(|url| url.to_string());
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime: self.started.elapsed().as_secs(),
            socket: self.paths.socket(),
            mirrors_dir: self.paths.mirrors(),
            mirrors: self
                .engine
                .registry
                .all()
                .map_or(0, |mirrors| mirrors.len()),
            // The one who asks is one of them.
            clients: self.clients.load(Ordering::Relaxed).saturating_sub(1),
            waiting: self.engine.waiting(),
            syncing: syncing.collect(),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// One client's end of the line.
pub(crate) struct Conversation {
    stream: Stream,
    heard: Instant,
}

impl Conversation {
    /// Says one thing.
    ///
    /// # Errors
    /// Fails when the client has gone.
    pub(crate) async fn say(&mut self, reply: &Reply) -> Result<(), WireError> {
        self.heard = Instant::now();
        // A client that was stopped must not hold up what others wait for.
        tokio::time::timeout(DEAF, wire::send(&mut &self.stream, reply))
            .await
            .map_err(|_| WireError::Late)?
    }

    /// Asks the person.
    ///
    /// # Errors
    /// Fails when the client has gone.
    pub(crate) async fn ask(&mut self, question: Ask) -> Result<Answer, WireError> {
        self.say(&Reply::Ask(question)).await?;
        self.hear().await
    }

    /// Waits for what the client says, which may be long in coming.
    ///
    /// # Errors
    /// Fails when the client has gone.
    pub(crate) async fn hear(&mut self) -> Result<Answer, WireError> {
        wire::recv(&mut &self.stream).await
    }

    /// Waits for something while the client sees how far it is, and ends when the client does.
    ///
    /// # Errors
    /// Fails when the client has gone; what was waited for is dropped.
    pub(crate) async fn wait<T>(
        &mut self,
        host: &str,
        progress: &mut broadcast::Receiver<Progress>,
        future: impl Future<Output = T>,
    ) -> Result<T, WireError> {
        let began = Instant::now();
        let mut closed = false;
        tokio::pin!(future);
        let outcome = loop {
            let mut hearing = &self.stream;
            let said = tokio::select! {
                biased;
                outcome = &mut future => break outcome,
                // A client has nothing to say here, so whatever comes is its end.
                _ = wire::recv::<Answer>(&mut hearing) => return Err(WireError::Closed),
                said = progress.recv(), if !closed => match said {
                    Ok(progress) => progress,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => {
                        closed = true;
                        continue;
                    }
                },
                () = tokio::time::sleep_until(self.heard + ALIVE) => {
                    let seconds = u32::try_from(began.elapsed().as_secs()).unwrap_or(u32::MAX);
                    Progress::Asking { host: host.to_owned(), seconds }
                }
            };
            self.say(&Reply::Progress(said)).await?;
        };
        // What was said before the end is heard before the end.
        while let Ok(progress) = progress.try_recv() {
            self.say(&Reply::Progress(progress)).await?;
        }
        Ok(outcome)
    }

    /// Waits until the client has gone.
    pub(crate) async fn end(&mut self) {
        while wire::recv::<Answer>(&mut &self.stream).await.is_ok() {}
    }
}

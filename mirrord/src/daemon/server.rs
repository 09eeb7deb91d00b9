//! The socket's other side: one task per connection, one conversation per connection.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{
    daemon_process,
    paths::Paths,
    protocol::{
        Cause, Failure, Fetch, Lack, LocalRef, Mirror, MirrorInfo, OneTimeId, Opening, Reply,
        Request, Shown, Status,
        wire::{self, FRAME_TIMEOUT, WireError, batches},
    },
};
use interprocess::local_socket::tokio::{Stream, prelude::*};
use parking_lot::Mutex;
use tokio::{
    signal::unix::Signal,
    sync::Notify,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
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
    process::blocking::blocking,
    repository::checked,
    requests::{
        add,
        conversation::Conversation,
        edit,
        fetch::{self, Purpose},
        history, log, push, show,
    },
    sync::{Engine, Wish},
    webhook::Webhook,
};

/// Conversations that are still open this long after a stop are cut off.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// A daemon that another one will follow goes on serving for so long, unless nobody is there.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(15);

/// How often the daemon looks whether its home and its socket are still there.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A client that has been greeted sends its request within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What tells a daemon that it has lost its home or its socket.
pub(crate) struct Watched {
    /// The lock on its home.
    pub lock: Arc<Lock>,
    /// Resolves when a client does not find the socket.
    pub look: Signal,
}

/// How a daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At once: whoever waits for a sync is told so.
    Stop,
    /// When nobody is there, or soon: another one follows, and it is all the same who answers.
    MakeWay,
}

/// What conversations need.
pub(crate) struct Server {
    /// What syncs.
    pub engine: Arc<Engine>,
    /// What hosts of mirrors talk to, when it is on.
    pub webhook: Arc<Webhook>,
    paths: Paths,
    started: Instant,
    clients: AtomicUsize,
    connections: Connections,
    stop: Notify,
    stoppers: Mutex<Vec<Conversation>>,
}

impl Server {
    /// A server for the engine's mirrors.
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

    /// Serves until `shutdown` resolves, a client asks for the end, or the home is another's; then finishes what is being
    /// served, but for the last.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut socket: Socket,
        Watched { lock, mut look }: Watched,
        shutdown: impl Future<Output = Ending>,
    ) {
        let mut conversations = JoinSet::new();
        let unasked = tokio::spawn(scheduled::drive(self.engine.clone(), lock.clone()));
        let budgets = tokio::spawn(budgets::drive(self.engine.clone()));
        let rounds = tokio::spawn(sweeps::drive(self.engine.clone()));
        let touches = tokio::spawn(follow_touches(self.engine.clone()));
        let resuming = tokio::spawn(self.webhook.clone().resume());
        let mut last = None;
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(shutdown);
        while last.is_none() || !conversations.is_empty() {
            tokio::select! {
                connection = socket.accept(), if conversations.len() < self.connections.max => match connection {
                    Ok(_) if !lock.is_in_place() => break,
                    Ok(stream) => drop(conversations.spawn(self.clone().converse(stream))),
                    Err(err) => {
                        // Out of descriptors, most likely: those who are served will give some back.
                        tracing::warn!("cannot accept a connection: {err}");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = conversations.join_next() => {}
                ending = &mut shutdown, if last.is_none() => match ending {
                    Ending::Stop => break,
                    Ending::MakeWay => {
                        tracing::info!("making way for the next daemon");
                        last = Some(Instant::now() + HANDOVER_TIMEOUT);
                    }
                },
                () = self.stop.notified() => break,
                _ = looks.tick() => match lock.is_in_place() {
                    true => socket.remake_if_gone(),
                    false => break,
                },
                Some(()) = look.recv() => match lock.is_in_place() {
                    true => socket.remake_if_deaf().await,
                    false => break,
                },
                () = tokio::time::sleep_until(last.unwrap_or_else(Instant::now)), if last.is_some() => break,
            }
        }
        activation::say_stopping();
        tracing::info!("stopping");
        // From here on clients find nobody, and the next one starts a new daemon, which waits for our lock.
        let is_home = lock.is_in_place();
        socket.close(is_home);
        unasked.abort();
        budgets.abort();
        rounds.abort();
        touches.abort();
        resuming.abort();
        self.webhook.shutdown().await;
        self.engine.stop();
        if !is_home {
            // What lies there now is not ours to read or write.
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
        self.engine.settle();
    }

    /// Looks at what all conversations share; whoever holds it for good is stuck, and so is whoever looks.
    pub(crate) fn look(&self) {
        self.engine.waiting();
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

    /// Carries out one request, to its final reply.
    async fn answer(
        &self,
        mut conversation: Conversation,
        request: Request,
    ) -> Result<(), WireError> {
        let _admitted = match self.connections.admit(&request) {
            Ok(admitted) => admitted,
            Err(failure) => return conversation.say(&Reply::Failed(failure)).await,
        };
        match request {
            Request::Fetch(request) => {
                let is_clone = request.lacks == Lack::Everything;
                match fetch::fetch(&self.engine, &mut conversation, request, Purpose::Read).await? {
                    Ok(fetched) => {
                        conversation.say(&Reply::Ready(fetched.ready)).await?;
                        let git_dir = &fetched.mirror.git_dir;
                        let usage = &self.engine.usage;
                        usage.answered(git_dir, is_clone, fetched.download);
                        // The client reads the mirror now; its connection says for how long.
                        conversation.end().await;
                        drop(fetched.reading);
                        Ok(())
                    }
                    Err(failure) => conversation.say(&Reply::Failed(failure)).await,
                }
            }
            Request::Look(git_dir) => {
                self.look_through(&git_dir);
                conversation.say(&Reply::Done).await
            }
            Request::PassesThrough(mirror) => {
                let passes = fetch::passes_through(&self.engine, &mirror);
                let passes = passes.map_or_else(Reply::Failed, Reply::PassesThrough);
                conversation.say(&passes).await
            }
            Request::Download(request) => {
                fetch::download(&self.engine, request);
                conversation.say(&Reply::Done).await
            }
            Request::Push(request) => push::open(&self.engine, &mut conversation, request).await,
            Request::Reserve(request) => {
                push::carry_out(&self.engine, &mut conversation, request).await
            }
            Request::Login { id, push, origin } => {
                let logins = &self.engine.upstreams.logins;
                let login = logins.take(&id, push.as_deref(), &origin);
                let unknown = || Reply::Failed(Failure::here("no login waits under this id"));
                conversation
                    .say(&login.map_or_else(unknown, Reply::Login))
                    .await
            }
            Request::LoginTried { id, accepted } => {
                self.note_tried(&id, accepted).await;
                conversation.say(&Reply::Done).await
            }
            Request::Question { id, push, prompt } => {
                let questions = &self.engine.upstreams.questions;
                let answering = questions.answer(&id, push.as_deref(), prompt);
                let answer = conversation.wait_quietly(answering).await?;
                let unknown = || Reply::Failed(Failure::here("nobody answers"));
                conversation
                    .say(&answer.map_or_else(unknown, Reply::Said))
                    .await
            }
            Request::Add(request) => add::add(&self.engine, &mut conversation, request).await,
            Request::Test(request) => fetch::test(&self.engine, &mut conversation, request).await,
            Request::Sync(request) => self.sync(&mut conversation, request, false).await,
            Request::Accept(request) => self.sync(&mut conversation, request, true).await,
            Request::Set(request) => {
                let changed = edit::set(&self.engine, request);
                conversation.report(changed).await
            }
            Request::Rename(mirror, name) => {
                let renamed = edit::rename(&self.engine, &mirror, &name);
                conversation.report(renamed).await
            }
            Request::Remove { mirror, force } => {
                let bundles = self.paths.bundles();
                edit::carry_out_remove(&self.engine, &mut conversation, &mirror, force, bundles)
                    .await
            }
            Request::Restore(request) => {
                let restored = history::restore(&self.engine, &request);
                conversation.report(restored).await
            }
            Request::History(mirror, name) => {
                history::carry_out(&self.engine, &mut conversation, &mirror, name.as_deref()).await
            }
            Request::Show(mirror) => match self.show(&mut conversation, mirror).await? {
                Ok((shown, locals)) => {
                    conversation.say(&Reply::Shown(Box::new(shown))).await?;
                    conversation.say_locals(locals).await?;
                    conversation.say(&Reply::Done).await
                }
                Err(failure) => conversation.say(&Reply::Failed(failure)).await,
            },
            Request::Config(config) => {
                let reply = show::config(&self.engine.config, config);
                conversation
                    .say(&reply.map_or_else(Reply::Failed, Reply::Settings))
                    .await
            }
            Request::Webhook(request) => {
                let done = self.webhook.execute(request);
                conversation.report(done).await
            }
            Request::List => match show::list(&self.engine) {
                Ok(mirrors) => {
                    let size = |info: &MirrorInfo| info.description.len() + 5000;
                    for batch in batches(mirrors, size) {
                        conversation.say(&Reply::Mirrors(batch)).await?;
                    }
                    let first_clones = self.engine.first_clones();
                    conversation.say(&Reply::FirstClones(first_clones)).await?;
                    conversation.say(&Reply::Done).await
                }
                Err(failure) => conversation.say(&Reply::Failed(failure)).await,
            },
            Request::Status => {
                let engine = self.engine.clone();
                let healths = blocking(move || Ok(show::healths(&engine)));
                let healths = conversation
                    .wait_quietly(healths)
                    .await?
                    .unwrap_or_default();
                conversation
                    .say(&Reply::Status(self.status(healths.len())))
                    .await?;
                for batch in batches(healths, |health| health.info.description.len() + 8000) {
                    conversation.say(&Reply::Healths(batch)).await?;
                }
                conversation.say(&Reply::Done).await
            }
            Request::Log(request) => log::log(&self.engine, &mut conversation, request).await,
            Request::Stop => {
                conversation.say(&Reply::Done).await?;
                // Kept open for as long as this process lives: its end is the end that the client waits for.
                self.stoppers.lock().push(conversation);
                self.stop.notify_one();
                Ok(())
            }
        }
    }

    /// Has a mirror looked through before anybody reads it again, and begins with it.
    fn look_through(&self, git_dir: &Path) {
        let mirrors = self.engine.registry.all().unwrap_or_default();
        let Some(mirror) = mirrors.iter().find(|mirror| mirror.git_dir == git_dir) else {
            return;
        };
        let name = &mirror.settings.name;
        tracing::warn!("git complains of the objects of '{name}'; they are looked through");
        match checked::request_check(git_dir) {
            Ok(()) => self.engine.upkeep.after_change(&self.engine.gates, mirror),
            Err(err) => tracing::warn!("cannot have '{name}' looked through: {err}"),
        }
    }

    /// Looks at all of a mirror, whose refs may have to be rebuilt for it.
    async fn show(
        &self,
        conversation: &mut Conversation,
        mirror: Mirror,
    ) -> Result<Result<(Shown, Vec<LocalRef>), Failure>, WireError> {
        let engine = self.engine.clone();
        let shown = blocking(move || show::show(&engine, &mirror));
        conversation.wait_quietly(shown).await
    }

    /// Brings a mirror in step because somebody says so.
    async fn sync(
        &self,
        conversation: &mut Conversation,
        request: Fetch,
        accept: bool,
    ) -> Result<(), WireError> {
        let wish = Wish {
            accept,
            ..Wish::new(Cause::Command)
        };
        let wanted = request.mirror.clone();
        let reply = match fetch::existing(&self.engine, &wanted) {
            Err(failure) => Reply::Failed(failure),
            Ok(_) => {
                let purpose = Purpose::Sync(wish);
                match fetch::fetch(&self.engine, conversation, request, purpose).await? {
                    Ok(fetched) => Reply::Synced {
                        name: fetched.mirror.settings.name.to_string(),
                        changed: fetched.moved as u64,
                        warnings: fetched.ready.warnings,
                    },
                    Err(failure) => Reply::Failed(failure),
                }
            }
        };
        conversation.say(&reply).await
    }

    /// A push has tried a login that it had from us: that counts as a try like any other.
    async fn note_tried(&self, id: &OneTimeId, accepted: bool) {
        let logins = &self.engine.upstreams.logins;
        let Some((origin, login, own)) = logins.taken_by_push(id) else {
            return;
        };
        if !accepted {
            // What git says next is of another.
            logins.withdraw(id);
        }
        let engine = self.engine.clone();
        // Slow by design.
        let noting = move || {
            let trials = &engine.upstreams.trials;
            match accepted {
                true => trials.push_accepted(&origin, &login),
                false => trials.push_refused(&origin, &login, own),
            }
        };
        if let Err(panic) = tokio::task::spawn_blocking(noting).await {
            tracing::error!("noting how a login was taken broke: {panic}");
        }
    }

    fn status(&self, mirrors: usize) -> Status {
        let syncing = self.engine.syncing().into_iter().map(|url| url.to_string());
        Status {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime: self.started.elapsed().as_secs(),
            socket: daemon_process::read_record(&self.paths.daemon_record())
                .map_or_else(|| self.paths.socket(), |record| record.socket),
            mirrors_dir: self.paths.mirrors(),
            mirrors,
            // The one who asks is one of them.
            clients: self.clients.load(Ordering::Relaxed).saturating_sub(1),
            waiting: self.engine.waiting(),
            syncing: syncing.collect(),
            first_clones: self.engine.first_clones(),
            webhook: self.webhook.state(),
            disk_budget: self.engine.config().disk_budget.0,
        }
    }
}

/// Compares packs of mirrors that were read of late when somebody touches them, until it is dropped; where the system does
/// not tell, the next one who reads does.
async fn follow_touches(engine: Arc<Engine>) {
    #[cfg(target_os = "linux")]
    let upkeep = engine.upkeep.clone();
    #[cfg(target_os = "linux")]
    upkeep.follow_touches(&engine.registry, &engine.gates).await;
    #[cfg(not(target_os = "linux"))]
    drop(engine);
}

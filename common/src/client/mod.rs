//! The client's end of a conversation: connect to the daemon, start it when there is none, converse.

mod connect;
pub mod local_path;
pub mod resolve;
mod start;

use std::{fs, io, os::unix::fs::OpenOptionsExt, time::Duration};

use interprocess::local_socket::tokio::Stream;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    git::{
        ask,
        credential::{Asked, FoundLogins},
    },
    paths::Paths,
    progress::Renderer,
    protocol::{
        Answer, Ask, Failure, FailureKind, Opening, OrFailure, Reply, Request, RequestId, Step,
        wire::{self, WireError},
    },
};

pub use connect::ConnectError;

/// The longest time without a message of the daemon, which sends progress every second while it works.
const NO_REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// A daemon may first wait for its predecessor to finish what it serves, which takes at most thirty seconds. Whoever has
/// connected to a service's socket waits for that, too.
const START_TIMEOUT: Duration = Duration::from_secs(45);

/// How many daemons may end, one after the other, before one of them has carried out a request.
const MAX_DAEMONS: usize = 3;

/// How often a client tries again while another one starts the daemon.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Makes the system's allocator keep two heaps rather than eight for each processor: a daemon with a thread for each of
/// the syncs that run has next to nothing in most of them, and would never give that back.
pub const MALLOC_ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// An open conversation. Dropping it ends it, and with it the lease on what it was about.
pub struct Client {
    stream: Stream,
}

impl Client {
    /// Connects to the daemon that runs.
    ///
    /// # Errors
    /// [`ConnectError::NotRunning`] when there is none.
    pub async fn connect(paths: &Paths) -> Result<Self, ConnectError> {
        let stream = connect::connect(paths).await?;
        Ok(Self { stream })
    }

    /// Connects, and starts the daemon first when none runs. Of many who find none, one starts it.
    ///
    /// # Errors
    /// Fails with the daemon's own words when it does not start.
    pub async fn connect_or_start(paths: &Paths) -> Result<Self, Failure> {
        let lock_path = paths.start_lock();
        let context = format!("cannot lock '{}'", lock_path.display());
        let mut lock = None;
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match Self::connect(paths).await {
                Err(ConnectError::NotRunning) if Instant::now() < deadline => {}
                Err(ConnectError::NotRunning) => {
                    return Err(
                        no_daemon("another process starts mirrord and does not finish")
                            .hinted(format!("see the log in '{}'", paths.log().display())),
                    );
                }
                result => return Ok(result?),
            }
            let file = match &lock {
                Some(file) => file,
                None => lock.insert(
                    fs::OpenOptions::new()
                        .create(true)
                        .truncate(false)
                        .write(true)
                        .mode(0o600)
                        .open(&lock_path)
                        .or_failure(&context)?,
                ),
            };
            match file.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) => sleep(RETRY_INTERVAL).await,
                Err(fs::TryLockError::Error(err)) => return Err(Failure::io(context, &err)),
            }
        }
        // Whoever held the lock before us may have started one.
        match Self::connect(paths).await {
            Err(ConnectError::NotRunning) => {
                start::start(&start::program()).await?;
                Ok(Self::connect(paths).await?)
            }
            result => Ok(result?),
        }
    }

    /// Sends a request, to a daemon that is started if none runs, and returns the final reply. If the daemon stops before it
    /// has replied, the request is sent again to the next one that the service manager starts. The returned client is the
    /// lease on what the request was about.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub async fn carry_out(
        paths: &Paths,
        request: &Request,
        renderer: &mut Renderer<io::Stderr>,
    ) -> Result<(Self, Reply), Failure> {
        let mut client = Self::connect_or_start(paths).await?;
        let mut daemons = 1;
        loop {
            let failure = match client.converse(request, renderer).await {
                Ok(reply) => return Ok((client, reply)),
                Err(failure) => failure,
            };
            if failure.kind != FailureKind::Cancelled || daemons == MAX_DAEMONS {
                return Err(failure);
            }
            daemons += 1;
            // Without a service nobody listens any more, and whoever stopped it meant that.
            client = Self::connect(paths).await.map_err(|_| failure)?;
        }
    }

    /// Sends the request.
    ///
    /// # Errors
    /// Fails when the connection breaks.
    pub async fn send_request(&mut self, request: &Request) -> Result<(), Failure> {
        let opening = Opening {
            id: RequestId::of_process(),
            request: request.clone(),
        };
        self.send(&opening).await
    }

    /// Sends the answer to a question.
    ///
    /// # Errors
    /// Fails when the connection breaks.
    pub async fn answer(&mut self, answer: &Answer) -> Result<(), Failure> {
        self.send(answer).await
    }

    async fn send(&mut self, message: &impl Serialize) -> Result<(), Failure> {
        wire::send(&mut self.stream, message).await.map_err(broken)
    }

    /// Receives the next reply.
    ///
    /// # Errors
    /// Fails when the connection breaks or the daemon is stuck.
    pub async fn receive(&mut self) -> Result<Reply, Failure> {
        match timeout(NO_REPLY_TIMEOUT, wire::recv(&mut self.stream)).await {
            Ok(reply) => reply.map_err(broken),
            Err(_) => Err(no_daemon(format!(
                "mirrord has said nothing for {} seconds",
                NO_REPLY_TIMEOUT.as_secs()
            ))
            .hinted("see 'mirrord status'")),
        }
    }

    /// Sends a request, shows the progress and answers the daemon's questions, until the final reply comes, which it
    /// returns.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub async fn converse(
        &mut self,
        request: &Request,
        renderer: &mut Renderer<io::Stderr>,
    ) -> Result<Reply, Failure> {
        self.converse_in_steps(request, renderer, |_| ()).await
    }

    /// Sends a request that is carried out in steps, as [`Client::converse`] does. Each finished step is handed to `done`.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub async fn converse_in_steps(
        &mut self,
        request: &Request,
        renderer: &mut Renderer<io::Stderr>,
        mut done: impl FnMut(Step),
    ) -> Result<Reply, Failure> {
        self.send_request(request).await?;
        let mut logins = FoundLogins::default();
        loop {
            match self.receive().await? {
                Reply::Progress(progress) => renderer.show(&progress),
                Reply::Step(step) => {
                    renderer.close();
                    done(step);
                }
                Reply::Ask(question) => {
                    renderer.close();
                    let answer = match &question {
                        Ask::Login { .. } => logins.ask(&question, Asked::Person),
                        Ask::Question { prompt, echo } => ask::question(prompt, *echo),
                    };
                    self.answer(&answer).await?;
                }
                Reply::LoginAccepted { url } => logins.approve(&url),
                Reply::LoginRefused { url, challenges } => logins.reject(&url, &challenges),
                reply => {
                    renderer.close();
                    return match reply {
                        Reply::Failed(failure) => Err(failure),
                        reply => Ok(reply),
                    };
                }
            }
        }
    }

    /// Waits until the daemon has ended. It keeps the connection open until then, and its lock is free before.
    pub async fn wait_for_end(mut self) {
        while wire::recv::<Reply>(&mut self.stream).await.is_ok() {}
    }
}

/// The failure of a conversation in which the daemon's reply is none to what was asked.
#[must_use]
pub fn something_else() -> Failure {
    Failure::here("mirrord answered something else")
}

/// The failure of a request that no daemon carries out.
fn no_daemon(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::NoDaemon, message)
}

/// Whether the other side is simply gone.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn broken(error: WireError) -> Failure {
    match error {
        WireError::Io(err) if is_end(&err) => broken(WireError::Closed),
        WireError::Closed => Failure::here("mirrord ended in the middle of the conversation")
            .hinted("the same command again starts it anew; its log says why it ended"),
        error => Failure::here(format!("the conversation with mirrord broke: {error}")),
    }
}

//! The client's end of a conversation: connect to the daemon, start it when there is none, converse.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use interprocess::local_socket::{
    ConnectOptions, GenericFilePath, ToFsName as _,
    tokio::{Stream, prelude::*},
};
use serde::Serialize;
use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep, timeout},
};

use crate::{
    ask, git,
    paths::Paths,
    progress::Renderer,
    protocol::{Answer, Ask, Failure, FailureKind, Reply, Request, Step, VERSION},
    wire::{self, WireError},
};

/// A daemon that says nothing at all for this long is stuck: it sends progress every second while it works.
const SILENCE: Duration = Duration::from_secs(60);

/// A daemon may first wait for its predecessor to finish what it serves, which takes at most thirty seconds. Whoever has
/// connected to a service's socket waits for that, too.
const START: Duration = Duration::from_secs(45);

/// So many daemons may end, one after the other, before one of them has carried out what it was asked.
const DAEMONS: usize = 3;

/// How often those who wait for somebody else's start look again.
const AGAIN: Duration = Duration::from_millis(10);

/// Makes the system's allocator keep two heaps rather than eight for each processor: a daemon with a thread for each of
/// the syncs that run has next to nothing in most of them, and would never give that back.
pub const FEW_HEAPS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// An open conversation. Dropping it ends it, and with it the lease on what it was about.
pub struct Client {
    stream: Stream,
}

/// Why there is no conversation.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens.
    #[error("mirrord does not run")]
    NotRunning,
    /// A daemon of another version listens.
    #[error("mirrord speaks version {version} of the protocol, this program version {VERSION}")]
    OtherVersion {
        /// Its version.
        version: u16,
        /// Its process id, when the system tells.
        pid: Option<u32>,
    },
    /// Somebody else's program listens there.
    #[error("the program at '{}' belongs to another user", .0.display())]
    Stranger(PathBuf),
    /// Anything else.
    #[error("cannot talk to mirrord at '{path}': {error}", path = .0.display(), error = .1)]
    Io(PathBuf, WireError),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let failure = Self::here(error.to_string());
        match error {
            ConnectError::OtherVersion { pid: Some(pid), .. } => failure.hinted(format!(
                "stop it with 'kill {pid}'; the next command starts the installed one"
            )),
            ConnectError::OtherVersion { .. } => {
                failure.hinted("stop it; the next command starts the installed one")
            }
            _ => failure,
        }
    }
}

impl Client {
    /// Connects to the daemon that runs.
    ///
    /// # Errors
    /// [`ConnectError::NotRunning`] when there is none.
    pub async fn connect(paths: &Paths) -> Result<Self, ConnectError> {
        let socket = paths.socket();
        let broken = |err: io::Error| ConnectError::Io(socket.clone(), err.into());
        let name = socket
            .as_path()
            .to_fs_name::<GenericFilePath>()
            .map_err(broken)?;
        let deadline = Instant::now() + SILENCE;
        let mut stream = loop {
            match ConnectOptions::new()
                .name(name.borrow())
                .connect_tokio()
                .await
            {
                Ok(stream) => break stream,
                // Its queue of those who wait to be accepted is full.
                Err(err)
                    if err.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
                {
                    sleep(AGAIN).await;
                }
                Err(err)
                    if matches!(
                        err.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                    ) =>
                {
                    return Err(ConnectError::NotRunning);
                }
                Err(err) => return Err(broken(err)),
            }
        };
        let peer = stream.peer_creds().map_err(broken)?;
        if peer.euid() != Some(rustix::process::geteuid().as_raw()) {
            return Err(ConnectError::Stranger(socket));
        }
        let pid = peer.pid().and_then(|pid| pid.try_into().ok());
        match wire::greet(&mut stream, START).await {
            Ok(()) => Ok(Self { stream }),
            Err(WireError::OtherVersion(version)) => {
                Err(ConnectError::OtherVersion { version, pid })
            }
            // It stopped between accepting and greeting.
            Err(WireError::Closed) => Err(ConnectError::NotRunning),
            Err(WireError::Io(err)) if is_end(&err) => Err(ConnectError::NotRunning),
            Err(err) => Err(ConnectError::Io(socket, err)),
        }
    }

    /// Connects, and starts the daemon first when none runs. Of many who find none, one starts it.
    ///
    /// # Errors
    /// Fails with the daemon's own words when it does not start.
    pub async fn connect_or_start(paths: &Paths) -> Result<Self, Failure> {
        let lock_path = paths.start_lock();
        let cannot =
            |err: io::Error| Failure::io(&format!("cannot lock '{}'", lock_path.display()), &err);
        let mut lock = None;
        let deadline = Instant::now() + START;
        loop {
            match Self::connect(paths).await {
                Err(ConnectError::NotRunning) if Instant::now() < deadline => {}
                Err(ConnectError::NotRunning) => {
                    return Err(Failure::here(
                        "another process starts mirrord and does not finish",
                    )
                    .hinted(format!("see the log in '{}'", paths.log().display())));
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
                        .open(&lock_path)
                        .map_err(cannot)?,
                ),
            };
            match file.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) => sleep(AGAIN).await,
                Err(fs::TryLockError::Error(err)) => return Err(cannot(err)),
            }
        }
        // Whoever held the lock before us may have started one.
        match Self::connect(paths).await {
            Err(ConnectError::NotRunning) => {
                start(&program()).await?;
                Ok(Self::connect(paths).await?)
            }
            result => Ok(result?),
        }
    }

    /// Has the daemon do something, starting it when none runs, until it has come to something. A daemon that stops before
    /// it has, and behind whose socket the service manager starts the next, is as good as that one. The returned client is
    /// the lease on what it was about.
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
            if failure.kind != FailureKind::Cancelled || daemons == DAEMONS {
                return Err(failure);
            }
            daemons += 1;
            // Without a service nobody listens any more, and whoever stopped it meant that.
            client = Self::connect(paths).await.map_err(|_| failure)?;
        }
    }

    /// Says what this conversation is about.
    ///
    /// # Errors
    /// Fails when the connection breaks.
    pub async fn say(&mut self, request: &Request) -> Result<(), Failure> {
        self.send(request).await
    }

    /// Answers a question.
    ///
    /// # Errors
    /// Fails when the connection breaks.
    pub async fn answer(&mut self, answer: &Answer) -> Result<(), Failure> {
        self.send(answer).await
    }

    async fn send(&mut self, message: &impl Serialize) -> Result<(), Failure> {
        wire::send(&mut self.stream, message).await.map_err(broken)
    }

    /// Waits for the next reply.
    ///
    /// # Errors
    /// Fails when the connection breaks or the daemon is stuck.
    pub async fn hear(&mut self) -> Result<Reply, Failure> {
        match timeout(SILENCE, wire::recv(&mut self.stream)).await {
            Ok(reply) => reply.map_err(broken),
            Err(_) => Err(Failure::here(format!(
                "mirrord has said nothing for {} seconds",
                SILENCE.as_secs()
            ))
            .hinted("see 'mirrord status'")),
        }
    }

    /// Says what this conversation is about, shows how far it is and answers the daemon's questions, until it has come to
    /// something.
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

    /// The same about something that is done in steps: `done` sees each of them.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub async fn converse_in_steps(
        &mut self,
        request: &Request,
        renderer: &mut Renderer<io::Stderr>,
        mut done: impl FnMut(Step),
    ) -> Result<Reply, Failure> {
        self.say(request).await?;
        let mut found = None;
        loop {
            match self.hear().await? {
                Reply::Progress(progress) => renderer.show(&progress),
                Reply::Step(step) => {
                    renderer.close();
                    done(step);
                }
                Reply::Ask(question) => {
                    renderer.close();
                    let answer = match &question {
                        Ask::Login { .. } => {
                            let (answer, login) = ask::login(&question);
                            found = login;
                            answer
                        }
                        Ask::Question { prompt, echo } => ask::question(prompt, *echo),
                    };
                    self.answer(&answer).await?;
                }
                Reply::LoginAccepted => found.iter().for_each(ask::Found::approve),
                Reply::LoginRefused => found.iter().for_each(ask::Found::reject),
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

/// The daemon that was installed with this program, otherwise the one on PATH.
fn program() -> PathBuf {
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join("mirrord")));
    beside
        .filter(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from("mirrord"))
}

/// Starts the daemon and waits until it says that it is ready, or why it is not.
async fn start(program: &Path) -> Result<(), Failure> {
    let cannot = |err: io::Error| {
        Failure::io(&format!("cannot start '{}'", program.display()), &err)
            .hinted("install mirrord beside git-remote-mirror, or on PATH")
    };
    // A descriptor that leaked into this process, such as the pipe of a CI runner, must not live on in the daemon.
    close_fds::set_fds_cloexec(3, &[]);
    let mut child = Command::new(program)
        .args(["run", "--autostarted"])
        .env_clear()
        .envs(git::environment())
        .env(FEW_HEAPS.0, FEW_HEAPS.1)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(cannot)?;
    let words = match child.stdout.take() {
        Some(stdout) => {
            let mut words = String::new();
            let mut stdout =
                tokio::net::unix::pipe::Receiver::from_owned_fd(stdout.into()).map_err(cannot)?;
            timeout(START, stdout.read_to_string(&mut words))
                .await
                .map_err(|_| {
                    Failure::here(format!(
                        "mirrord was not ready after {} seconds",
                        START.as_secs()
                    ))
                })?
                .map_err(cannot)?;
            words
        }
        None => String::new(),
    };
    let line = |prefix: &str| {
        words
            .lines()
            .find_map(|line| line.strip_prefix(prefix))
            .map(str::to_owned)
    };
    if words.trim() == "ready" {
        return Ok(());
    }
    let _ = child.wait();
    let failure = Failure::here(
        line("error: ").unwrap_or_else(|| "mirrord ended before it was ready".into()),
    );
    Err(match line("hint: ") {
        Some(hint) => failure.hinted(hint),
        None => failure,
    })
}

//! Finds the daemon that runs: at the place that this environment names for its socket, else where its record says.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use interprocess::local_socket::{
    ConnectOptions, GenericFilePath, ToFsName as _,
    tokio::{Stream, prelude::*},
};
use tokio::time::{Instant, sleep};

use super::{NO_REPLY_TIMEOUT, RETRY_INTERVAL, START_TIMEOUT, is_end};
use crate::{
    daemon_process,
    paths::Paths,
    protocol::{
        Failure, FailureKind, VERSION,
        wire::{self, WireError},
    },
};

/// A daemon that was told that its socket is gone makes it anew within this time.
const ANEW_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no conversation.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No daemon listens.
    #[error("mirrord does not run")]
    NotRunning,
    /// A daemon of another version listens.
    #[error("mirrord speaks version {version} of the protocol, this program version {VERSION}")]
    OtherVersion {
        /// The version of the daemon.
        version: u16,
        /// The daemon's process id, if the system tells it.
        pid: Option<u32>,
    },
    /// A daemon runs and cannot be reached.
    #[error("mirrord runs (process {pid}) and cannot be reached at '{}'", .socket.display())]
    OutOfReach {
        /// The daemon's process id.
        pid: u32,
        /// The path at which the daemon has recorded its socket.
        socket: PathBuf,
    },
    /// A program of another user listens there.
    #[error("the program at '{}' belongs to another user", .0.display())]
    Stranger(PathBuf),
    /// The connection failed for another reason.
    #[error("cannot talk to mirrord at '{path}': {error}", path = .0.display(), error = .1)]
    Io(PathBuf, WireError),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let failure = Self::new(FailureKind::NoDaemon, error.to_string());
        match error {
            ConnectError::OtherVersion { pid: Some(pid), .. } => failure.hinted(format!(
                "stop it with 'kill {pid}'; the next command starts the installed one"
            )),
            ConnectError::OtherVersion { .. } => {
                failure.hinted("stop it; the next command starts the installed one")
            }
            ConnectError::OutOfReach { .. } => failure.hinted(
                "'mirrord stop' stops it; in another container, or on another machine, use another MIRROR_HOME",
            ),
            ConnectError::NotRunning | ConnectError::Stranger(_) | ConnectError::Io(..) => failure,
        }
    }
}

/// Connects to the daemon of these places, wherever its socket is.
pub(super) async fn connect(paths: &Paths) -> Result<Stream, ConnectError> {
    let own = match connect_to(&paths.socket()).await {
        // One that is too long for any socket leads to none.
        Err(ConnectError::Io(_, WireError::Io(err)))
            if err.kind() == io::ErrorKind::InvalidInput =>
        {
            Err(ConnectError::NotRunning)
        }
        own => own,
    };
    let deadline = Instant::now() + ANEW_TIMEOUT;
    let mut told = None;
    let mut last = own;
    while let Err(ConnectError::NotRunning) = last {
        // A daemon that starts has none yet, and one that stops none any more.
        let Some(record) = daemon_process::read_record(&paths.daemon_record()) else {
            break;
        };
        if let Some(socket) = daemon_process::recorded_socket(&paths.daemon_record()) {
            last = connect_to(&socket).await;
            if !matches!(last, Err(ConnectError::NotRunning)) {
                break;
            }
        }
        let Ok(Some(pid)) = daemon_process::lock_holder(&paths.lock()) else {
            break;
        };
        if told != Some(pid) {
            daemon_process::send_signal(pid, daemon_process::CHECK_SOCKET);
            told = Some(pid);
        }
        if Instant::now() > deadline {
            let socket = record.socket;
            return Err(ConnectError::OutOfReach { pid, socket });
        }
        sleep(RETRY_INTERVAL).await;
    }
    last
}

/// Connects to the daemon behind a socket, and greets it.
async fn connect_to(socket: &Path) -> Result<Stream, ConnectError> {
    let broken = |err: io::Error| ConnectError::Io(socket.to_owned(), err.into());
    let name = socket.to_fs_name::<GenericFilePath>().map_err(broken)?;
    let deadline = Instant::now() + NO_REPLY_TIMEOUT;
    let mut stream = loop {
        match ConnectOptions::new()
            .name(name.borrow())
            .connect_tokio()
            .await
        {
            Ok(stream) => break stream,
            // Its queue of those who wait to be accepted is full.
            Err(err) if err.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                sleep(RETRY_INTERVAL).await;
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
        return Err(ConnectError::Stranger(socket.to_owned()));
    }
    let pid = peer.pid().and_then(|pid| pid.try_into().ok());
    match wire::greet(&mut stream, START_TIMEOUT).await {
        Ok(()) => Ok(stream),
        Err(WireError::OtherVersion(version)) => Err(ConnectError::OtherVersion { version, pid }),
        // It stopped between accepting and greeting.
        Err(WireError::Closed) => Err(ConnectError::NotRunning),
        Err(WireError::Io(err)) if is_end(&err) => Err(ConnectError::NotRunning),
        Err(err) => Err(ConnectError::Io(socket.to_owned(), err)),
    }
}

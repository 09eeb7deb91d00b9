//! The socket at which clients find the daemon, and the record beside the lock that says where it is.
//!
//! Its file can go at any time: a runtime directory is made anew at each login. It is then made anew, in its own place or,
//! where there is no room for it any more, below the home.

use std::{
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use common::{
    daemon_process::{FileId, Record},
    paths::{NoPlace, Paths},
    private_dir,
    protocol::Failure,
};
use interprocess::local_socket::{
    GenericFilePath, ListenerOptions, ToFsName,
    tokio::{Listener, Stream, prelude::*},
};
use tokio::{net::UnixStream, time::timeout};

use crate::{
    daemon::{activation, service},
    process::durable,
};

/// Whoever listens at a socket takes a connection within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Which file this is, and since when; numbers of files are used again.
type Made = (FileId, i64, i64);

/// A socket that clients find.
pub(crate) struct Socket {
    paths: Paths,
    listener: Listener,
    path: PathBuf,
    made: Option<Made>,
    /// Whether the service manager has made it, and keeps it when we end.
    of_manager: bool,
    /// Whether it has been logged that it cannot be made anew.
    warned: bool,
}

impl Socket {
    /// Makes a socket. Only the holder of the lock may: one that is there is a dead daemon's, unless the service manager
    /// listens there. Nobody would find that one any more.
    pub(crate) fn new(paths: &Paths) -> anyhow::Result<Self> {
        let own = paths.socket();
        if own.exists() && service::listens(paths) {
            let failure = Failure::here(format!("the service listens at '{}'", own.display()));
            return Err(failure.hinted(service::HOW_TO_STOP).into());
        }
        let (listener, path) = listen_somewhere(paths)?;
        Self::recorded(paths, listener, path, false)
    }

    /// Takes over the socket at which the service manager listens for us.
    pub(crate) fn of_manager(paths: &Paths, socket: UnixListener) -> anyhow::Result<Self> {
        let path = paths.socket();
        let listener = activation::listen(socket)
            .with_context(|| format!("cannot listen at '{}'", path.display()))?;
        Self::recorded(paths, listener, path, true)
    }

    fn recorded(
        paths: &Paths,
        listener: Listener,
        path: PathBuf,
        of_manager: bool,
    ) -> anyhow::Result<Self> {
        let socket = Self {
            made: made(&path),
            paths: paths.clone(),
            listener,
            path,
            of_manager,
            warned: false,
        };
        let record = paths.daemon_record();
        socket
            .write_record()
            .with_context(|| format!("cannot write '{}'", record.display()))?;
        Ok(socket)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next client.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        self.listener.accept().await
    }

    /// Makes the socket anew when its file is gone. Whatever else is there by now is left alone: the service manager may
    /// listen there.
    pub(crate) fn remake_if_gone(&mut self) {
        if made(&self.path).is_none() {
            self.remake();
        }
    }

    /// The same when somebody could not connect: then also when something is there at which nobody listens.
    pub(crate) async fn remake_if_deaf(&mut self) {
        let found = made(&self.path);
        if found.is_none() || found != self.made && !is_listened_at(&self.path).await {
            self.remake();
        } else if let Err(err) = self.write_record() {
            tracing::warn!("cannot record where the socket is: {err}");
        }
    }

    fn remake(&mut self) {
        match listen_somewhere(&self.paths) {
            Ok((listener, path)) => {
                tracing::info!(
                    "the socket '{}' is gone; listening at '{}'",
                    self.path.display(),
                    path.display()
                );
                (self.listener, self.made) = (listener, made(&path));
                (self.path, self.of_manager, self.warned) = (path, false, false);
                if let Err(err) = self.write_record() {
                    tracing::warn!("cannot record where the socket is: {err}");
                }
            }
            Err(err) if !self.warned => {
                self.warned = true;
                tracing::warn!(
                    "the socket '{}' is gone, and cannot be made anew: {err:#}",
                    self.path.display()
                );
            }
            Err(_) => {}
        }
    }

    fn write_record(&self) -> io::Result<()> {
        let program = fs::metadata("/proc/self/exe").or_else(|_| {
            let path = std::env::current_exe()?;
            fs::metadata(path)
        })?;
        let record = Record {
            program: FileId::of(&program),
            socket: self.path.clone(),
        };
        durable::replace_until_power_cut(&self.paths.daemon_record(), &record.to_bytes())
    }

    /// Is no longer found, as far as that is ours to decide: at a socket of the service manager's whoever comes waits for
    /// the next daemon, and is to find it; and in a home that is another's by now (`is_home` is false) nothing is ours.
    pub(crate) fn close(self, is_home: bool) {
        let stays = self.of_manager && self.path.exists();
        if is_home && !stays {
            let _ = fs::remove_file(self.paths.daemon_record());
        }
        drop(self.listener);
        // What the service manager has put there in the meantime is not ours.
        if !self.of_manager && self.made.is_some() && self.made == made(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at the best place that there is for a socket.
fn listen_somewhere(paths: &Paths) -> anyhow::Result<(Listener, PathBuf)> {
    let mut failure = None;
    for path in paths.sockets() {
        match listen(&path) {
            Ok(listener) => return Ok((listener, path)),
            Err(err) => {
                let cannot = format!("cannot listen at '{}'", path.display());
                failure.get_or_insert(anyhow::Error::from(err).context(cannot));
            }
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Err(Failure::from(NoPlace::TooLong(paths.socket())).into()),
    }
}

fn listen(path: &Path) -> io::Result<Listener> {
    if let Some(dir) = path.parent() {
        private_dir::make(dir)?;
    }
    let options = ListenerOptions::new()
        .name(path.to_fs_name::<GenericFilePath>()?)
        .reclaim_name(false)
        .try_overwrite(true);
    let listener = options.create_tokio()?;
    // The directory is 0700 already; some systems cannot make the socket so from the start.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn is_listened_at(path: &Path) -> bool {
    matches!(
        timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await,
        Ok(Ok(_)) | Err(_)
    )
}

fn made(path: &Path) -> Option<Made> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((FileId::of(&found), found.ctime(), found.ctime_nsec()))
}

//! The socket at which clients find the daemon, and the record beside the lock that says where the socket is.
//!
//! The socket's file can be removed at any time, as a runtime directory is at each login. The daemon then makes it again,
//! at its own path or, where that cannot be, below the home.

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

/// A daemon that listens at a socket takes a connection within this time.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// A file and the time of its last change, because file systems use inode numbers again.
#[derive(Debug, PartialEq, Eq)]
struct FileVersion {
    id: FileId,
    seconds: i64,
    nanoseconds: i64,
}

impl FileVersion {
    /// The version of the file at a path; `None` when there is none.
    fn at(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        Some(Self {
            id: FileId::of(&found),
            seconds: found.ctime(),
            nanoseconds: found.ctime_nsec(),
        })
    }
}

/// A socket that clients find.
pub(crate) struct Socket {
    paths: Paths,
    listener: Listener,
    path: PathBuf,
    file: Option<FileVersion>,
    /// Whether the service manager has made the socket, and keeps it when this daemon ends.
    is_managers: bool,
    /// Whether it was logged that the socket cannot be made again.
    warned: bool,
}

impl Socket {
    /// Makes a socket. Only the process with the lock may: it replaces the file of a dead daemon.
    ///
    /// # Errors
    /// Fails where the service manager listens, whose socket no client would find any more, and where no path can be used.
    pub(crate) fn new(paths: &Paths) -> anyhow::Result<Self> {
        let own = paths.socket();
        if own.exists() && service::listens(paths) {
            let failure = Failure::here(format!("the service listens at '{}'", own.display()));
            return Err(failure.hinted(service::HOW_TO_STOP).into());
        }
        let (listener, path) = listen_at_any_path(paths)?;
        Self::recorded(paths, listener, path, false)
    }

    /// Takes over the socket at which the service manager listens for the daemon.
    ///
    /// # Errors
    /// Fails where the socket cannot be used.
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
        is_managers: bool,
    ) -> anyhow::Result<Self> {
        let socket = Self {
            file: FileVersion::at(&path),
            paths: paths.clone(),
            listener,
            path,
            is_managers,
            warned: false,
        };
        let record = paths.daemon_record();
        socket
            .write_record()
            .with_context(|| format!("cannot write '{}'", record.display()))?;
        Ok(socket)
    }

    /// The path of the socket's file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts the next client.
    ///
    /// # Errors
    /// Fails where the system gives no connection, as without a free descriptor.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        self.listener.accept().await
    }

    /// Makes the socket again when its file is gone. Another file at its path stays: the service manager may listen there.
    pub(crate) fn remake_if_gone(&mut self) {
        if FileVersion::at(&self.path).is_none() {
            self.remake();
        }
    }

    /// Makes the socket again for a client that could not connect: when its file is gone, or another file is there at which
    /// no process listens.
    pub(crate) async fn remake_if_unreachable(&mut self) {
        let found = FileVersion::at(&self.path);
        if found.is_none() || found != self.file && !is_listened_at(&self.path).await {
            self.remake();
        } else if let Err(err) = self.write_record() {
            tracing::warn!("cannot record where the socket is: {err}");
        }
    }

    fn remake(&mut self) {
        match listen_at_any_path(&self.paths) {
            Ok((listener, path)) => {
                tracing::info!(
                    "the socket '{}' is gone; listening at '{}'",
                    self.path.display(),
                    path.display()
                );
                (self.listener, self.file) = (listener, FileVersion::at(&path));
                (self.path, self.is_managers, self.warned) = (path, false, false);
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

    /// Closes the socket, and removes its file and its record. Both stay where the service manager keeps the socket: clients
    /// wait at it for the next daemon. In a home that is gone or replaced (`is_home` is false) the record is another daemon's.
    pub(crate) fn close(self, is_home: bool) {
        let stays = self.is_managers && self.path.exists();
        if is_home && !stays {
            let _ = fs::remove_file(self.paths.daemon_record());
        }
        drop(self.listener);
        // Another file is the service manager's, made in the meantime.
        if !self.is_managers && self.file.is_some() && self.file == FileVersion::at(&self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at the first path that can be used.
fn listen_at_any_path(paths: &Paths) -> anyhow::Result<(Listener, PathBuf)> {
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
    // Some systems cannot make the socket with this mode. Until here the directory, which is 0700, protects it.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn is_listened_at(path: &Path) -> bool {
    matches!(
        timeout(CONNECT_TIMEOUT, UnixStream::connect(path)).await,
        Ok(Ok(_)) | Err(_)
    )
}

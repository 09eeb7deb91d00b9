//! Upstreams on this machine: a `git upload-pack` of our own, fenced like every child.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{ChildStderr, ChildStdin, ChildStdout, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use common::{
    git,
    progress::masked,
    protocol::{Failure, FailureKind},
    upstream_url::UpstreamUrl,
};
use gix_transport::{
    Protocol,
    client::git::{ConnectMode, blocking_io},
};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncReadExt, runtime::Handle, task::JoinHandle, time::timeout};

use super::{Access, Trouble, answers::has_ended, sideband::Overheard};
use crate::watch::Watch;

/// A child that failed says why at once.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What gix speaks through.
pub(crate) type Connection = blocking_io::Connection<Overheard<ChildStdout>, ChildStdin>;

/// The child at the other end. Dropping it ends it.
pub(crate) struct Child {
    child: std::process::Child,
    stderr: Mutex<Option<ChildStderr>>,
    /// Kills the child when nobody waits any more; its reads are blocking.
    reaper: JoinHandle<()>,
}

/// Starts a child for `url`, which is a file.
pub(crate) fn start(
    url: &UpstreamUrl,
    access: &Access,
    watch: &Watch,
) -> Result<(Child, Connection), Trouble> {
    let path = url.file_path().unwrap_or(std::path::Path::new("/"));
    let mut command = git::fenced();
    for directory in &access.safe_directories {
        command.args(["-c", &format!("safe.directory={directory}")]);
    }
    command.arg("upload-pack").arg(path);
    command.env("GIT_PROTOCOL", "version=2");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let cannot = |err: io::Error| Failure::io("cannot run git", &err);
    let mut child = command.spawn().map_err(cannot)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(cannot(io::Error::other("it has no pipes")).into());
    };
    let connection = Connection::new(
        Overheard::new(stdout, watch),
        stdin,
        Protocol::V2,
        path.as_os_str().as_encoded_bytes(),
        None::<(&str, Option<u16>)>,
        ConnectMode::Process,
        false,
    );
    let group = child.id().try_into().ok().and_then(Pid::from_raw);
    let watch = watch.clone();
    let reaper = Handle::current().spawn(async move {
        watch.cancelled().await;
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    });
    let stderr = Mutex::new(child.stderr.take());
    Ok((
        Child {
            child,
            stderr,
            reaper,
        },
        connection,
    ))
}

impl Child {
    /// What the child itself said was wrong, when it is the one that stopped talking.
    pub(crate) fn explain(&self, url: &UpstreamUrl, error: &gix::Error) -> Option<Trouble> {
        if !has_ended(error) {
            return None;
        }
        let stderr = self
            .stderr
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        let mut words = Vec::new();
        Handle::current().block_on(async {
            let mut stderr = tokio::process::ChildStderr::from_std(stderr).ok()?;
            // A child of the child may still hold the other end.
            timeout(LAST_WORDS, stderr.read_to_end(&mut words))
                .await
                .ok()?
                .ok()
        });
        let words = String::from_utf8_lossy(&words);
        let fatal = words
            .lines()
            .find_map(|line| line.strip_prefix("fatal: "))?;
        let failure = Failure::new(
            FailureKind::Refused,
            format!("cannot read '{url}': {}", masked(fatal.as_bytes())),
        );
        Some(
            match words.lines().find(|line| line.contains("safe.directory")) {
                Some(line) => failure.hinted(masked(line.trim().as_bytes())).into(),
                None => failure.into(),
            },
        )
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.reaper.abort();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! A child that speaks git's protocol on its pipes: a `git upload-pack` on this machine, or an ssh.

use crate::process::{
    no_progress::expired,
    watch::{Watch, cancelled},
};
use std::{
    os::unix::process::CommandExt,
    process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{
    address::upstream_url::UpstreamUrl,
    git::child_log::ChildLog,
    no_progress::NoProgress,
    protocol::{Failure, OrFailure},
};
use gix_transport::{
    Protocol,
    client::git::{ConnectMode, blocking_io},
};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{io::AsyncReadExt, runtime::Handle, task::JoinHandle, time::timeout};

use super::{Trouble, answers, sideband::WatchedPipe};

/// How long the stderr of a child that failed is read on. The reason comes at once; a child of the child may keep the pipe
/// open for longer.
const STDERR_TIMEOUT: Duration = Duration::from_secs(2);

/// How much of a child's stderr is kept: the end of it.
const MAX_STDERR_BYTES: usize = 16 * 1024;

/// The two pipes through which gix speaks.
pub(crate) type Connection =
    blocking_io::Connection<WatchedPipe<ChildStdout>, WatchedPipe<ChildStdin>>;

/// Returns what the stderr of a kind of child means, with the status that the child ended with.
pub(crate) type ExplainStderr = fn(&UpstreamUrl, &str, Option<i32>) -> Option<Trouble>;

/// A child that speaks git's protocol. Dropping it ends the child.
pub(crate) struct Child {
    child: Mutex<std::process::Child>,
    log: Option<ChildLog>,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Reads stderr all the time, so that the child never blocks on a full pipe.
    stderr_reader: Mutex<Option<JoinHandle<()>>>,
    /// Kills the child and all that it started when the sync is cancelled, or when there is no progress for too long: reads
    /// of the child's output block.
    killer: JoinHandle<()>,
    /// How long there may be no progress.
    no_progress_limit: Duration,
    timed_out: Arc<AtomicBool>,
    explain_stderr: ExplainStderr,
}

impl Child {
    /// Starts `command`, which error messages call `name`. The child is killed when there is no progress for
    /// `no_progress_limit`.
    pub(crate) fn start(
        mut command: Command,
        name: &str,
        explain_stderr: ExplainStderr,
        no_progress_limit: Duration,
        watch: &Watch,
    ) -> Result<(Self, Connection), Trouble> {
        if watch.is_cancelled() {
            return Err(cancelled().into());
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let log = ChildLog::begin(&command);
        let mut child = command
            .spawn()
            .or_failure(format_args!("cannot run {name}"))?;
        let group = child.id().try_into().ok().and_then(Pid::from_raw);
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(Failure::here(format!("cannot run {name}: it has no pipes")).into());
        };
        let no_progress = Arc::new(Mutex::new(NoProgress::new(no_progress_limit)));
        // Path and host are for a git-daemon on the other side, and there is none.
        let connection = Connection::new(
            WatchedPipe::new(stdout, watch, &no_progress),
            WatchedPipe::new(stdin, watch, &no_progress),
            Protocol::V2,
            "",
            None::<(&str, Option<u16>)>,
            ConnectMode::Process,
            false,
        );
        let kept_stderr = Arc::<Mutex<Vec<u8>>>::default();
        let stderr_reader = Handle::current().spawn(read_stderr(stderr, kept_stderr.clone()));
        let (watch, timed_out) = (watch.clone(), Arc::<AtomicBool>::default());
        let flag = timed_out.clone();
        let killer = Handle::current().spawn(async move {
            tokio::select! {
                () = watch.cancelled() => {}
                () = expired(&no_progress, &watch) => flag.store(true, Ordering::Relaxed),
            }
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
        });
        let child = Self {
            child: Mutex::new(child),
            log: Some(log),
            stderr: kept_stderr,
            stderr_reader: Mutex::new(Some(stderr_reader)),
            killer,
            no_progress_limit,
            timed_out,
            explain_stderr,
        };
        Ok((child, connection))
    }

    /// Returns the reason that the child gives on stderr, when it was the child that ended the session.
    pub(crate) fn explain(&self, url: &UpstreamUrl, error: &gix::Error) -> Option<Trouble> {
        if self.timed_out.load(Ordering::Relaxed) {
            return Some(answers::timed_out(url, self.no_progress_limit));
        }
        if !answers::has_ended(error) {
            return None;
        }
        let mut stderr_reader = self.stderr_reader.lock().take()?;
        let reading = async { timeout(STDERR_TIMEOUT, &mut stderr_reader).await.is_ok() };
        let status = if Handle::current().block_on(reading) {
            // A child that has closed stderr is about to end.
            self.child.lock().wait().ok()
        } else {
            stderr_reader.abort();
            self.child.lock().try_wait().ok().flatten()
        };
        let stderr = self.stderr.lock().clone();
        let stderr = String::from_utf8_lossy(&stderr);
        (self.explain_stderr)(url, &stderr, status.and_then(|status| status.code()))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.killer.abort();
        if let Some(stderr_reader) = self.stderr_reader.lock().take() {
            stderr_reader.abort();
        }
        // Not the whole group: the ssh that holds the connection for others (ControlPersist) may belong to it. What else the
        // child started ends with the pipes.
        let mut child = self.child.lock();
        let _ = child.kill();
        if let (Ok(status), Some(log)) = (child.wait(), self.log.take()) {
            log.ended(status);
        }
    }
}

async fn read_stderr(stderr: ChildStderr, kept: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut stderr) = tokio::process::ChildStderr::from_std(stderr) else {
        return;
    };
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut piece).await {
        let mut kept = kept.lock();
        kept.extend_from_slice(&piece[..length]);
        let surplus = kept.len().saturating_sub(MAX_STDERR_BYTES);
        kept.drain(..surplus);
    }
}

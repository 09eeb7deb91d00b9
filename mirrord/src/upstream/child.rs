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

use super::{Trouble, answers, sideband::Overheard};

/// A child that failed says why at once; a child of the child may hold the other end for longer.
const STDERR_TIMEOUT: Duration = Duration::from_secs(2);

/// Of what it says the end is kept.
const MAX_STDERR_BYTES: usize = 16 * 1024;

/// What gix speaks through.
pub(crate) type Connection = blocking_io::Connection<Overheard<ChildStdout>, Overheard<ChildStdin>>;

/// What a kind of child means by its last words, and by the status that it ended with.
pub(crate) type ExplainStderr = fn(&UpstreamUrl, &str, Option<i32>) -> Option<Trouble>;

/// The child at the other end. Dropping it ends it.
pub(crate) struct Child {
    child: Mutex<std::process::Child>,
    log: Option<ChildLog>,
    words: Arc<Mutex<Vec<u8>>>,
    /// Reads its stderr, so that it never waits for somebody to do so.
    listener: Mutex<Option<JoinHandle<()>>>,
    /// Kills the child and all that it started when nobody waits any more, or it is silent for too long; reads of its
    /// output are blocking.
    reaper: JoinHandle<()>,
    /// How long it may be silent.
    budget: Duration,
    was_silent: Arc<AtomicBool>,
    meaning: ExplainStderr,
}

impl Child {
    /// Starts `command`, whose name for errors is `name`. It is killed when it says nothing of use for `budget`.
    pub(crate) fn start(
        mut command: Command,
        name: &str,
        meaning: ExplainStderr,
        budget: Duration,
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
        let no_progress = Arc::new(Mutex::new(NoProgress::new(budget)));
        // Path and host matter to a daemon on the other side, and there is none.
        let connection = Connection::new(
            Overheard::new(stdout, watch, &no_progress),
            Overheard::new(stdin, watch, &no_progress),
            Protocol::V2,
            "",
            None::<(&str, Option<u16>)>,
            ConnectMode::Process,
            false,
        );
        let words = Arc::<Mutex<Vec<u8>>>::default();
        let listener = Handle::current().spawn(listen(stderr, words.clone()));
        let (watch, was_silent) = (watch.clone(), Arc::<AtomicBool>::default());
        let note = was_silent.clone();
        let reaper = Handle::current().spawn(async move {
            tokio::select! {
                () = watch.cancelled() => {}
                () = expired(&no_progress, &watch) => note.store(true, Ordering::Relaxed),
            }
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
        });
        let child = Self {
            child: Mutex::new(child),
            log: Some(log),
            words,
            listener: Mutex::new(Some(listener)),
            reaper,
            budget,
            was_silent,
            meaning,
        };
        Ok((child, connection))
    }

    /// What the child itself said was wrong, when it is the one that stopped talking.
    pub(crate) fn explain(&self, url: &UpstreamUrl, error: &gix::Error) -> Option<Trouble> {
        if self.was_silent.load(Ordering::Relaxed) {
            return Some(answers::silent(url, self.budget));
        }
        if !answers::has_ended(error) {
            return None;
        }
        let mut listener = self.listener.lock().take()?;
        let silent = async { timeout(STDERR_TIMEOUT, &mut listener).await.is_ok() };
        let status = if Handle::current().block_on(silent) {
            // Who has closed all its ends is about to be gone.
            self.child.lock().wait().ok()
        } else {
            listener.abort();
            self.child.lock().try_wait().ok().flatten()
        };
        let words = self.words.lock().clone();
        let words = String::from_utf8_lossy(&words);
        (self.meaning)(url, &words, status.and_then(|status| status.code()))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.reaper.abort();
        if let Some(listener) = self.listener.lock().take() {
            listener.abort();
        }
        // Not its group: what an ssh keeps for others may have begun there. The rest of it ends with its pipes.
        let mut child = self.child.lock();
        let _ = child.kill();
        if let (Ok(status), Some(log)) = (child.wait(), self.log.take()) {
            log.ended(status);
        }
    }
}

async fn listen(stderr: ChildStderr, words: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut stderr) = tokio::process::ChildStderr::from_std(stderr) else {
        return;
    };
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = stderr.read(&mut piece).await {
        let mut words = words.lock();
        words.extend_from_slice(&piece[..length]);
        let surplus = words.len().saturating_sub(MAX_STDERR_BYTES);
        words.drain(..surplus);
    }
}

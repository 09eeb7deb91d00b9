//! Runs a child to its end from blocking code, or kills it with everything it started when nobody waits any more.
//!
//! Each child leads a process group of its own: that is what is killed.

use std::{
    future::pending,
    io,
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use common::git::child_log::ChildLog;
use common::no_progress::NoProgress;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
};

use crate::process::{no_progress::expired, watch::Watch};

/// A child that has ended.
pub(crate) struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// The output, if stdout was piped.
    pub stdout: Vec<u8>,
    /// The output on stderr.
    pub stderr: Vec<u8>,
    /// Whether the child was killed because it made no progress for too long.
    pub was_silent: bool,
}

/// Runs a child. Ends it early when the watch is cancelled; its status is then that of the kill.
pub(crate) fn run(command: Command, input: Vec<u8>, watch: &Watch) -> io::Result<Ended> {
    run_reading(command, input, None, watch, |_| ())
}

/// Runs a child as [`run`] does, and hands over each piece of its stderr as it comes. A child with a `budget` is ended when it
/// prints nothing for
/// so long, unless somebody is being asked something meanwhile.
pub(crate) fn run_reading(
    mut command: Command,
    input: Vec<u8>,
    budget: Option<Duration>,
    watch: &Watch,
    mut on_piece: impl FnMut(&[u8]),
) -> io::Result<Ended> {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    command.stderr(Stdio::piped()).process_group(0);
    let log = ChildLog::begin(&command);
    Handle::current().block_on(async {
        let mut child = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .spawn()?;
        let group = child
            .id()
            .and_then(|pid| rustix::process::Pid::from_raw(pid.try_into().ok()?));
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A child that ends early tells why by its status.
                let _ = stdin.write_all(&input).await;
            }
        };
        let clock = Mutex::new(NoProgress::new(budget.unwrap_or_default()));
        clock.lock().restart(Instant::now(), Duration::ZERO);
        let collect = read(stdout, |_| clock.lock().progress(Instant::now()));
        let listen = read(stderr, |piece| {
            clock.lock().progress(Instant::now());
            on_piece(piece);
        });
        let no_progress = async {
            match budget {
                Some(_) => expired(&clock, watch).await,
                None => pending().await,
            }
        };
        let work = async {
            let ((), stdout, stderr) = tokio::join!(feed, collect, listen);
            Ok::<_, io::Error>((stdout?, stderr?))
        };
        let mut was_silent = false;
        let output = tokio::select! {
            output = work => Some(output?),
            () = watch.cancelled() => None,
            () = no_progress => {
                was_silent = true;
                None
            }
        };
        if output.is_none()
            && let Some(group) = group
        {
            // Its helpers must not go on without it. It may have ended by itself in the meantime.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let status = child.wait().await?;
        log.ended(status);
        let (stdout, stderr) = output.unwrap_or_default();
        Ok(Ended {
            status,
            stdout,
            stderr,
            was_silent,
        })
    })
}

async fn read(
    from: Option<impl AsyncRead + Unpin>,
    mut on_piece: impl FnMut(&[u8]),
) -> io::Result<Vec<u8>> {
    let mut all = Vec::with_capacity(4096);
    if let Some(mut from) = from {
        let mut known = 0;
        while from.read_buf(&mut all).await? > 0 {
            on_piece(&all[known..]);
            known = all.len();
        }
    }
    Ok(all)
}

//! Runs a child to its end from blocking code, or kills it with everything it started when nobody waits any more.
//!
//! Each child leads a process group of its own: that is what is killed.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
};

use crate::watch::Watch;

/// What a child left behind.
pub(crate) struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed, when its stdout was piped.
    pub stdout: Vec<u8>,
    /// What it said on stderr.
    pub stderr: Vec<u8>,
}

/// Runs a child. Ends it early when the watch is cancelled; its status is then that of the kill.
///
/// # Errors
/// Fails when it cannot be started.
pub(crate) fn run(command: Command, input: Vec<u8>, watch: &Watch) -> io::Result<Ended> {
    run_reading(command, input, watch, |_| ())
}

/// The same, and shows each piece of its stderr as it comes.
///
/// # Errors
/// Fails when it cannot be started.
pub(crate) fn run_reading(
    mut command: Command,
    input: Vec<u8>,
    watch: &Watch,
    mut said: impl FnMut(&[u8]),
) -> io::Result<Ended> {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    command.stderr(Stdio::piped()).process_group(0);
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
        let collect = async {
            let mut all = Vec::new();
            if let Some(mut stdout) = stdout {
                stdout.read_to_end(&mut all).await?;
            }
            Ok::<_, io::Error>(all)
        };
        let listen = async {
            let mut all = Vec::new();
            if let Some(mut stderr) = stderr {
                let mut piece = [0; 4096];
                loop {
                    match stderr.read(&mut piece).await? {
                        0 => break,
                        length => {
                            said(&piece[..length]);
                            all.extend_from_slice(&piece[..length]);
                        }
                    }
                }
            }
            Ok::<_, io::Error>(all)
        };
        let work = async {
            let ((), stdout, stderr) = tokio::join!(feed, collect, listen);
            Ok::<_, io::Error>((stdout?, stderr?))
        };
        let output = tokio::select! {
            output = work => Some(output?),
            () = watch.cancelled() => None,
        };
        if output.is_none()
            && let Some(group) = group
        {
            // Its helpers must not go on without it. It may have ended by itself in the meantime.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let status = child.wait().await?;
        let (stdout, stderr) = output.unwrap_or_default();
        Ok(Ended {
            status,
            stdout,
            stderr,
        })
    })
}

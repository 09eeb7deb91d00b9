//! Watches a `git push`, and ends it when upstream makes no progress for too long.
//!
//! git itself waits for ever for a server behind ssh or on this machine, and for minutes until a web server takes a
//! connection. git's traces tell what it receives ([`crate::trace`]); they come through a pipe and are kept nowhere. Its
//! progress tells how much it has sent. [`timing`] says which of these steps is timed.

mod timing;

use std::{
    fs::{self, OpenOptions},
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use common::git::progress_line::ProgressLine;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use self::timing::Timing;
use crate::{
    process_tree,
    trace::{self, TraceEvent},
};

/// The name of the pipe, in the quarantine of a push.
const TRACE: &str = "trace";

/// How long git may take to end after each signal.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// The way by which a push reaches upstream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The web. curl has a limit of its own once it is connected.
    Http,
    /// ssh.
    Ssh,
    /// A repository on this machine.
    Path,
}

impl Transport {
    pub(crate) fn of_url(url: &str) -> Self {
        match url.split_once("://") {
            Some(("http" | "https", _)) => Self::Http,
            Some(("file", _)) => Self::Path,
            _ => Self::Ssh,
        }
    }
}

/// A step of a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A line of git's trace.
    Traced(TraceEvent),
    /// git sends the pack, and has sent so many bytes of it, where it says how many.
    SendingPack(Option<u64>),
    /// git has sent the whole pack, as far as it knows.
    PackSent,
    /// git has ended.
    GitEnded,
}

impl Event {
    /// Reads a line of git's progress on stderr: builtin/pack-objects.c prints it.
    pub(crate) fn of_progress(line: &[u8]) -> Option<Self> {
        if line.starts_with(b"Total ") {
            return Some(Self::PackSent);
        }
        let line = String::from_utf8_lossy(line);
        let progress = ProgressLine::parse(&line).filter(|line| line.title == "Writing objects")?;
        Some(Self::SendingPack(progress.bytes))
    }
}

/// The watch over one push.
pub(crate) struct PushWatch {
    transport: Transport,
    trace: PathBuf,
    timing: Timing,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

impl PushWatch {
    /// Prepares to watch a push, and makes the pipe for its traces. `has_pack` says whether objects are sent.
    ///
    /// # Errors
    /// Fails when the pipe cannot be made.
    pub(crate) fn new(
        quarantine: &Path,
        transport: Transport,
        limit: Duration,
        has_pack: bool,
    ) -> io::Result<Self> {
        let trace = quarantine.join(TRACE);
        make_pipe(&trace)?;
        // Opened at both ends: opening it does not wait for git, and reading it does not end with the first git that
        // closes it.
        let pipe = OpenOptions::new().read(true).write(true).open(&trace)?;
        let (sender, events) = mpsc::channel();
        let trace_sender = sender.clone();
        thread::spawn(move || {
            trace::read(pipe, |event| {
                // The watch is over when nobody receives.
                match trace_sender.send(Event::Traced(event)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
        });
        Ok(Self {
            transport,
            trace,
            timing: Timing::new(transport, limit, has_pack, Instant::now()),
            sender,
            events,
        })
    }

    /// The variables that make git trace into the pipe.
    pub(crate) fn trace_variables(&self) -> Vec<(&'static str, &Path)> {
        match self.transport {
            Transport::Http => vec![
                ("GIT_TRACE_CURL", &self.trace),
                ("GIT_TRACE_CURL_NO_DATA", Path::new("1")),
                ("GIT_TRACE_REDACT", Path::new("1")),
            ],
            Transport::Ssh | Transport::Path => vec![("GIT_TRACE_PACKET", &self.trace)],
        }
    }

    /// Returns a sender for the events in git's progress.
    pub(crate) fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Waits for the end of the push, and ends it when upstream sends nothing for too long. Returns the status of a git
    /// that ended by itself, otherwise None.
    pub(crate) fn wait(mut self, push: &mut Child) -> Option<ExitStatus> {
        let pid = Pid::from_child(push);
        let sender = self.sender.clone();
        thread::spawn(move || {
            // NOWAIT leaves the process as a zombie, so that its number stays its own while it may get a signal.
            let _ = waitid(
                WaitId::Pid(pid),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            );
            sender.send(Event::GitEnded)
        });
        let in_time = loop {
            let left = self.timing.deadline().map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            match self.events.recv_timeout(left) {
                Ok(Event::GitEnded) | Err(RecvTimeoutError::Disconnected) => break true,
                Ok(event) => self.timing.apply(&event, Instant::now()),
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        if !in_time {
            self.end(pid);
        }
        // A hook that an upstream on this machine has left running would wait at the pipe for a reader.
        let _ = fs::remove_file(&self.trace);
        push.wait().ok().filter(|_| in_time)
    }

    /// Ends a push with all that it has started: an ssh would wait for its server.
    fn end(&self, pid: Pid) {
        for signal in [Signal::TERM, Signal::KILL] {
            process_tree::signal(pid, signal);
            let deadline = Instant::now() + EXIT_TIMEOUT;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.events.recv_timeout(left) {
                    Ok(Event::GitEnded) | Err(RecvTimeoutError::Disconnected) => return,
                    Ok(_) => {}
                    Err(RecvTimeoutError::Timeout) => break,
                }
            }
        }
    }
}

#[cfg(not(target_vendor = "apple"))]
fn make_pipe(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, Mode, mkfifoat};

    Ok(mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?)
}

/// rustix has no `mkfifoat` for Apple's systems.
#[cfg(target_vendor = "apple")]
fn make_pipe(path: &Path) -> io::Result<()> {
    use std::process::Command;

    let made = Command::new("mkfifo").arg(path).status()?;
    made.success()
        .then_some(())
        .ok_or_else(|| io::Error::other("mkfifo failed"))
}

#[cfg(test)]
mod tests;

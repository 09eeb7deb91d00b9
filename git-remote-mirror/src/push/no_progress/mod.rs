//! For how long upstream may say nothing to a push before it is given up.
//!
//! git itself waits for ever for a server behind ssh or on this machine, and for minutes until one on the web takes a
//! connection. What git hears is told by its own traces ([`crate::children::trace`]), which come through a pipe and are
//! kept nowhere; how much it has written, by its progress. Only what upstream has to do is timed: not git's own work, and
//! not the person who signs in.

use std::{
    fs::OpenOptions,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use common::no_progress::{NoProgress, SIGN_IN_TIMEOUT};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use crate::children::{family, trace};

/// In a quarantine: the pipe.
const TRACE: &str = "trace";

/// What may still be on its way in the buffers of pipes, ssh and sockets when git has written all.
const MAX_BUFFERED_BYTES: u64 = 8 << 20;
/// The slowest line for which the limit holds, in bytes per second.
const MIN_BYTES_PER_SECOND: u64 = 16 << 10;

/// How long a git that was told to end may take.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Which way a push goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Here curl has a limit of its own, once it is connected.
    Http,
    Ssh,
    /// A repository on this machine.
    Path,
}

/// What happens to a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A line of git's trace.
    Traced(trace::Event),
    /// git has written so many bytes of the pack, where it says how many.
    Writes(Option<u64>),
    /// git has written the whole pack.
    Written,
    /// git has ended.
    Ended,
}

/// A push that is under way.
pub(crate) struct Watch {
    transport: Transport,
    trace: PathBuf,
    timing: Timing,
    tell: Sender<Event>,
    told: Receiver<Event>,
}

/// What of a push is timed, and by which clock.
struct Timing {
    clock: NoProgress,
    /// Whether a pack follows the commands.
    brings: bool,
    /// Whether upstream has told what it has.
    advertised: bool,
    written: u64,
}

impl Transport {
    pub(crate) fn of(url: &str) -> Self {
        match url.split_once("://") {
            Some(("http" | "https", _)) => Self::Http,
            Some(("file", _)) => Self::Path,
            _ => Self::Ssh,
        }
    }
}

impl Event {
    /// Reads a line of git's own progress.
    pub(crate) fn of_progress(line: &[u8]) -> Option<Self> {
        if line.starts_with(b"Total ") {
            return Some(Self::Written);
        }
        let rest = line.strip_prefix(b"Writing objects:")?;
        Some(Self::Writes(size(&String::from_utf8_lossy(rest))))
    }
}

/// Reads the size in `  45% (9/20), 1.25 MiB | 2.00 MiB/s`.
fn size(progress: &str) -> Option<u64> {
    let (_, size) = progress.split_once("), ")?;
    let mut words = size.split([' ', ',']);
    let number: f64 = words.next()?.parse().ok()?;
    let unit = match words.next()? {
        "bytes" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    Some((number * f64::from(unit)) as u64)
}

impl Timing {
    fn new(transport: Transport, limit: Duration, brings: bool, now: Instant) -> Self {
        let mut clock = NoProgress::new(limit);
        match transport {
            Transport::Http => {}
            Transport::Ssh => clock.restart(now, SIGN_IN_TIMEOUT),
            Transport::Path => clock.resume(now),
        }
        Self {
            clock,
            brings,
            advertised: false,
            written: MAX_BUFFERED_BYTES,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.clock.deadline()
    }

    fn apply(&mut self, event: &Event, now: Instant) {
        use trace::Event::{CommandsSent, Connected, Connects, Heard, Paused};

        match event {
            Event::Traced(Connects) => self.clock.resume(now),
            Event::Traced(Connected) => self.clock.stop(),
            // The first word ends the time for signing in.
            Event::Traced(Heard) if !self.advertised => self.clock.restart(now, Duration::ZERO),
            Event::Traced(Paused) if !self.advertised => {
                self.advertised = true;
                self.clock.stop();
            }
            Event::Traced(Heard | Paused) => self.clock.progress(now),
            Event::Traced(CommandsSent) if !self.brings => self.clock.restart(now, Duration::ZERO),
            Event::Writes(size) => {
                self.written = size.unwrap_or(self.written);
                self.clock.restart(now, Duration::ZERO);
            }
            Event::Written => {
                let buffered = self.written.min(MAX_BUFFERED_BYTES);
                let sending = Duration::from_secs(buffered / MIN_BYTES_PER_SECOND);
                self.clock.restart(now, sending);
            }
            Event::Traced(CommandsSent) | Event::Ended => {}
        }
    }
}

impl Watch {
    /// Prepares to watch a push, whose traces go through a pipe in its quarantine. `brings` says whether it sends
    /// objects.
    pub(crate) fn new(
        quarantine: &Path,
        transport: Transport,
        limit: Duration,
        brings: bool,
    ) -> io::Result<Self> {
        let trace = quarantine.join(TRACE);
        make_pipe(&trace)?;
        // Open at both ends, so that it has no end of its own and nobody waits for somebody to open the other.
        let pipe = OpenOptions::new().read(true).write(true).open(&trace)?;
        let (tell, told) = mpsc::channel();
        let listener = tell.clone();
        thread::spawn(move || {
            trace::read(pipe, |event| match listener.send(Event::Traced(event)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            });
        });
        Ok(Self {
            transport,
            trace,
            timing: Timing::new(transport, limit, brings, Instant::now()),
            tell,
            told,
        })
    }

    /// What makes git trace into the pipe.
    pub(crate) fn variables(&self) -> Vec<(&'static str, &Path)> {
        match self.transport {
            Transport::Http => vec![
                ("GIT_TRACE_CURL", &self.trace),
                ("GIT_TRACE_CURL_NO_DATA", Path::new("1")),
                ("GIT_TRACE_REDACT", Path::new("1")),
            ],
            Transport::Ssh | Transport::Path => vec![("GIT_TRACE_PACKET", &self.trace)],
        }
    }

    /// For whoever reads git's progress.
    pub(crate) fn teller(&self) -> Sender<Event> {
        self.tell.clone()
    }

    /// Waits for the end of the push, and brings it about when upstream says nothing for too long; returns how it ended
    /// by itself, or None.
    pub(crate) fn wait(mut self, push: &mut Child) -> Option<ExitStatus> {
        let pid = Pid::from_child(push);
        let tell = self.tell.clone();
        thread::spawn(move || {
            // Leaves it there, so that its number stays its own for as long as we may send it a signal.
            let _ = waitid(
                WaitId::Pid(pid),
                WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
            );
            tell.send(Event::Ended)
        });
        let in_time = loop {
            let left = self.timing.deadline().map_or(Duration::MAX, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            match self.told.recv_timeout(left) {
                Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => break true,
                Ok(event) => self.timing.apply(&event, Instant::now()),
                Err(RecvTimeoutError::Timeout) => break false,
            }
        };
        if !in_time {
            self.end(pid);
        }
        // What a hook of an upstream on this machine has left running would wait for a reader when we are gone.
        let _ = std::fs::remove_file(&self.trace);
        push.wait().ok().filter(|_| in_time)
    }

    /// Ends a push with all that it has started: an ssh would wait for its server.
    fn end(&self, pid: Pid) {
        for signal in [Signal::TERM, Signal::KILL] {
            // Each time anew: the number of one that has ended may be a stranger's by now.
            family::kill(pid, signal);
            let deadline = Instant::now() + EXIT_TIMEOUT;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                match self.told.recv_timeout(left) {
                    Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => return,
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

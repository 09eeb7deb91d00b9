//! For how long upstream may say nothing to a push before it is given up.
//!
//! git itself waits for ever for a server behind ssh or on this machine, and for minutes until one on the web takes a
//! connection. What it hears is told by its own traces, which come through a pipe and are kept nowhere; how much it has
//! written, by its progress. Only what upstream has to do is timed: not git's own work, and not the person who signs in.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ExitStatus},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// In a quarantine: the pipe.
const TRACE: &str = "trace";

/// How long a person may take to sign in by an ssh of their own: sshd's `LoginGraceTime`.
pub(crate) const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(120);

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
    /// curl asks for a connection.
    Connects,
    /// curl has it, and sends.
    Connected,
    /// Upstream said something.
    Heard,
    /// Upstream has come to the end of something.
    Paused,
    /// git has told what is to be.
    Asked,
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
    silence: NoProgress,
    tell: Sender<Event>,
    told: Receiver<Event>,
}

/// Until when upstream must have said something.
struct NoProgress {
    limit: Duration,
    until: Option<Instant>,
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
    /// What a line of git's own progress tells.
    pub(crate) fn of_words(line: &[u8]) -> Option<Self> {
        if line.starts_with(b"Total ") {
            return Some(Self::Written);
        }
        let rest = line.strip_prefix(b"Writing objects:")?;
        Some(Self::Writes(size(&String::from_utf8_lossy(rest))))
    }

    /// What a line of a trace tells. A repository on this machine traces its own end into the same pipe.
    pub(crate) fn of_trace(line: &str) -> Option<Self> {
        if let Some((_, info)) = line.split_once("== Info:") {
            let connects = info.trim_start().starts_with("Trying ");
            return connects.then_some(Self::Connects);
        }
        if let Some((_, header)) = line.split_once("=> Send header: ") {
            // To a proxy it is only the wish for a connection.
            return (!header.starts_with("CONNECT ")).then_some(Self::Connected);
        }
        let (_, packet) = line.split_once("packet:")?;
        match packet.trim() {
            "push< 0000" => Some(Self::Paused),
            "push> 0000" => Some(Self::Asked),
            packet if packet.starts_with("push<") || packet.starts_with("sideband<") => {
                Some(Self::Heard)
            }
            _ => None,
        }
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

impl NoProgress {
    fn new(transport: Transport, limit: Duration, brings: bool, now: Instant) -> Self {
        let until = match transport {
            Transport::Http => None,
            Transport::Ssh => Some(now + SIGN_IN_TIMEOUT + limit),
            Transport::Path => Some(now + limit),
        };
        Self {
            limit,
            until,
            brings,
            advertised: false,
            written: MAX_BUFFERED_BYTES,
        }
    }

    fn hear(&mut self, event: &Event, now: Instant) {
        let limit = now + self.limit;
        self.until = match event {
            Event::Connects => self.until.or(Some(limit)),
            Event::Connected => None,
            // The first word ends the time for signing in.
            Event::Heard if !self.advertised => Some(limit),
            Event::Paused if !self.advertised => {
                self.advertised = true;
                None
            }
            Event::Heard | Event::Paused => self.until.map(|until| until.max(limit)),
            Event::Asked if !self.brings => Some(limit),
            Event::Writes(size) => {
                self.written = size.unwrap_or(self.written);
                Some(limit)
            }
            Event::Written => {
                let buffered = self.written.min(MAX_BUFFERED_BYTES);
                Some(limit + Duration::from_secs(buffered / MIN_BYTES_PER_SECOND))
            }
            Event::Asked | Event::Ended => self.until,
        };
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
        thread::spawn(move || listen(pipe, &listener));
        Ok(Self {
            transport,
            trace,
            silence: NoProgress::new(transport, limit, brings, Instant::now()),
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
            let left = self.silence.until.map_or(Duration::MAX, |until| {
                until.saturating_duration_since(Instant::now())
            });
            match self.told.recv_timeout(left) {
                Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => break true,
                Ok(event) => self.silence.hear(&event, Instant::now()),
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
            for process in family(pid) {
                // Some have ended with the others.
                let _ = kill_process(process, signal);
            }
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

/// Tells what the traces say, for as long as this process lives.
fn listen(pipe: File, tell: &Sender<Event>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = pipe.read_until(b'\n', &mut line) {
        let event = Event::of_trace(String::from_utf8_lossy(&line).trim_end());
        if let Some(event) = event
            && tell.send(event).is_err()
        {
            // What git still has to say must not block it.
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        line.clear();
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

/// A process and all those that it and they have started, where the system tells.
pub(crate) fn family(pid: Pid) -> Vec<Pid> {
    let parents: Vec<(Pid, Pid)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let child = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // Behind a name that may hold anything.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((Pid::from_raw(child)?, Pid::from_raw(parent.parse().ok()?)?))
        })
        .collect();
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(&one) = family.get(at) {
        let children = parents.iter().filter(|(_, parent)| *parent == one);
        family.extend(children.map(|(child, _)| *child));
        at += 1;
    }
    family
}

#[cfg(test)]
mod tests;

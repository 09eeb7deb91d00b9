//! Processes that are no children of the test, each with a pidfd: its end is an event that can be waited
//! for, and a signal can never hit a later process with the same number.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long a killed process may take to end.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A process that may end at any moment.
#[derive(Debug)]
pub(crate) struct Process {
    pid: u32,
    fd: OwnedFd,
}

impl Process {
    /// Opens a process by its number; `None` if there is none.
    pub(crate) fn open(pid: u32) -> Option<Self> {
        let raw = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let fd = pidfd_open(raw, PidfdFlags::empty()).ok()?;
        Some(Self { pid, fd })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// A file descriptor that becomes readable when the process has ended.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Sends a signal. A process that has ended already does not mind.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.fd, signal);
    }

    /// Waits until the process has ended; `false` if it still runs when the time is up.
    ///
    /// A zombie counts as ended: in a container nobody may ever reap an orphan.
    pub(crate) fn ended(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("a deadline is minutes, not aeons");
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) => return false,
                Ok(_) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("cannot wait for process {}: {error}", self.pid),
            }
        }
    }

    /// Returns the command line, for messages.
    pub(crate) fn command_line(&self) -> String {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        format!("{} {}", self.pid, line.trim_end())
    }

    /// Tells whether the process's environment or arguments mention this path.
    pub(crate) fn mentions(&self, path: &Path) -> bool {
        ["environ", "cmdline"].iter().any(|file| {
            std::fs::read(format!("/proc/{}/{file}", self.pid))
                .is_ok_and(|text| mentions(&text, path))
        })
    }
}

/// Returns every living process that mentions this path.
///
/// The arguments count too, because the daemon gives its children a clean environment.
pub(crate) fn all_that_mention(path: &Path) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Process::open)
        .filter(|process| process.mentions(path))
        .collect()
}

/// Returns every process that this one has started, and those that they have started.
pub(crate) fn descendants(pid: u32) -> Vec<Process> {
    let family = family(pid).into_iter();
    family.filter_map(Process::open).collect()
}

/// Returns the numbers of all processes that this one has started, and of those that they have started.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    // The number of each process and of its parent, which is behind a name with any characters.
    let all: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((number, parent.parse().ok()?))
        })
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        let children = all.iter().filter(|(_, of)| *of == parent);
        found.extend(children.map(|(child, _)| *child));
        at += 1;
    }
    found.split_off(1)
}

/// Kills all processes that this one has started, and all that mention one of these paths: for a program that is told to
/// stop in the middle of its work.
pub fn kill_all(paths: &[&Path]) {
    // A process that still runs may be starting others.
    for _ in 0..3 {
        let mut processes = descendants(std::process::id());
        processes.extend(paths.iter().flat_map(|path| all_that_mention(path)));
        for process in &processes {
            process.signal(Signal::KILL);
        }
        for process in processes {
            process.ended(KILL_TIMEOUT);
        }
    }
}

/// Finds the path in the text, but not as the beginning of a longer name.
fn mentions(text: &[u8], path: &Path) -> bool {
    // As text, because a search in std's strings is fast in a debug build, too.
    let (text, path) = (String::from_utf8_lossy(text), path.to_string_lossy());
    text.match_indices(&*path).any(|(at, _)| {
        let next = text.as_bytes().get(at + path.len());
        !next.is_some_and(u8::is_ascii_alphanumeric)
    })
}

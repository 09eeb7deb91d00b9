//! The processes of a push through the mirror, found below the `git push` that a test has started, so
//! that each can be killed by itself.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::thread::yield_now;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{Process, all_that_mention};
use crate::{Running, World};

/// How long a test waits for a process of a push to appear.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// One process of a push.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// `git-remote-mirror`, which the user's git has started.
    Helper,
    /// `git receive-pack` on the mirror.
    ReceivePack,
    /// The hook in it, which talks to the daemon and to upstream.
    Hook,
    /// `git push` to upstream.
    InnerPush,
    /// The daemon, which is no child of the push.
    Daemon,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 5] = [
        Self::Helper,
        Self::ReceivePack,
        Self::Hook,
        Self::InnerPush,
        Self::Daemon,
    ];

    /// Whether a command line is that of this process.
    fn matches(self, args: &[String]) -> bool {
        let program = args.first().map(Path::new).and_then(Path::file_name);
        let is_program = |name: &str| program.is_some_and(|program| program == name);
        let has = |arg: &str| args.iter().any(|each| each == arg);
        match self {
            Self::Helper => is_program("git-remote-mirror") && args.len() > 2 && !has("login"),
            Self::ReceivePack => is_program("git") && has("receive-pack"),
            Self::Hook => is_program("proc-receive"),
            Self::InnerPush => is_program("git") && has("push") && has("--no-follow-tags"),
            Self::Daemon => false,
        }
    }
}

impl World {
    /// Kills one part of a push, as the kernel does when memory is short; `false` when there is
    /// none now.
    pub fn kill_part(&self, push: &Running, part: Part) -> bool {
        let Some(process) = self.part(push, part) else {
            return false;
        };
        process.signal(Signal::KILL);
        assert!(process.ended(TIMEOUT), "{part:?} survived SIGKILL");
        true
    }

    /// Tells whether a push has this part now.
    pub fn has_part(&self, push: &Running, part: Part) -> bool {
        self.part(push, part).is_some()
    }

    /// Sends a signal to one part of a push, which must be there.
    #[track_caller]
    pub fn signal_part(&self, push: &Running, part: Part, signal: Signal) {
        let process = self.part(push, part);
        let process = process.unwrap_or_else(|| panic!("the push has no {part:?} now"));
        process.signal(signal);
    }

    /// Waits until a push has this part.
    #[track_caller]
    pub fn wait_for_part(&self, push: &Running, part: Part) {
        let deadline = Instant::now() + TIMEOUT;
        // A process that begins is no event for a stranger.
        while !self.has_part(push, part) {
            assert!(Instant::now() < deadline, "the push never had a {part:?}");
            yield_now();
        }
    }

    /// Waits until a push has this part no more.
    #[track_caller]
    pub fn wait_without_part(&self, push: &Running, part: Part) {
        if let Some(process) = self.part(push, part) {
            assert!(
                process.ended(TIMEOUT),
                "the {part:?} of the push never ended"
            );
        }
    }

    /// Waits until nothing runs here but the daemon; returns what still does after so long.
    pub fn left_running(&self, patience: Duration) -> Vec<String> {
        let deadline = Instant::now() + patience;
        let mut left = Vec::new();
        // Whoever ends may have begun others.
        for _ in 0..3 {
            left.clear();
            for process in all_that_mention(self.root()) {
                if Some(process.pid()) != self.daemon_pid()
                    && !process.ended(deadline.saturating_duration_since(Instant::now()))
                {
                    left.push(process.command_line());
                }
            }
        }
        left
    }

    fn part(&self, push: &Running, part: Part) -> Option<Process> {
        if part == Part::Daemon {
            return self.daemon();
        }
        let children = children();
        // A child that has not become its program yet looks like its parent: those above come first.
        let mut level = vec![push.pid()];
        while !level.is_empty() {
            let found = level.iter().find_map(|pid| {
                // Held before it is looked at: the number may be another's in a moment.
                let process = Process::open(*pid)?;
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let args = line.split(|byte| *byte == 0);
                let args = args.map(|word| String::from_utf8_lossy(word).into_owned());
                let ours = part.matches(&args.collect::<Vec<_>>()) && process.mentions(self.root());
                ours.then_some(process)
            });
            if found.is_some() {
                return found;
            }
            let below = level.iter().filter_map(|pid| children.get(pid));
            level = below.flatten().copied().collect();
        }
        None
    }
}

/// Every process with its children.
fn children() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // `PID (NAME) STATE PARENT …`, and a name may hold anything.
        let parent = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        if let Some(parent) = parent
            .split_whitespace()
            .nth(1)
            .and_then(|word| word.parse().ok())
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    children
}

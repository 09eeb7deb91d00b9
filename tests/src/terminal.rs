//! A program at a terminal of its own, and a user who reads what it shows and types.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};

use crate::Run;
use crate::output::Output;
use crate::process::Process;
use crate::run::{DEADLINE, OUTPUT_DEADLINE};

/// The byte that Ctrl-C sends.
const INTERRUPT: &str = "\x03";

/// A program that runs at a real terminal, which is its controlling one, its stdin, stdout and stderr. Dropping it
/// kills the program.
#[must_use = "wait for it with ended(), or it is killed here"]
#[derive(Debug)]
pub struct Terminal {
    process: Process,
    child: Child,
    keys: File,
    screen: Output,
    /// The offset up to which the output has been read.
    read: usize,
    deadline: Instant,
    name: String,
}

impl Run {
    /// Starts the program at a terminal, where it can ask. Its output has plain line ends, and has what is typed, unless
    /// the program has switched the echo off.
    #[track_caller]
    pub fn on_terminal(self) -> Terminal {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags).expect("the system has terminals");
        grantpt(&ours).expect("it is ours");
        unlockpt(&ours).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let theirs = rustix::fs::open(&name, flags, Mode::empty()).expect("it was just made");
        let mut modes = tcgetattr(&theirs).expect("it is a terminal");
        modes.output_modes -= OutputModes::ONLCR;
        tcsetattr(&theirs, OptionalActions::Now, &modes).expect("it is a terminal");
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&theirs, size).expect("it is a terminal");

        let run = self.env_remove("GIT_TERMINAL_PROMPT").env("TERM", "xterm");
        let name = run.name();
        let mut command = as_leader(run.command());
        let stdio = || theirs.try_clone().expect("there are descriptors left");
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        // Their end must be with nobody else: its last closing is how we see that nobody can write any more.
        drop((command, theirs));
        let keys = File::from(ours);
        Terminal {
            process: Process::open(child.id()).expect("an unreaped child exists"),
            screen: Output::of_one(keys.try_clone().expect("there are descriptors left")),
            read: 0,
            deadline: Instant::now() + DEADLINE,
            child,
            keys,
            name,
        }
    }
}

impl Terminal {
    /// Waits until the screen shows this, behind what was waited for before; panics if it never does.
    #[track_caller]
    pub fn shows(&mut self, text: &str) {
        match self.screen.found(text, self.read, self.deadline) {
            Some(place) => self.read = place,
            None => panic!("never shows '{text}' from byte {} on:\n{self}", self.read),
        }
    }

    /// Types this; a line ends with `\n`.
    #[track_caller]
    pub fn types(&mut self, text: &str) {
        let typed = self.keys.write_all(text.as_bytes());
        assert!(typed.is_ok(), "cannot type '{text}': {typed:?}\n{self}");
    }

    /// Types Ctrl-C.
    #[track_caller]
    pub fn interrupt(&mut self) {
        self.types(INTERRUPT);
    }

    /// Tells whether the terminal shows what is typed now.
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.keys).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ECHO))
    }

    /// Returns its process id, which is also that of its session.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for its end. Returns its exit code as a shell gives it, with 128 and the number for a signal, and all that
    /// was shown.
    #[track_caller]
    pub fn ended(mut self) -> (i32, String) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if !self.process.ended(left) {
            self.kill();
            panic!("still running after {DEADLINE:?}:\n{self}");
        }
        let status = self.child.wait().expect("a child can be waited for");
        let closed = self.screen.closed(Instant::now() + OUTPUT_DEADLINE);
        assert!(
            closed,
            "ended, but a process that it started keeps the terminal open:\n{self}"
        );
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        let code = code.expect("it has ended in one of two ways");
        (code, self.screen.so_far().0)
    }

    fn kill(&mut self) {
        if let Some(group) = Pid::from_raw(self.pid().cast_signed()) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        // Before it has a session it has no group of its own.
        let _ = self.child.kill();
    }
}

impl fmt::Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.screen.so_far().0;
        write!(f, "$ {}\n--- terminal\n{shown}\n---", self.name)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // After ended() the number may belong to someone else.
        if let Ok(None) = self.child.try_wait() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

/// Returns the command as the leader of a new session whose controlling terminal is its stdin.
fn as_leader(command: &Command) -> Command {
    let mut leader = Command::new("setsid");
    // It is not the leader of a group, so setsid becomes the program instead of starting it.
    leader.args(["--ctty", "--wait", "--"]);
    leader.arg(command.get_program()).args(command.get_args());
    leader.env_clear();
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            leader.env(key, value);
        }
    }
    if let Some(dir) = command.get_current_dir() {
        leader.current_dir(dir);
    }
    leader
}

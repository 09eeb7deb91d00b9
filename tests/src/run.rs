//! Programs as a user runs them, with a clean environment, captured output and a deadline.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::git;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::output::Output;
use crate::process::Process;

/// How long a program may run; then it is killed and the test fails with what was printed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// How long output may stay open after the program has ended. Otherwise a process that it started
/// has the pipe, and a user's `$(git fetch)` would hang.
pub(crate) const OUTPUT_DEADLINE: Duration = Duration::from_secs(5);

/// A program about to run; nothing happens until [`ok`](Self::ok) or one of its kin.
#[must_use = "nothing runs before ok(), fails(), code(), run() or start()"]
#[derive(Debug)]
pub struct Run {
    command: Command,
    stdin: Option<Vec<u8>>,
    deadline: Duration,
}

impl Run {
    /// Prepares a program with an empty environment but for what makes git repeatable.
    pub(crate) fn fenced<A: AsRef<OsStr>>(
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
        home: &Path,
    ) -> Self {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "A U Thor")
            .env("GIT_AUTHOR_EMAIL", "author@example.com")
            .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
            .env("GIT_COMMITTER_NAME", "C O Mitter")
            .env("GIT_COMMITTER_EMAIL", "committer@example.com")
            .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
            .env("LC_ALL", "C")
            .env("TZ", "UTC");
        Self {
            command,
            stdin: None,
            deadline: DEADLINE,
        }
    }

    /// Adds one more argument; handy for paths.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds more arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs it in this directory; a relative one is in the world's.
    pub fn at(mut self, dir: impl AsRef<Path>) -> Self {
        let current = self.command.get_current_dir().unwrap_or(Path::new("/"));
        let dir = current.join(dir);
        self.command.current_dir(dir);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// Removes an environment variable that the world had set.
    pub fn env_remove(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    /// Sets how long the program may run: for programs that print figures of large repositories.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Gives it this on stdin, then the end; without it stdin is `/dev/null`.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Runs it and panics, with all it printed, unless it succeeds.
    #[track_caller]
    pub fn ok(self) -> Ran {
        let ran = self.run();
        assert!(ran.status.success(), "should have succeeded:\n{ran}");
        ran
    }

    /// Runs it and panics, with all it printed, if it succeeds or dies of a signal.
    #[track_caller]
    pub fn fails(self) -> Ran {
        let ran = self.run();
        let failed = ran.status.code().is_some_and(|code| code != 0);
        assert!(failed, "should have failed:\n{ran}");
        ran
    }

    /// Runs it and panics, with all it printed, unless it exits with this code.
    #[track_caller]
    pub fn code(self, code: i32) -> Ran {
        let ran = self.run();
        assert_eq!(ran.status.code(), Some(code), "wrong exit code:\n{ran}");
        ran
    }

    /// Runs it, whatever comes of it.
    #[track_caller]
    pub fn run(self) -> Ran {
        self.start().wait()
    }

    /// Starts it in its own process group and returns at once.
    #[track_caller]
    pub fn start(self) -> Running {
        let name = self.name();
        let stdin = match self.stdin {
            Some(_) => Stdio::piped(),
            None => Stdio::null(),
        };
        let mut child = by_path(&self.command)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program that ends without reading is free to do so.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        Running {
            process: Process::open(child.id()).expect("an unreaped child exists"),
            output: Output::of(&mut child),
            allowed: self.deadline,
            deadline: Instant::now() + self.deadline,
            child,
            name,
        }
    }

    /// Returns the command as it is now.
    pub(crate) fn command(&self) -> &Command {
        &self.command
    }

    /// Returns the command as one would type it.
    pub(crate) fn name(&self) -> String {
        format!("{:?}", CommandLine(&self.command))
    }
}

/// Returns the command with the path of its program in place of its name: otherwise each of thousands of children would
/// begin as a copy of this process.
fn by_path(command: &Command) -> Command {
    let env = |key: &str| command.get_envs().find(|(name, _)| *name == key)?.1;
    let path = env("PATH").unwrap_or_default();
    let mut same = Command::new(git::found_on(path, command.get_program()));
    let envs = command.get_envs();
    same.args(command.get_args())
        .env_clear()
        .envs(envs.filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        same.current_dir(dir);
    }
    same
}

/// A command as one would type it, without its environment.
struct CommandLine<'a>(&'a Command);

impl fmt::Debug for CommandLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(dir) = self.0.get_current_dir() {
            write!(f, "({}) ", dir.display())?;
        }
        write!(f, "{}", self.0.get_program().to_string_lossy())?;
        for arg in self.0.get_args() {
            write!(f, " {}", arg.to_string_lossy())?;
        }
        Ok(())
    }
}

/// A program that is running. Dropping it kills its process group.
#[must_use = "wait() for it, or it is killed here"]
#[derive(Debug)]
pub struct Running {
    process: Process,
    child: Child,
    output: Output,
    allowed: Duration,
    deadline: Instant,
    name: String,
}

impl Running {
    /// Returns its process id, which is also its process group.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends a signal to the program alone.
    pub fn kill(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends a signal to the whole process group, as a terminal's Ctrl-C does.
    pub fn kill_group(&self, signal: Signal) {
        // The child is not reaped before wait() or drop, so the number is still its own.
        if let Some(group) = Pid::from_raw(self.pid().cast_signed()) {
            let _ = kill_process_group(group, signal);
        }
    }

    /// A file descriptor that becomes readable when the program has ended.
    pub(crate) fn end(&self) -> &OwnedFd {
        self.process.fd()
    }

    /// Tells whether it has ended by now.
    pub fn has_ended(&self) -> bool {
        self.process.ended(Duration::ZERO)
    }

    /// Returns what it has printed until now, stdout and stderr.
    pub fn so_far(&self) -> (String, String) {
        self.output.so_far()
    }

    /// Waits until stdout or stderr contains this text; says whether it did before it ended.
    pub fn prints(&self, text: &str) -> bool {
        self.output.contains(text, self.deadline)
    }

    /// Waits until stdout or stderr contains this text; panics if it ends without.
    #[track_caller]
    pub fn printed(&self, text: &str) {
        let is_printed = self.output.contains(text, self.deadline);
        let (stdout, stderr) = self.output.so_far();
        assert!(
            is_printed,
            "never printed '{text}':\n$ {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
            self.name
        );
    }

    /// Waits until this is so. Looks again each time that it prints something on stdout; panics if it ends without.
    #[track_caller]
    pub fn printed_until(&self, mut is_so: impl FnMut() -> bool) {
        let mut seen = 0;
        while !is_so() {
            let Some(length) = self.output.grown(seen, self.deadline) else {
                let (stdout, stderr) = self.output.so_far();
                panic!(
                    "never came so far:\n$ {}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
                    self.name
                );
            };
            seen = length;
        }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Ran {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let in_time = self.process.ended(left);
        if !in_time {
            self.kill_group(Signal::KILL);
        }
        let status = self.child.wait().expect("a child can be waited for");
        let closed = self.output.closed(Instant::now() + OUTPUT_DEADLINE);
        let (stdout, stderr) = self.output.so_far();
        let ran = Ran {
            stdout,
            stderr,
            status,
            name: self.name.clone(),
        };
        let allowed = self.allowed;
        assert!(in_time, "still running after {allowed:?}:\n{ran}");
        assert!(
            closed,
            "ended, but a process that it started keeps its output open:\n{ran}"
        );
        ran
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After wait() the number may belong to someone else.
        if let Ok(None) = self.child.try_wait() {
            self.kill_group(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// A program that has run.
#[derive(Debug)]
pub struct Ran {
    /// All of stdout, with invalid UTF-8 replaced.
    pub stdout: String,
    /// All of stderr, with invalid UTF-8 replaced.
    pub stderr: String,
    /// The exit status.
    pub status: ExitStatus,
    name: String,
}

impl Ran {
    /// Returns stdout without the white space around it.
    pub fn line(&self) -> &str {
        self.stdout.trim()
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stdout,
            stderr,
            status,
            name,
        } = self;
        write!(
            f,
            "$ {name}\n{status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---"
        )
    }
}

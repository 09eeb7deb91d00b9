//! The world of one test: its home, daemon, sockets and repositories, in a directory of its own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::gitlab::certificate::Certificate;
use crate::process::{Process, all_that_mention};
use crate::{GitLab, Project, Run, programs};

/// A variable that names a file to which each test appends how long it took.
const TIMES_VARIABLE: &str = "MIRROR_TESTS_TIMES";

/// A variable that names the directory in which worlds are made, in place of `/tmp`.
const DIR_VARIABLE: &str = "MIRROR_TESTS_DIR";

/// How long the daemon may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a test waits for an event that must come.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long processes that the daemon or git left running may take to end.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// The user's git configuration. Background maintenance would outlive the git that started it, and
/// the world.
const USER_CONFIG: &str = "\
[init]
	defaultBranch = main
[gc]
	autoDetach = false
[maintenance]
	autoDetach = false
";

/// A temporary home with the built programs on its PATH. Dropping it stops the daemon, and
/// fails the test if any process was left behind.
///
/// The directory is in `/tmp` under a short name, because the path of a socket has about 100 bytes at most.
#[derive(Debug)]
pub struct World {
    root: PathBuf,
    path: OsString,
    began: Instant,
    /// Kept so that the directory is removed last.
    _dir: TempDir,
}

/// A certificate for `localhost` and `127.0.0.1`, in files.
#[derive(Debug)]
pub struct CertificateFiles {
    /// The certificate of the authority that has signed it.
    pub authority: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// The key of the certificate.
    pub key: PathBuf,
}

/// The directory in which worlds are made.
pub(crate) fn dir() -> PathBuf {
    std::env::var_os(DIR_VARIABLE).map_or_else(|| "/tmp".into(), PathBuf::from)
}

impl World {
    /// Creates an empty world; builds the programs if they are not.
    #[expect(clippy::new_without_default, reason = "a world is never a default")]
    #[track_caller]
    pub fn new() -> Self {
        let programs = programs::dir();
        let dir = tempfile::Builder::new()
            .prefix("mw")
            .tempdir_in(crate::world::dir())
            .expect("a directory in /tmp can be made");
        let root = dir.path().canonicalize().expect("it was just made");
        for private in ["home", "run", "tmp"] {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(root.join(private))
                .expect("a directory in our own can be made");
        }
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = [root.join("bin"), programs.to_path_buf()]
            .into_iter()
            .chain(std::env::split_paths(&inherited));
        fs::write(root.join("home/.gitconfig"), USER_CONFIG).expect("the home is ours");
        Self {
            path: std::env::join_paths(path).expect("cargo's target directory has no colon"),
            root,
            began: Instant::now(),
            _dir: dir,
        }
    }

    /// Returns the directory that holds everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a path below the root.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join(below)
    }

    /// Returns `$PATH`: first the world's own `bin`, which need not exist, then the built programs.
    pub fn search_path(&self) -> &OsStr {
        &self.path
    }

    /// Returns `$HOME`.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Returns `$MIRROR_HOME`, which moves everything that the daemon keeps. It is not
    /// created here.
    pub fn mirror_home(&self) -> PathBuf {
        self.path("m")
    }

    /// Prepares real git in this world, in its root.
    pub fn git<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.program("git", args)
    }

    /// Prepares the daemon's program.
    pub fn mirrord<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.program(programs::dir().join("mirrord"), args)
    }

    /// Prepares the helper as git would run it.
    pub fn helper<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.program(programs::dir().join("git-remote-mirror"), args)
    }

    /// Prepares any program in this world, in its root.
    pub fn program<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Run {
        Run::fenced(program, args, &self.home())
            .at(&self.root)
            .env("PATH", &self.path)
            .env("MIRROR_HOME", self.mirror_home())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("XDG_CONFIG_HOME", self.path("home/.config"))
            .env("XDG_DATA_HOME", self.path("home/.local/share"))
            .env("XDG_STATE_HOME", self.path("home/.local/state"))
            .env("XDG_CACHE_HOME", self.path("home/.cache"))
            .env("TMPDIR", self.path("tmp"))
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent")
    }

    /// Sets a key of the user's own git configuration.
    #[track_caller]
    pub fn config(&self, key: &str, value: &str) {
        self.git(["config", "--global", key, value]).ok();
    }

    /// Creates a bare upstream on disk, for `file://` and ssh.
    #[track_caller]
    pub fn project(&self, name: &str) -> Project {
        Project::new(self.path(name))
    }

    /// Starts a GitLab that speaks plain http.
    #[track_caller]
    pub fn gitlab(&self) -> GitLab {
        GitLab::http()
    }

    /// Starts a GitLab that speaks https under a CA of its own.
    #[track_caller]
    pub fn gitlab_tls(&self) -> GitLab {
        GitLab::https()
    }

    /// Starts a GitLab whose certificate expired long ago.
    #[track_caller]
    pub fn gitlab_expired(&self) -> GitLab {
        GitLab::expired()
    }

    /// Makes a certificate for this machine, in files below the root.
    #[track_caller]
    pub fn certificate(&self) -> CertificateFiles {
        let certificate = Certificate::valid();
        let dir = self.path("tls");
        fs::create_dir_all(&dir).expect("the world is ours");
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).expect("the world is ours");
            path
        };
        CertificateFiles {
            authority: file("ca.pem", &certificate.ca_pem),
            certificate: file("cert.pem", &certificate.pem),
            key: file("key.pem", &certificate.key_pem),
        }
    }

    /// Returns the daemon's process id if it runs.
    ///
    /// The lock file outlives its daemon, so its number counts only while that process is
    /// one of this world's.
    pub fn daemon_pid(&self) -> Option<u32> {
        self.daemon().map(|daemon| daemon.pid())
    }

    pub(crate) fn daemon(&self) -> Option<Process> {
        let lock = fs::read_to_string(self.mirror_home().join("daemon.lock")).ok()?;
        let daemon = Process::open(lock.trim().parse().ok()?)?;
        if rustix::process::geteuid().is_root() {
            return daemon.mentions(&self.mirror_home()).then_some(daemon);
        }
        // Only root may look into a daemon.
        let file = fs::File::open(self.mirror_home().join("daemon.lock")).ok()?;
        file.try_lock_shared().is_err().then_some(daemon)
    }

    /// Kills the daemon as a power cut would, and waits until it is gone.
    #[track_caller]
    pub fn kill_daemon(&self) {
        let daemon = self.daemon().expect("there is no daemon to kill");
        daemon.signal(Signal::KILL);
        assert!(daemon.ended(STOP_TIMEOUT), "the daemon survived SIGKILL");
    }

    /// Ends the daemon that runs, if one does: the next one does not know what upstream can do, and asks it before a push.
    #[track_caller]
    pub fn forget_advertisement(&self) {
        if self.daemon().is_some() {
            self.kill_daemon();
        }
    }

    /// Returns the daemon's whole log, for messages and for tests of what must not be in it.
    pub fn log(&self) -> String {
        let Ok(files) = fs::read_dir(self.mirror_home().join("log")) else {
            return String::new();
        };
        let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        paths.sort();
        paths
            .iter()
            .filter_map(|path| fs::read(path).ok())
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
    }

    /// Waits until `status` reports this number of clients that wait for a sync.
    #[track_caller]
    pub fn wait_until_clients(&self, count: usize) {
        let deadline = Instant::now() + EVENT_TIMEOUT;
        let wanted = format!("\"waiting\": {count}");
        // The daemon has no event for this; each try is a call of `status`.
        while !self
            .mirrord(["status", "--json"])
            .run()
            .stdout
            .contains(&wanted)
        {
            assert!(
                Instant::now() < deadline,
                "never had {count} clients waiting"
            );
        }
    }

    /// Waits until `status` reports that no sync runs.
    #[track_caller]
    pub fn wait_until_no_sync(&self) {
        let deadline = Instant::now() + EVENT_TIMEOUT;
        while !self
            .mirrord(["status", "--json"])
            .run()
            .stdout
            .contains("\"syncing\": []")
        {
            assert!(Instant::now() < deadline, "a sync goes on and on");
        }
    }

    /// Prepares a quiet clone through the mirror.
    pub fn clone_mirror(&self, url: &str, dir: &str) -> Run {
        self.git(["clone", "-q", &format!("mirror::{url}"), dir])
    }

    /// Returns the names of all entries in the directory of the mirrors, unfinished ones included.
    pub fn mirrors(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.mirror_home().join("mirrors")) else {
            return Vec::new();
        };
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }

    /// Returns the directory of the only mirror that there is.
    #[track_caller]
    pub fn only_mirror(&self) -> PathBuf {
        let mut found = fs::read_dir(self.mirror_home().join("mirrors"))
            .expect("there are mirrors")
            .map(|entry| entry.expect("readable").path())
            .filter(|path| !path.is_symlink());
        let mirror = found.next().expect("there is a mirror");
        assert_eq!(found.next(), None, "there is one mirror");
        mirror
    }

    /// Appends how long the test took to the file of times, if one is wanted.
    fn note_time(&self) {
        let test = thread::current();
        // Threads of a test have no name.
        let (Some(name), Some(file)) = (test.name(), std::env::var_os(TIMES_VARIABLE)) else {
            return;
        };
        let line = format!("{:6.1} s  {name}\n", self.began.elapsed().as_secs_f64());
        let file = fs::OpenOptions::new().append(true).create(true).open(file);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file of times can be written");
    }

    /// Stops the daemon and every other process; returns what should not have been there.
    fn stop_all(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if let Some(daemon) = self.daemon() {
            daemon.signal(Signal::TERM);
            // A daemon that a test has stopped (SIGSTOP) handles the first signal only now.
            daemon.signal(Signal::CONT);
            if !daemon.ended(STOP_TIMEOUT) {
                wrong.push(format!("does not stop: {}", daemon.command_line()));
                daemon.signal(Signal::KILL);
                daemon.ended(STOP_TIMEOUT);
            }
        }
        // After a failure, processes that still run are no finding.
        let timeout = if thread::panicking() {
            Duration::ZERO
        } else {
            LEFTOVER_TIMEOUT
        };
        let deadline = Instant::now() + timeout;
        for process in all_that_mention(&self.root) {
            if !process.ended(deadline.saturating_duration_since(Instant::now())) {
                wrong.push(format!("left behind: {}", process.command_line()));
            }
        }
        // A process that still runs may be starting others.
        for _ in 0..3 {
            for process in all_that_mention(&self.root) {
                process.signal(Signal::KILL);
                process.ended(STOP_TIMEOUT);
            }
        }
        wrong
    }
}

impl Drop for World {
    #[allow(
        clippy::print_stderr,
        reason = "a failing test shows what the daemon saw"
    )]
    fn drop(&mut self) {
        let wrong = self.stop_all();
        self.note_time();
        if thread::panicking() {
            eprintln!("--- the daemon's log\n{}---", self.log());
            for wrong in wrong {
                eprintln!("{wrong}");
            }
        } else {
            assert!(
                wrong.is_empty(),
                "no process may be left behind:\n{}\n--- the daemon's log\n{}---",
                wrong.join("\n"),
                self.log()
            );
        }
    }
}

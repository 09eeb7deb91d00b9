//! A real systemd user manager with the world's own runtime and configuration directories, in a control group of its
//! own. Its only units are systemd's own targets and those that are installed in this world.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::Process;
use crate::{Run, Running, World, programs, skipped};

/// The path of systemd in the distributions.
const MANAGERS: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

/// systemd's own units that the manager needs to start, to install into, and to stop.
const UNITS: [&str; 10] = [
    "app.slice",
    "basic.target",
    "default.target",
    "exit.target",
    "paths.target",
    "session.slice",
    "shutdown.target",
    "sockets.target",
    "systemd-exit.service",
    "timers.target",
];

/// How long the manager may take to start, to start or stop a unit, and to stop.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A script that joins the control groups before `--`, and executes the command after it.
const ENTER: &str = r#"
until [ "$1" = -- ]; do echo $$ >"$1/cgroup.procs" || exit; shift; done
shift
exec "$@"
"#;

/// A user manager of one world. Dropping it stops everything that it has started.
#[derive(Debug)]
pub struct Systemd<'a> {
    world: &'a World,
    manager: Option<Running>,
    groups: Vec<PathBuf>,
}

impl World {
    /// Starts a user manager, and installs the programs in this world so that they can be replaced. `None` if that is not
    /// possible: the test is skipped, and says so. A panic if no test may be skipped.
    #[track_caller]
    pub fn systemd(&self) -> Option<Systemd<'_>> {
        match self.start_systemd() {
            Ok(systemd) => Some(systemd),
            Err(why) => {
                skipped::note(&format!("no user manager: {why}"));
                None
            }
        }
    }

    fn start_systemd(&self) -> Result<Systemd<'_>, String> {
        let manager = MANAGERS.iter().find(|path| Path::new(path).exists());
        let manager = manager.ok_or("systemd is not installed")?;
        if !Path::new("/run/systemd/system").exists() {
            return Err("it starts only where /run/systemd/system exists".into());
        }
        let groups = self.groups()?;
        let units = self.path("units");
        fs::create_dir(&units).map_err(|err| format!("one is enough: {err}"))?;
        for unit in UNITS {
            let found = Path::new("/usr/lib/systemd/user").join(unit);
            symlink(found, units.join(unit)).expect("the world is ours");
        }
        for program in ["mirrord", "git-remote-mirror"] {
            self.install(program);
        }
        // What a person's manager knows is not what their shell knows.
        let mut entering = self
            .program("sh", ["-c", ENTER, "sh"])
            .args(&groups)
            .args(["--", manager, "--user"])
            .env("PATH", "/usr/bin:/bin")
            .env("SYSTEMD_LOG_TARGET", "console")
            .env(
                "SYSTEMD_UNIT_PATH",
                format!("{}:{}", self.units().display(), units.display()),
            );
        let ours = [
            "MIRROR_HOME",
            "XDG_DATA_HOME",
            "XDG_STATE_HOME",
            "XDG_CACHE_HOME",
        ];
        let gits = ["GIT_CONFIG_NOSYSTEM", "GIT_TERMINAL_PROMPT"];
        for name in ours.into_iter().chain(gits) {
            entering = entering.env_remove(name);
        }
        let systemd = Systemd {
            world: self,
            manager: Some(entering.start()),
            groups,
        };
        systemd.comes_up()?;
        Ok(systemd)
    }

    /// Returns where the units of this world's person are.
    pub fn units(&self) -> PathBuf {
        self.home().join(".config/systemd/user")
    }

    /// Puts one of the built programs into the world's `bin`, in place of one that is there, as `cargo install` does.
    #[track_caller]
    pub fn install(&self, program: &str) {
        let (built, bin) = (programs::dir().join(program), self.path("bin"));
        let (new, place) = (bin.join(".new"), bin.join(program));
        fs::create_dir_all(&bin).expect("the world is ours");
        if !place.exists() && fs::hard_link(&built, &place).is_ok() {
            return;
        }
        // Not by this process: another thread's child would have it open for writing, and nobody could run it.
        self.program("cp", [&built, &new]).ok();
        fs::rename(new, place).expect("the world is ours");
    }

    /// Makes a control group of its own for the manager in each hierarchy that it looks at: in one that others are in,
    /// it would take them for its own.
    fn groups(&self) -> Result<Vec<PathBuf>, String> {
        let ours = fs::read_to_string("/proc/self/cgroup").map_err(|err| err.to_string())?;
        let root = Path::new("/sys/fs/cgroup");
        let unified = root.join("unified");
        let unified = if unified.exists() {
            unified
        } else {
            root.into()
        };
        let name = self.root().file_name().expect("a world has a name");
        let mut groups = Vec::new();
        for line in ours.lines() {
            let (hierarchy, path) = match line.splitn(3, ':').collect::<Vec<_>>()[..] {
                [_, "", path] => (unified.clone(), path),
                [_, "name=systemd", path] => (root.join("systemd"), path),
                _ => continue,
            };
            let group = hierarchy.join(path.trim_start_matches('/')).join(name);
            let made = DirBuilder::new().mode(0o755).create(&group);
            made.map_err(|err| format!("cannot make '{}': {err}", group.display()))?;
            groups.push(group);
        }
        if groups.is_empty() {
            return Err("there are no control groups".into());
        }
        Ok(groups)
    }
}

impl Systemd<'_> {
    /// Prepares the installed `mirrord`.
    pub fn mirrord<const N: usize>(&self, args: [&str; N]) -> Run {
        self.world.program(self.world.path("bin/mirrord"), args)
    }

    /// Prepares `systemctl --user`.
    pub fn ctl<const N: usize>(&self, args: [&str; N]) -> Run {
        self.world.program("systemctl", ["--user"]).args(args)
    }

    /// Returns what systemd says of a unit's property.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        let args = ["show", "--value", "--property", name, unit];
        self.ctl(args).ok().line().to_owned()
    }

    /// Returns the process of the service; `None` when it has none.
    #[track_caller]
    pub fn main_pid(&self) -> Option<u32> {
        let pid = self.property("mirrord.service", "MainPID").parse().ok();
        pid.filter(|pid| *pid != 0)
    }

    /// Waits until the service is active, with another process than this one; returns that.
    #[track_caller]
    pub fn runs_another_than(&self, pid: u32) -> u32 {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let state = self.property("mirrord.service", "ActiveState");
            match self.main_pid() {
                Some(next) if next != pid && state == "active" => return next,
                // Each look is a conversation with the manager, which has no event for this.
                _ => assert!(Instant::now() < deadline, "process {pid} has no successor"),
            }
        }
    }

    /// Waits until a property of a unit has this value.
    #[track_caller]
    pub fn becomes(&self, unit: &str, name: &str, value: &str) {
        let deadline = Instant::now() + TIMEOUT;
        while self.property(unit, name) != value {
            assert!(
                Instant::now() < deadline,
                "{name} of {unit} is '{}' and never '{value}'",
                self.property(unit, name)
            );
        }
    }

    /// Returns how many of the processes that it has started still run, itself aside.
    pub fn started(&self) -> usize {
        let own = self.manager.as_ref().map(Running::pid);
        let all = pids(&self.groups);
        all.into_iter().filter(|pid| Some(*pid) != own).count()
    }

    /// Sends a signal to a process of its.
    #[track_caller]
    pub fn signal(&self, pid: u32, signal: Signal) {
        let process = Process::open(pid).expect("it runs");
        process.signal(signal);
    }

    fn comes_up(&self) -> Result<(), String> {
        let deadline = Instant::now() + TIMEOUT;
        while self.ctl(["is-system-running"]).run().line() != "running" {
            let manager = self.manager.as_ref().expect("it was started");
            if manager.has_ended() || Instant::now() > deadline {
                return Err(format!("it does not come up: {:?}", manager.so_far()));
            }
        }
        Ok(())
    }
}

impl Drop for Systemd<'_> {
    fn drop(&mut self) {
        if let Some(manager) = self.manager.take() {
            // To a user manager that is the wish to end in order; somebody whom a test has stopped does not hear of it.
            for pid in pids(&self.groups) {
                if let Some(process) = Process::open(pid) {
                    process.signal(Signal::CONT);
                }
            }
            manager.kill(Signal::TERM);
            if let Some(process) = Process::open(manager.pid()) {
                process.ended(TIMEOUT);
            }
        }
        for pid in pids(&self.groups) {
            if let Some(process) = Process::open(pid) {
                process.signal(Signal::KILL);
                process.ended(TIMEOUT);
            }
        }
        self.groups.iter().for_each(|group| dissolve(group));
    }
}

/// The processes in these control groups and those below.
fn pids(groups: &[PathBuf]) -> Vec<u32> {
    let mut found = Vec::new();
    let mut groups = groups.to_vec();
    while let Some(group) = groups.pop() {
        let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        found.extend(procs.lines().filter_map(|pid| pid.parse::<u32>().ok()));
        groups.extend(below(&group));
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn below(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else {
        return Vec::new();
    };
    let folders = entries.filter_map(|entry| Some(entry.ok()?.path()));
    folders.filter(|path| path.is_dir()).collect()
}

/// Removes a control group in which nobody is any more, and those below.
fn dissolve(group: &Path) {
    below(group).iter().for_each(|group| dissolve(group));
    let _ = fs::remove_dir(group);
}

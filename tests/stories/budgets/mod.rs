//! Mirrors that clones have made go by themselves when nobody uses them or all take too much room, and nothing goes with
//! them that is nowhere else. Time is a file's in the mirror, and is set back by hand; its rules are tried in mirrord
//! itself.

mod going;
mod saving;
mod staying;

use std::{
    fs,
    path::PathBuf,
    thread::yield_now,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tests::{GitLab, Project, Run, Running, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long something is waited for that must come.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A GitLab with some projects, each cloned through a mirror that was made for it.
struct Shelf {
    world: World,
    gitlab: GitLab,
}

impl Shelf {
    fn new() -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        Self { world, gitlab }
    }

    fn mirrord(&self, args: &[&str]) -> Run {
        self.world.mirrord(args)
    }

    /// Makes a project and clones it into a directory of its name.
    #[track_caller]
    fn add(&self, name: &str) -> Project {
        let project = self.gitlab.project(&format!("group/{name}"));
        project.history(20);
        self.clone(name, name).ok();
        project
    }

    fn url(&self, name: &str) -> String {
        self.gitlab.url(&format!("group/{name}"))
    }

    /// The name of the mirror that a clone makes.
    fn called(&self, name: &str) -> String {
        format!("http+{}/group/{name}", self.gitlab.host().replace(':', "+"))
    }

    /// Prepares a clone of a project.
    fn clone(&self, name: &str, dir: &str) -> Run {
        self.world.clone_mirror(&self.url(name), dir)
    }

    fn git(&self, dir: &str, args: &[&str]) -> Run {
        self.world.git(args).at(dir)
    }

    /// The mirror of a project, if there is one.
    fn found(&self, name: &str) -> Option<PathBuf> {
        let mut mirrors = self.world.mirrors().into_iter();
        let found = mirrors.find(|mirror| mirror.starts_with(&format!("{name}-")));
        found.map(|mirror| self.world.mirror_home().join("mirrors").join(mirror))
    }

    #[track_caller]
    fn mirror(&self, name: &str) -> PathBuf {
        self.found(name)
            .unwrap_or_else(|| panic!("there is no mirror of '{name}'"))
    }

    /// Sets back the time when somebody last used a mirror. No daemon runs then: it could look at any time.
    #[track_caller]
    fn age(&self, name: &str, days: u32) {
        self.mirrord(&["stop"]).ok();
        let mut used = fs::File::options();
        let used = used.write(true).open(self.mirror(name).join("used"));
        let then = SystemTime::now() - days * DAY;
        let set = used.and_then(|file| file.set_modified(then));
        set.expect("the mirror is ours");
    }

    /// Starts the daemon, and follows what happens from then on.
    #[track_caller]
    fn begins_anew(&self) -> Running {
        self.mirrord(&["log", "-f", "-n", "0"]).start()
    }

    /// Has the daemon look at all mirrors that are older than 31 days: it begins with those that were used longest ago,
    /// and removes one that was added for that.
    #[track_caller]
    fn looks_at_all(&self) {
        if self.found("plain").is_none() {
            self.add("plain");
        }
        self.age("plain", 31);
        let follow = self.begins_anew();
        follow.printed("unused for 31 days");
        assert_eq!(self.found("plain"), None);
    }

    /// Waits until the daemon's log says something.
    #[track_caller]
    fn logs(&self, text: &str) {
        let deadline = Instant::now() + EVENT_TIMEOUT;
        // Nobody is told when it does.
        while !self.world.log().contains(text) {
            assert!(
                Instant::now() < deadline,
                "'{text}' in {}",
                self.world.log()
            );
            yield_now();
        }
    }

    /// The object of a mirror in `mirrord status --json`.
    #[track_caller]
    fn state(&self, name: &str) -> Value {
        let status = self.status();
        let mut states = status["states"].as_array().expect("a list").iter();
        let state = states.find(|state| state["url"] == self.url(name));
        state
            .unwrap_or_else(|| panic!("nothing of '{name}' in {status}"))
            .clone()
    }

    #[track_caller]
    fn status(&self) -> Value {
        let status = self.mirrord(&["status", "--json"]).ok();
        serde_json::from_str(&status.stdout).expect("an object")
    }
}

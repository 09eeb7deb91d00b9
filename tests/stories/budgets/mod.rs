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
use tests::{Project, Running};

use crate::stage::Stage;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long something is waited for that must come.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A GitLab; each project is cloned through a mirror that is made for it.
fn shelf() -> Stage {
    Stage::new(|_| ())
}

impl Stage {
    /// Makes a project and clones it into a directory of its name.
    #[track_caller]
    fn shelve(&self, name: &str) -> Project {
        let project = self.gitlab.project(&format!("group/{name}"));
        project.history(20);
        self.clone(&self.url_of(name), name).ok();
        project
    }

    fn url_of(&self, name: &str) -> String {
        self.gitlab.url(&format!("group/{name}"))
    }

    /// The name of the mirror that a clone makes.
    fn mirror_name(&self, name: &str) -> String {
        format!("http+{}/group/{name}", self.gitlab.host().replace(':', "+"))
    }

    /// The mirror of a project, if there is one.
    fn mirror_dir(&self, name: &str) -> Option<PathBuf> {
        let mut mirrors = self.world.mirrors().into_iter();
        let found = mirrors.find(|mirror| mirror.starts_with(&format!("{name}-")));
        found.map(|mirror| self.world.mirror_home().join("mirrors").join(mirror))
    }

    #[track_caller]
    fn mirror_of(&self, name: &str) -> PathBuf {
        self.mirror_dir(name)
            .unwrap_or_else(|| panic!("there is no mirror of '{name}'"))
    }

    /// Sets back the time when somebody last used a mirror. No daemon runs then: it could look at any time.
    #[track_caller]
    fn unused_for(&self, name: &str, days: u32) {
        self.mirrord(&["stop"]).ok();
        let mut used = fs::File::options();
        let used = used.write(true).open(self.mirror_of(name).join("used"));
        let then = SystemTime::now() - days * DAY;
        let set = used.and_then(|file| file.set_modified(then));
        set.expect("the mirror is ours");
    }

    /// Starts the daemon, and follows what happens from then on.
    #[track_caller]
    fn follow_log(&self) -> Running {
        self.mirrord(&["log", "-f", "-n", "0"]).start()
    }

    /// Has the daemon look at all mirrors that are older than 31 days: it begins with those that were used longest ago,
    /// and removes one that was added for that.
    #[track_caller]
    fn looks_at_all(&self) {
        if self.mirror_dir("plain").is_none() {
            self.shelve("plain");
        }
        self.unused_for("plain", 31);
        let follow = self.follow_log();
        follow.printed("unused for 31 days");
        assert_eq!(self.mirror_dir("plain"), None);
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

    /// The line of `mirrord status` that starts with something, without what differs from run to run.
    #[track_caller]
    fn status_line(&self, start: &str) -> String {
        let status = self.mirrord(&["status"]).ok();
        let line = status.stdout.lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no '{start}' in {status}"));
        tests::shown(line)
    }

    /// The object of a mirror in `mirrord status --json`.
    #[track_caller]
    fn state_of(&self, name: &str) -> Value {
        let status = self.status_json();
        let mut states = status["states"].as_array().expect("a list").iter();
        let state = states.find(|state| state["url"] == self.url_of(name));
        state
            .unwrap_or_else(|| panic!("nothing of '{name}' in {status}"))
            .clone()
    }

    #[track_caller]
    fn status_json(&self) -> Value {
        let status = self.mirrord(&["status", "--json"]).ok();
        serde_json::from_str(&status.stdout).expect("an object")
    }
}

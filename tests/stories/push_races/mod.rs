//! Pushes beside syncs, beside each other, and beside people who use GitLab directly: whoever is held at whatever step,
//! nothing is lost, rolled back or left stale.

mod beside_syncs;
mod rivals;

use std::fs;

use tests::{GitLab, Project, Ran, Running, World, same_clone};

/// A world with a project: `main`, `topic` and `side`, and people who have cloned it through the mirror.
struct Race {
    world: World,
    gitlab: GitLab,
    project: Project,
    url: String,
}

impl Race {
    fn of(people: &[&str]) -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        let project = gitlab.project("group/project");
        project.history(5);
        project.commit("topic", "topic", "begun");
        project.branch("side", "main~1");
        let url = gitlab.url("group/project");
        let race = Self {
            world,
            gitlab,
            project,
            url,
        };
        let cloning: Vec<_> = people
            .iter()
            .map(|person| race.world.clone_mirror(&race.url, person).start())
            .collect();
        cloning.into_iter().for_each(|cloning| drop(good(cloning)));
        race
    }

    /// Runs git in somebody's clone, which must work.
    #[track_caller]
    fn git(&self, person: &str, args: &[&str]) -> Ran {
        self.world.git(args).at(person).ok()
    }

    /// Starts git in somebody's clone.
    #[track_caller]
    fn start(&self, person: &str, args: &[&str]) -> Running {
        self.world.git(args).at(person).start()
    }

    /// Commits a file where somebody stands; returns the commit.
    #[track_caller]
    fn commit(&self, person: &str, file: &str) -> String {
        fs::write(self.world.path(person).join(file), person).expect("the clone is ours");
        self.git(person, &["add", file]);
        self.git(person, &["commit", "-q", "--allow-empty", "-m", file]);
        self.tip(person, "HEAD").expect("it was just made")
    }

    fn tip(&self, person: &str, name: &str) -> Option<String> {
        let args = ["rev-parse", "-q", "--verify", name];
        let parsed = self.world.git(args).at(person).run();
        parsed.status.success().then(|| parsed.line().to_owned())
    }

    /// Asserts that somebody's next fetch, which says nothing, shows all that upstream has.
    #[track_caller]
    fn next_fetch_shows_upstream(&self, person: &str) {
        let fetched = self.git(person, &["fetch", "-q", "--prune"]);
        assert_eq!(fetched.stderr, "", "{fetched}");
        for branch in ["main", "topic", "side", "new"] {
            let fetched_tip = self.tip(person, &format!("refs/remotes/origin/{branch}"));
            let rule = format!("a fetch shows what upstream has as '{branch}'");
            assert_eq!(fetched_tip, self.project.tip(branch), "{rule}");
        }
    }

    /// Asserts that a fresh clone through the mirror is a clone of upstream, and that the mirror is sound.
    #[track_caller]
    fn all_is_well(&self) {
        let address = format!("mirror::{}", self.url);
        for (url, dir) in [(address.as_str(), "fresh"), (&self.url, "plain")] {
            let args = ["clone", "-q", "--mirror", url, dir];
            self.world.git(args).ok();
        }
        let path = |dir| self.world.path(dir);
        same_clone(&self.world, &path("fresh"), &path("plain"));
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        let fsck = self.world.git(fsck);
        fsck.env("GIT_DIR", self.world.only_mirror()).ok();
    }
}

/// Waits for what must work.
#[track_caller]
fn good(running: Running) -> Ran {
    let ran = running.wait();
    assert!(ran.status.success(), "should have succeeded:\n{ran}");
    ran
}

/// Waits for a push that must be refused, and for this reason.
#[track_caller]
fn refused(running: Running, reason: &str) -> Ran {
    let ran = running.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    assert!(ran.stderr.contains(reason), "says '{reason}': {ran}");
    ran
}

//! Pushes beside syncs, beside each other, and beside people who use GitLab directly: whoever is held at whatever step,
//! nothing is lost, rolled back or left stale.

mod beside_syncs;
mod rivals;

use tests::{Ran, Running, same_clone};

use crate::stage::Stage;

/// A project with `main`, `topic` and `side`, and people who have cloned it through the mirror.
fn race(people: &[&str]) -> Stage {
    let stage = Stage::new(|project| {
        project.history(5);
        project.commit("topic", "topic", "begun");
        project.branch("side", "main~1");
    });
    let cloning: Vec<_> = people
        .iter()
        .map(|person| stage.clone(&stage.url, person).start())
        .collect();
    cloning.into_iter().for_each(|cloning| drop(good(cloning)));
    stage
}

impl Stage {
    /// Asserts that somebody's next fetch, which says nothing, shows all that upstream has.
    #[track_caller]
    fn next_fetch_shows_upstream(&self, person: &str) {
        let fetched = self.fetch(person).ok();
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
        self.is_sound();
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

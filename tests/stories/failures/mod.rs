//! Failure by kind: what each of the commands does when upstream fails in each of the ways in which one can.

mod hanging;
mod kinds;
mod moving;
mod waiting;

use tests::{GitLab, Project, Ran, Run, World};

use crate::stage::Stage;

/// Asserts that nothing was lost: the first fetch says at most that trouble is over, and the next is silent.
#[track_caller]
pub(crate) fn is_back(fetch: impl Fn() -> Run) {
    let first = fetch().ok();
    let lines: Vec<_> = first.stderr.lines().collect();
    let is_told = matches!(&*lines, [line] if line.starts_with("warning: in step again"));
    assert!(lines.is_empty() || is_told, "{first}");
    assert_eq!(fetch().ok().stderr, "");
}

/// A project on a GitLab, its mirror `work`, which tracks `main` alone, and a clone of that.
fn stage() -> Stage {
    let world = World::new();
    let gitlab = world.gitlab();
    on(world, gitlab)
}

/// With a server of its own kind.
fn on(world: World, gitlab: GitLab) -> Stage {
    // Of this one there is no mirror.
    gitlab.project("group/other").commit("main", "a", "a");
    let fill = |project: &Project| drop(project.commit("main", "a", "a"));
    let stage = Stage::on(world, gitlab, fill);
    stage
        .mirrored("work", &["--track", "+refs/heads/main"])
        .cloned("work", "ours")
}

impl Stage {
    fn commit_empty(&self) {
        self.ours(&["commit", "-q", "--allow-empty", "-m", "mine"])
            .ok();
    }

    /// The next thing that is asked of upstream begins with `info/refs`.
    fn forget_session(&self) {
        self.world.mirrord(["stop"]).ok();
    }

    /// Sets the seconds after which an upstream that hangs is given up.
    fn impatient(&self, seconds: u32) {
        impatient(&self.world, seconds);
    }

    /// Nothing but what a test does ends a wait.
    fn patient(&self) {
        impatient(&self.world, 600);
    }
}

fn impatient(world: &World, seconds: u32) {
    world.config("http.lowSpeedLimit", "1");
    world.config("http.lowSpeedTime", &seconds.to_string());
}

/// Asserts that a fetch was answered from the copy, with the reason and its age.
#[track_caller]
fn served(run: Run, why: &str) -> Ran {
    let ran = run.ok();
    let [warning, hint] = ran.stderr.lines().collect::<Vec<_>>()[..] else {
        panic!("a warning and a hint, nothing else: {ran}");
    };
    assert!(
        warning.starts_with("warning: ") && warning.contains(why),
        "the warning says '{why}': {ran}"
    );
    assert!(
        hint.starts_with("hint: serving the copy synced ") && hint.ends_with(" ago"),
        "the hint says how old the copy is: {ran}"
    );
    ran
}

/// Asserts that something failed with one error, which says why, and served nothing.
#[track_caller]
fn failed(run: Run, why: &str) -> Ran {
    let ran = run.fails();
    let lines = ran.stderr.lines();
    let errors: Vec<_> = lines.filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors[..] else {
        panic!("one error: {ran}");
    };
    assert!(error.contains(why), "it says '{why}': {ran}");
    assert!(!ran.stderr.contains("serving"), "nothing is served: {ran}");
    ran
}

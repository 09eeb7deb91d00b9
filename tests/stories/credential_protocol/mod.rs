//! git's credential protocol as git ≥ 2.46 speaks it: each story is played by plain git and by ours, and the credential helper
//! is told the same by both. They follow t5563 and t5564 of git's own tests.

mod messages;
mod proxies;
mod redirects;
mod schemes;

use std::{fs, path::PathBuf};

use tests::{Front, GitLab, Passage, Project, Run, World};

/// A project behind a front, and a credential helper that records what it is told.
struct Stage {
    world: World,
    gitlab: GitLab,
    project: Project,
}

/// Records each query behind its action, and answers `get` with the file `reply`, or that of the state in the query.
const HELPER: &str = r#"#!/bin/sh
dir=$(dirname "$0")
cat >"$dir/query"
{ echo "[$1]"; cat "$dir/query"; } >>"$dir/told"
state=$(sed -n 's/^state\[\]=helper://p' "$dir/query")
test "$1" != get || cat "$dir/reply$state" 2>/dev/null || :
"#;

impl Stage {
    fn new() -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        Self::on(world, gitlab)
    }

    fn on(world: World, gitlab: GitLab) -> Self {
        let project = gitlab.project("group/project");
        project.commit("main", "a", "a");
        world.script("helper", HELPER);
        let helper = world.path("helper").display().to_string();
        world.config("credential.helper", &helper);
        Self {
            world,
            gitlab,
            project,
        }
    }

    /// Makes the helper give this, in the state.
    fn replies(&self, state: &str, reply: &str) {
        let file = self.world.path(format!("reply{state}"));
        fs::write(file, reply).expect("the world is ours");
    }

    /// Returns what the helper was told since the last look.
    fn told(&self) -> String {
        let file: PathBuf = self.world.path("told");
        let told = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        told
    }

    /// Starts a gate before the GitLab: requests pass whose `Authorization` is this, others get these lines as their head.
    fn gate(&self, accepted: &'static str, lines: &'static [&'static str]) -> Front {
        let gitlab = self.gitlab.host();
        Front::new(move |head| match head.header("authorization") {
            Some(authorization) if authorization == accepted => Passage::Admitted(gitlab.clone()),
            _ => Passage::head(lines),
        })
    }

    fn ls_remote(&self, url: &str) -> Run {
        self.world.git(["ls-remote", url])
    }

    /// Plays `ls-remote` by plain git and by ours. Both end alike, and tell the helper the same, which is returned.
    #[track_caller]
    fn alike(&self, url: &str, prepare: impl Fn(Run) -> Run) -> (bool, String) {
        let plain = prepare(self.ls_remote(url)).run();
        let told = self.told();
        let ours = prepare(self.ls_remote(&format!("mirror::{url}"))).run();
        assert_eq!(
            plain.status.success(),
            ours.status.success(),
            "{plain}{ours}"
        );
        assert_eq!(plain.stdout, ours.stdout, "{plain}{ours}");
        similar_asserts(&told, &self.told());
        (plain.status.success(), told)
    }
}

#[track_caller]
fn similar_asserts(plain: &str, ours: &str) {
    assert!(
        plain == ours,
        "plain git told:\n{plain}\nours told:\n{ours}"
    );
}

/// The URL of the project at a front.
fn project_at(front: &Front) -> String {
    format!("http://{}/group/project.git", front.host())
}

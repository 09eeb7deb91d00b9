//! What mirrors save.

mod saving;

use serde_json::Value;
use tests::{GitLab, Project, Run, World};

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

    fn mirrord(&self, words: &[&str]) -> Run {
        self.world.mirrord(words)
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

    /// What the mirror that a clone makes is called.
    fn called(&self, name: &str) -> String {
        format!("http+{}/group/{name}", self.gitlab.host().replace(':', "+"))
    }

    /// Prepares a clone of a project.
    fn clone(&self, name: &str, dir: &str) -> Run {
        self.world.clone_mirror(&self.url(name), dir)
    }

    fn git(&self, dir: &str, words: &[&str]) -> Run {
        self.world.git(words).at(dir)
    }

    /// What `mirrord status --json` says of a mirror.
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

//! The stage itself, tried with plain git: what the other stories stand on.

mod answers;
mod faults;
mod keyring;
mod projects;
mod stage;
mod terminal;

use tests::{Project, Run};

use crate::stage::Stage;

/// A stage whose project has a hundred commits.
fn with_history() -> Stage {
    Stage::new(|project| drop(project.history(100)))
}

/// Prepares plain git with the project's URL as its last argument.
fn plain(stage: &Stage, args: &[&str]) -> Run {
    stage.world.git(args).arg(&stage.url)
}

/// Makes another project; returns it, and its URL.
fn another(stage: &Stage, path: &str) -> (Project, String) {
    (stage.gitlab.project(path), stage.gitlab.url(path))
}

/// Returns a URL with a login in it.
fn with_login(url: &str, login: &str) -> String {
    url.replace("://", &format!("://{login}@"))
}

//! Mirrors with a credential of their own: a password or token, an ssh key, or nothing at all; where secrets lie, what
//! becomes of one that is refused, and who is asked.

mod anonymous;
mod elsewhere;
mod expiry;
mod jobs;
mod keyrings;
mod own_key;
mod prompts;
mod pushing;
mod refused;
mod stored;

use std::{fs, path::PathBuf};

use tests::{Run, World};

use crate::stage::Stage;

/// What `mirrord show` says of how the mirror `project` signs in.
#[track_caller]
fn credential(world: &World) -> String {
    let shown = world.mirrord(["show", "project"]).ok().stdout;
    let mut lines: Vec<_> = shown.lines().collect();
    let about_it = ["auth: ", "username: ", "ssh-key: ", "secret: "];
    lines.retain(|line| about_it.iter().any(|start| line.starts_with(start)));
    tests::shown(&lines.join("\n"))
}

impl Stage {
    /// Prepares `mirrord add` of the project, with a password on stdin.
    pub(crate) fn add_with_password(&self, name: &str, password: &str) -> Run {
        let args = [
            "add",
            name,
            &self.url,
            "--username",
            "me",
            "--password-stdin",
        ];
        self.world.mirrord(args).stdin(format!("{password}\n"))
    }

    /// Prepares `mirrord set` of a password on stdin.
    pub(crate) fn set_password(&self, name: &str, password: &str) -> Run {
        let args = ["set", name, "--username", "me", "--password-stdin"];
        self.world.mirrord(args).stdin(format!("{password}\n"))
    }

    /// Prepares a look at what a mirror shows.
    pub(crate) fn look_at(&self, name: &str) -> Run {
        self.world.git(["ls-remote", &format!("mirror::{name}")])
    }

    /// The files of the secrets that are stored.
    pub(crate) fn secrets(&self) -> Vec<PathBuf> {
        let Ok(files) = fs::read_dir(self.world.mirror_home().join("secrets")) else {
            return Vec::new();
        };
        files.map(|file| file.expect("readable").path()).collect()
    }

    /// The lines of `mirrord status` about mirrors that only a person can help.
    pub(crate) fn needs_you(&self) -> Vec<String> {
        let status = self.mirrord(&["status"]).ok().stdout;
        let lines = status.lines().map(str::trim);
        let needing = lines.filter(|line| line.contains("needs you"));
        // What is behind the trouble is about its sizes and times.
        let troubles = needing.filter_map(|line| line.split("; ").next());
        troubles.map(tests::shown).collect()
    }

    /// How often a password has come to GitLab since the last look.
    pub(crate) fn tries(&self, password: &str) -> usize {
        let wanted = format!("me:{password}");
        let logins = self.logins();
        logins.iter().filter(|login| **login == wanted).count()
    }
}

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

use tests::Run;

use crate::stage::Stage;

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

    /// How often a password has come to GitLab since the last look.
    pub(crate) fn tries(&self, password: &str) -> usize {
        let wanted = format!("me:{password}");
        let logins = self.logins();
        logins.iter().filter(|login| **login == wanted).count()
    }
}

//! The secrets that mirrors sign in with: passwords, tokens, passphrases.
//!
//! Each secret is in one of two stores: the keyring of the desktop where there is one, else a file that only its owner can
//! read. The id of a secret names the store, and a secret is never looked for in the other: while the keyring is locked, a
//! file that somebody has put there must not be believed.

mod file;
mod keyring;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use common::protocol::{Failure, FailureKind, OrFailure};

use crate::{
    mirrors::settings::{SecretId, Store},
    process::{blocking::blocking, id},
};

pub(crate) use self::keyring::serve;

/// The secrets on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    dir: PathBuf,
}

impl Secrets {
    /// The secrets whose files lie in this directory, which need not exist yet.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Stores a secret under a new name: in the keyring when there is one, else in a file. The label is what a person
    /// sees in their keyring.
    pub(crate) async fn put(&self, label: &str, secret: &str) -> Result<SecretId, Failure> {
        let id = new_id()?;
        if keyring::put(&id, label, secret).await? {
            let store = Store::Keyring;
            return Ok(SecretId { store, id });
        }
        self.put_file(id, secret).await
    }

    async fn put_file(&self, id: String, secret: &str) -> Result<SecretId, Failure> {
        let (dir, named, secret) = (self.dir.clone(), id.clone(), secret.to_owned());
        blocking(move || file::put(&dir, &named, &secret)).await?;
        let store = Store::File;
        Ok(SecretId { store, id })
    }

    /// Looks a secret up in the store that has it, and in no other.
    pub(crate) async fn get(&self, id: &SecretId) -> Result<String, Failure> {
        match id.store {
            Store::Keyring => keyring::get(&id.id).await,
            Store::File => {
                let (dir, id) = (self.dir.clone(), id.id.clone());
                blocking(move || file::get(&dir, &id)).await
            }
        }
    }

    /// Removes a secret from the store that has it; one that is not there is removed already.
    pub(crate) async fn remove(&self, id: &SecretId) -> Result<(), Failure> {
        match id.store {
            Store::Keyring => keyring::remove(&id.id).await,
            Store::File => {
                let (dir, id) = (self.dir.clone(), id.id.clone());
                blocking(move || file::remove(&dir, &id)).await
            }
        }
    }

    /// Removes the files of secrets that no mirror names, and those that were never finished: a daemon that was killed
    /// has left them. Blocks; only for the daemon's start, when nobody stores anything.
    pub(crate) fn sweep(&self, named: &[SecretId]) -> io::Result<()> {
        let named = named.iter().filter(|id| id.store == Store::File);
        let named: Vec<_> = named.map(|id| id.id.as_str()).collect();
        file::sweep(&self.dir, &named)
    }
}

/// Writes a secret into a file of this name in a mirror. Blocks.
pub(crate) fn write_to_mirror(git_dir: &Path, name: &str, secret: &str) -> Result<(), Failure> {
    file::write(git_dir, name, secret)
}

/// Reads the secret in a file of this name in a mirror; `None` without that file. Blocks.
pub(crate) fn read_from_mirror(git_dir: &Path, name: &str) -> Result<Option<String>, Failure> {
    file::find(git_dir, name)
}

fn new_id() -> Result<String, Failure> {
    id::random().or_failure("cannot make a name for a secret")
}

fn locked() -> Failure {
    Failure::new(FailureKind::LoginNeeded, "the keyring is locked")
        .hinted("unlock it, for example by signing in to your desktop, and try again")
}

fn out_of_reach() -> Failure {
    let message = "cannot reach the keyring that has this mirror's secret";
    Failure::new(FailureKind::LoginNeeded, message)
        .hinted("sign in to the desktop that the keyring belongs to, or store the secret anew")
}

fn no_longer_there(store: &str) -> Failure {
    let message = format!("the {store} no longer has this mirror's secret");
    Failure::new(FailureKind::LoginNeeded, message)
}

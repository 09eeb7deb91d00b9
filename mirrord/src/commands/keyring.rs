//! `mirrord keyring`, hidden: the daemon runs it for each use of the keyring, because a call
//! to a locked keyring waits for the user, and only a process can be ended then.

use std::process::ExitCode;

use clap::Args;

use crate::credentials::secrets;

/// One use of the keyring, for the daemon
#[derive(Args)]
pub(crate) struct Keyring {
    /// What to do: put, get or remove
    action: String,
    /// The id of the secret
    id: String,
}

impl Keyring {
    /// Stores, prints or removes a secret. It is read from stdin, or written to stdout.
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        Ok(secrets::serve(&self.action, &self.id)?)
    }
}

//! `mirrord keyring`: what the daemon runs for each use of the keyring. Nobody types it.

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
    /// Does it; a secret comes on stdin, or goes to stdout.
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        Ok(secrets::serve(&self.action, &self.id)?)
    }
}

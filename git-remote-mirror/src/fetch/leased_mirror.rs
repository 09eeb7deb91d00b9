//! A mirror that the daemon has synced, and that stays where it is while it is read.

use std::fs::File;

use common::{
    client::Client,
    git,
    packs::lease,
    progress::tell,
    protocol::{Failure, Lack, OrFailure, Ready, Request},
};
use tokio::runtime::Runtime;

use crate::{
    daemon::{self, runtime},
    fetch::new_remote::NewRemote,
    invocation::Invocation,
};

/// A mirror that is read. Neither the daemon nor upkeep moves or removes its files until this is dropped, or the process
/// has ended in whatever way.
pub(crate) struct LeasedMirror {
    /// Where the mirror is, and how fresh.
    pub ready: Ready,
    lease: Option<File>,
    /// The daemon keeps the mirror while this is connected.
    client: Option<Client>,
    /// What the connection of `client` lives in.
    _runtime: Runtime,
}

impl LeasedMirror {
    /// Has the daemon sync the mirror. `lacks` says what the client lacks, and so whether an older copy will do. A remote
    /// that is new gets its settings.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) fn sync(invocation: &Invocation, lacks: Lack) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let (client, ready) = runtime.block_on(daemon::open_fetch(invocation, lacks))?;
        let lease =
            lease::share(&ready.git_dir).or_failure("cannot share the lease of the mirror")?;
        if let Some(remote) = NewRemote::find(invocation, &ready.url) {
            remote.configure(|| git::at(&ready.git_dir), &["HEAD".to_owned()]);
        }
        Ok(Self {
            ready,
            lease: Some(lease),
            client: Some(client),
            _runtime: runtime,
        })
    }

    /// Ends the lease, so that the daemon can mend the mirror.
    pub(crate) fn release(&mut self) {
        (self.lease, self.client) = (None, None);
    }

    /// Tells the daemon that git has complained of the mirror's own objects: it looks for damage, and the next command
    /// waits until that is mended. The person is told to run the command again.
    pub(crate) fn report_damage(&self) {
        let request = Request::CheckObjects(self.ready.git_dir.clone());
        tell(&match daemon::ask(&request) {
            Ok(_) => "hint: this mirror is damaged and is mended now; if this command fails, run it again".into(),
            Err(failure) => format!("warning: the mirror is not looked through: {failure}"),
        });
    }
}

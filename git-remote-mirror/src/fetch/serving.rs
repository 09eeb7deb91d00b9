//! A mirror that is in step and stays where it is, for as long as somebody reads it.

use std::fs::File;

use common::{
    client::Client,
    git,
    packs::lease,
    paths::Paths,
    progress::tell,
    protocol::{Failure, Lack, OrFailure, Ready, Request},
};

use tokio::runtime::Runtime;

use crate::{
    daemon,
    fetch::{new_remote::NewRemote, stream::runtime},
    helper::Invocation,
};

/// Holds a mirror until it is dropped, or this process ends, however it ends.
pub(crate) struct Serving {
    /// Where it is, and what can be said of it.
    pub ready: Ready,
    lease: Option<File>,
    /// The daemon keeps the mirror for as long as it hears us.
    client: Option<Client>,
    runtime: Runtime,
}

impl Serving {
    /// Brings the mirror as far in step as whoever `lacks` that needs it.
    pub(crate) fn begin(invocation: &Invocation, lacks: Lack) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let (client, ready) = runtime.block_on(daemon::fetch(invocation, lacks))?;
        let lease =
            lease::share(&ready.git_dir).or_failure("cannot share the lease of the mirror")?;
        if let Some(remote) = NewRemote::look(invocation, &ready.url) {
            remote.set_up(|| git::at(&ready.git_dir), &["HEAD".to_owned()]);
        }
        Ok(Self {
            ready,
            lease: Some(lease),
            client: Some(client),
            runtime,
        })
    }

    /// Lets the mirror go: who is to mend it need not wait for us.
    pub(crate) fn leave(&mut self) {
        (self.lease, self.client) = (None, None);
    }

    /// Tells the daemon that git has complained of the mirror's own objects, so that the next one who reads it does not
    /// come upon the same, and the person that the next command waits for the mirror to be mended.
    pub(crate) fn report_damage(&self) {
        let request = Request::Look(self.ready.git_dir.clone());
        let asked = self.runtime.block_on(async {
            let mut client = Client::connect(&Paths::from_env()?).await?;
            client.say(&request).await?;
            client.hear().await
        });
        tell(&match asked {
            Ok(_) => "hint: this mirror is damaged and is mended now; if this command fails, run it again".into(),
            Err(failure) => format!("warning: the mirror is not looked through: {failure}"),
        });
    }
}

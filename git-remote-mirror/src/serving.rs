//! A mirror that is in step and stays where it is, for as long as somebody reads it.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use common::{
    client::Client,
    git,
    protocol::{Failure, Lack, Ready},
};

use tokio::runtime::Runtime;

use crate::{fetch, helper::Errand, new_remote::NewRemote, stream::runtime};

/// Holds a mirror until it is dropped, or this process ends, however it ends.
pub(crate) struct Serving {
    /// Where it is, and what can be said of it.
    pub ready: Ready,
    _lease: File,
    /// The daemon keeps the mirror for as long as it hears us.
    _client: Client,
    _runtime: Runtime,
}

impl Serving {
    /// Brings the mirror as far in step as whoever `lacks` that needs it.
    ///
    /// # Errors
    /// Fails when there is nothing to serve.
    pub(crate) fn begin(errand: &Errand, lacks: Lack) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let (client, ready) = runtime.block_on(fetch::fetch(errand, lacks))?;
        let lease = lease(&ready.git_dir)?;
        if let Some(remote) = NewRemote::look(errand, &ready.url) {
            remote.set_up(|| git::at(&ready.git_dir), &["HEAD".to_owned()]);
        }
        Ok(Self {
            ready,
            _lease: lease,
            _client: client,
            _runtime: runtime,
        })
    }
}

/// Keeps everything in the mirror that somebody reads: held until this process ends, however it ends.
///
/// # Errors
/// Fails when the lock's file cannot be used.
pub(crate) fn lease(git_dir: &Path) -> Result<File, Failure> {
    let path = git_dir.join("lease");
    let cannot = |err: io::Error| Failure::io(&format!("cannot hold '{}'", path.display()), &err);
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(cannot)?;
    file.lock_shared().map_err(cannot)?;
    Ok(file)
}

//! `mirrord stop`: ask the daemon to end, and wait until it has.

use std::process::ExitCode;

use common::{paths::Paths, protocol::Request};

use super::{ask, converse, print};

/// Stops the daemon; it is no error that none runs.
pub(crate) fn execute(paths: &Paths) -> anyhow::Result<ExitCode> {
    converse(async {
        match ask(paths, &Request::Stop).await? {
            None => print("mirrord does not run\n")?,
            Some((client, _)) => {
                client.wait_for_end().await;
                wait_for_lock(paths).await?;
                print("mirrord has stopped\n")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The daemon has ended when its lock is free, or somebody else has taken it.
async fn wait_for_lock(paths: &Paths) -> anyhow::Result<()> {
    let file = std::fs::File::open(paths.lock())?;
    tokio::task::spawn_blocking(move || file.lock_shared()).await??;
    Ok(())
}

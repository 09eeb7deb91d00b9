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
                print("mirrord has stopped\n")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

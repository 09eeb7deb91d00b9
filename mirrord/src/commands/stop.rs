//! `mirrord stop`: ask the daemon to end, and wait until it has.

use std::process::ExitCode;

use clap::Args;
use common::{paths::Paths, protocol::Request};

use super::{
    ask, converse,
    print::{advise, print},
};
use crate::service;

/// Stop the daemon, after what it is serving
///
/// The next command that needs it starts it again, also where it is a service. It is no error
/// that it does not run.
///
///     mirrord stop
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Stop {}

impl Stop {
    /// Asks for the end, and waits for it.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        converse(async {
            match ask(paths, &Request::Stop).await? {
                None => print("mirrord does not run\n")?,
                Some((client, _)) => {
                    client.wait_for_end().await;
                    print("mirrord has stopped\n")?;
                    if service::is_installed(paths) {
                        let how = service::HOW_TO_STOP;
                        advise(&format!("its next use starts it again; {how}"));
                    }
                }
            }
            anyhow::Ok(ExitCode::SUCCESS)
        })
    }
}

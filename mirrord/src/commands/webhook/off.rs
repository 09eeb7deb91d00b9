//! `mirrord webhook off`: stops to listen for deliveries.

use std::process::ExitCode;

use clap::Args;
use common::{
    client::something_else,
    paths::Paths,
    protocol::{self, WebhookReply},
};

use super::{super::print::print, call_webhook};

/// Do not listen any more
///
/// The mirrors' addresses and secrets are kept, for when it is switched on again.
///
///     mirrord webhook off
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Off {}

impl Off {
    #[expect(clippy::unused_self, reason = "as the others are display_name")]
    /// Has the daemon stop listening.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        match call_webhook(paths, protocol::Webhook::Off)? {
            WebhookReply::Off => print("the webhook is off\n")?,
            _ => return Err(something_else().into()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

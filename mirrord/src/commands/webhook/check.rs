//! `mirrord webhook check`: reports how the hook of a mirror is at its GitLab.

use std::process::ExitCode;

use clap::Args;
use common::{
    client::something_else,
    paths::Paths,
    protocol::{self, WebhookReply},
};

use super::{
    super::print::{print, print_json},
    at_gitlab::{GitlabArguments, exit_code, found_json, found_text},
    call_webhook,
};

/// Report how the mirror's hook is at its GitLab
///
/// Whether it is there and on, what it tells of, and how its last deliveries went. The exit
/// code is 1 when something is wrong with it; 'mirrord webhook register' corrects that.
///
///     mirrord webhook check project --token-stdin <token-file
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Check {
    #[command(flatten)]
    gitlab: GitlabArguments,
}

impl Check {
    /// Has the daemon inspect the hook, and prints what it found.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let at = self.gitlab.at_gitlab(paths)?;
        let request = protocol::Webhook::Check(Box::new(at));
        let WebhookReply::Found(found) = call_webhook(paths, request)? else {
            return Err(something_else().into());
        };
        match self.gitlab.json {
            true => print_json(&found_json(&found))?,
            false => print(&found_text(&found))?,
        }
        Ok(exit_code(&found))
    }
}

//! `mirrord webhook`: switches the webhook on and off, and sets up the hook of each mirror. One file for each subcommand.

mod at_gitlab;
mod check;
mod hook;
mod off;
mod on;
mod register;
mod secret;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use common::{
    client::something_else,
    paths::Paths,
    protocol::{self, Reply, Request, WebhookReply},
};

use super::{block_on, call_daemon, terminal_renderer};

/// Have GitLab tell of every push at once, instead of waiting for the next sync
///
/// It is off until you switch it on. Then each mirror has a URL of its own, to which GitLab
/// sends a delivery after each push, and the mirror syncs at once. The content of a
/// delivery is never used, and a delivery without the mirror's secret is refused.
///
///     mirrord webhook on
///     mirrord webhook show project
///
/// GitLab must be able to reach this machine: directly, through a reverse proxy, or through
/// a tunnel. The page docs/webhook.md has all three. GitLab does not tell of a push of more
/// than three branches, so scheduled syncs go on as well.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Webhook {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    On(on::On),
    Off(off::Off),
    Show(show::Show),
    Secret(secret::Secret),
    Register(register::Register),
    Check(check::Check),
}

impl Webhook {
    /// Carries out the subcommand.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        match &self.command {
            Command::On(on) => on.execute(paths),
            Command::Off(off) => off.execute(paths),
            Command::Show(show) => show.execute(paths),
            Command::Secret(secret) => secret.execute(paths),
            Command::Register(register) => register.execute(paths),
            Command::Check(check) => check.execute(paths),
        }
    }
}

/// Has the daemon carry out a command of the webhook.
fn call_webhook(paths: &Paths, request: protocol::Webhook) -> anyhow::Result<WebhookReply> {
    let request = Request::Webhook(request);
    match block_on(call_daemon(paths, &request, terminal_renderer()))? {
        Reply::Webhook(reply) => Ok(reply),
        _ => Err(something_else().into()),
    }
}

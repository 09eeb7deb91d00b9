//! `mirrord webhook show`: prints what to paste into the form of the host.

use std::process::ExitCode;

use clap::Args;
use common::{paths::Paths, protocol};

use super::{
    super::{
        print::{print, print_json, print_warnings},
        resolve_mirror,
    },
    hook::{call_for_hook, hook_json, hook_text},
};

/// Print what to paste into GitLab's form: Settings, Webhooks, Add new webhook
///
/// The secret token is printed too: whoever has it can start a sync of this mirror, and
/// nothing else. The URL of a mirror never changes.
///
///     mirrord webhook show project
///     mirrord webhook show project --json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Show {
    /// The mirror's name, or its URL
    name: String,
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    /// Asks the daemon for the hook, which is made if there is none, and prints it.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let hook = call_for_hook(paths, protocol::Webhook::Show(resolve_mirror(&self.name)?))?;
        if self.json {
            print_json(&hook_json(&hook))?;
        } else {
            print(&hook_text(&hook))?;
        }
        print_warnings(None, &hook.warnings);
        Ok(ExitCode::SUCCESS)
    }
}

//! `mirrord webhook secret`: changes the secrets that authenticate the deliveries of a mirror.

use std::process::ExitCode;

use clap::Args;
use common::{paths::Paths, protocol, text::masked};

use super::{
    super::{
        credential::secret_from_stdin,
        print::{print, print_json, print_warnings},
        resolve_mirror,
    },
    hook::{call_for_hook, hook_json, hook_text},
};

/// Change the secrets that authenticate a mirror's deliveries
///
/// GitLab signs what it sends when its form is given a signing token, which it shows once;
/// from then on only signed deliveries are accepted. --rotate makes a new secret token,
/// which must be pasted into GitLab's form.
///
///     mirrord webhook secret project --rotate
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Secret {
    /// The mirror's name, or its URL
    name: String,
    /// Read the signing token that GitLab has shown from stdin
    #[arg(long, required_unless_present = "rotate", conflicts_with = "rotate")]
    signing_token_stdin: bool,
    /// Make a new secret token
    #[arg(long)]
    rotate: bool,
    /// Print what to tell GitLab as one JSON object
    #[arg(long)]
    json: bool,
}

impl Secret {
    /// Has the daemon change the secret, and prints what GitLab needs.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let mirror = resolve_mirror(&self.name)?;
        let request = match self.rotate {
            true => protocol::Webhook::Rotate(mirror),
            false => protocol::Webhook::Sign(mirror, secret_from_stdin("signing token")?),
        };
        let hook = call_for_hook(paths, request)?;
        let name = masked(hook.name.as_bytes());
        if self.json {
            print_json(&hook_json(&hook))?;
        } else if self.rotate {
            print(&hook_text(&hook))?;
        } else {
            print(&format!(
                "{name}: only signed deliveries are taken from now on\n"
            ))?;
        }
        print_warnings(None, &hook.warnings);
        Ok(ExitCode::SUCCESS)
    }
}

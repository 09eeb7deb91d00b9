//! What the host of a mirror must be told, and the secrets that this goes by.

use std::process::ExitCode;

use clap::Args;
use common::{
    paths::Paths,
    progress::masked,
    protocol::{self, Hook, Secret as Text, WebhookSaid, client::something_else},
};
use serde_json::{Value, json};

use super::{
    super::{
        credential::of_stdin,
        mirror,
        print::{print, print_json, warn},
    },
    said,
};

/// Print what to paste into GitLab's form: Settings, Webhooks, Add new webhook
///
/// The secret token is printed too: whoever has it can make this mirror look whether there
/// is something new, and nothing else. The address of a mirror never changes.
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

/// Change what a mirror's deliveries prove themselves with
///
/// GitLab signs what it sends when its form is given a signing token, which it shows once;
/// from then on nothing but signed deliveries is taken. With --rotate the secret token is
/// another one, and GitLab must be told.
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

impl Show {
    /// Asks and prints.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let hook = hook(paths, protocol::Webhook::Show(mirror(&self.name)?))?;
        if self.json {
            print_json(&described(&hook))?;
        } else {
            print(&text(&hook))?;
        }
        warn(None, &hook.warnings);
        Ok(ExitCode::SUCCESS)
    }
}

impl Secret {
    /// Has the daemon change it, and says what to tell GitLab.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let mirror = mirror(&self.name)?;
        let request = match self.rotate {
            true => protocol::Webhook::Rotate(mirror),
            false => protocol::Webhook::Sign(mirror, of_stdin("signing token")?),
        };
        let hook = hook(paths, request)?;
        let name = masked(hook.name.as_bytes());
        if self.json {
            print_json(&described(&hook))?;
        } else if self.rotate {
            print(&text(&hook))?;
        } else {
            print(&format!(
                "{name}: only signed deliveries are taken from now on\n"
            ))?;
        }
        warn(None, &hook.warnings);
        Ok(ExitCode::SUCCESS)
    }
}

fn hook(paths: &Paths, request: protocol::Webhook) -> anyhow::Result<Hook> {
    match said(paths, request)? {
        WebhookSaid::Hook(hook) => Ok(hook),
        _ => Err(something_else().into()),
    }
}

/// What to paste where, in the words of GitLab's form.
fn text(hook: &Hook) -> String {
    let Text(token) = &hook.secret_token;
    let signing = match hook.is_signed {
        true => "known; only signed deliveries are taken",
        false => "none",
    };
    format!(
        "URL: {}\nSecret token: {}\nTrigger: Push events, and Tag push events\nSigning token: {signing}\n",
        masked(hook.url.as_bytes()),
        masked(token.as_bytes()),
    )
}

/// The same for scripts.
pub(super) fn described(hook: &Hook) -> Value {
    let Text(token) = &hook.secret_token;
    json!({
        "name": hook.name,
        "url": hook.url,
        "secret_token": token,
        "triggers": ["push_events", "tag_push_events"],
        "signed": hook.is_signed,
    })
}

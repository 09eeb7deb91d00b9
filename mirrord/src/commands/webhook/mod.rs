//! `mirrord webhook`: has hosts tell of pushes at once.

mod at_gitlab;
mod hook;

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};
use common::{
    paths::Paths,
    progress::masked,
    protocol::{
        self, Failure, FailureKind, Listen, Reply, Request, WebhookSaid, client::something_else,
    },
};
use serde_json::json;

use super::{
    carry_out, converse, on_terminal,
    print::{advise, print, print_json, warn},
};

/// Have GitLab tell of every push at once, instead of waiting for the next sync
///
/// It is off until you switch it on. Then each mirror has an address of its own, to which
/// GitLab sends a word after each push; the mirror looks at once what is new. The word
/// itself is never believed, and whoever does not know the mirror's secret is not heard.
///
///     mirrord webhook on
///     mirrord webhook show project
///
/// GitLab must be able to reach this machine: directly, through a reverse proxy, or through
/// a tunnel. README has a page on each. GitLab says nothing of a push of more than three
/// branches, so mirrors go on syncing by themselves as well.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Webhook {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    On(On),
    Off(Off),
    Show(hook::Show),
    Secret(hook::Secret),
    Register(at_gitlab::Register),
    Check(at_gitlab::Check),
}

/// Listen from now on, and whenever the daemon runs
///
/// What is not given stays as it was the last time. The port 0 is any that is free: it is
/// chosen once and kept.
///
///     mirrord webhook on --listen 127.0.0.1:0 --public-url https://hooks.example
#[derive(Args)]
#[command(verbatim_doc_comment)]
struct On {
    /// Where to listen (at first 127.0.0.1:0, which only this machine reaches)
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The URL under which GitLab reaches it, when that is another; '' for none
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Speak https with the certificate in this PEM file; '' for plain http
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<OsString>,
    /// The file of the certificate's key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<OsString>,
    /// Print where it listens as JSON
    #[arg(long)]
    json: bool,
}

/// Do not listen any more
///
/// The mirrors' addresses and secrets are kept, for when it is switched on again.
///
///     mirrord webhook off
#[derive(Args)]
#[command(verbatim_doc_comment)]
struct Off {}

impl Webhook {
    /// Asks and prints.
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

impl On {
    fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((absolute(certificate)?, absolute(key)?)),
            _ => None,
        };
        let listen = Listen {
            at: self.listen.clone(),
            public_url: self.public_url.clone(),
            tls,
        };
        let WebhookSaid::Listens {
            address,
            base,
            warnings,
        } = said(paths, protocol::Webhook::On(listen))?
        else {
            return Err(something_else().into());
        };
        if self.json {
            print_json(&json!({ "address": address, "base": base }))?;
        } else {
            let (address, base) = (masked(address.as_bytes()), masked(base.as_bytes()));
            let public = match base.starts_with(&address) {
                true => String::new(),
                false => format!(", and others reach it at {base}"),
            };
            print(&format!("the webhook listens at {address}{public}\n"))?;
            advise(
                "'mirrord webhook show NAME' prints what to paste into GitLab's form, 'mirrord webhook register NAME' does it for you",
            );
        }
        warn(None, &warnings);
        Ok(ExitCode::SUCCESS)
    }
}

impl Off {
    #[expect(clippy::unused_self, reason = "as the others are called")]
    fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        match said(paths, protocol::Webhook::Off)? {
            WebhookSaid::Off => print("the webhook is off\n")?,
            _ => return Err(something_else().into()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The path where the daemon finds it; the blank one stays blank.
fn absolute(file: &OsStr) -> Result<PathBuf, Failure> {
    if file.is_empty() {
        return Ok(PathBuf::new());
    }
    std::path::absolute(file).map_err(|err| {
        let what = format!("cannot use '{}'", masked(file.to_string_lossy().as_bytes()));
        let failure = Failure::io(what, &err);
        Failure::new(FailureKind::Usage, failure.message)
    })
}

/// Has the daemon do something with the webhook.
fn said(paths: &Paths, request: protocol::Webhook) -> anyhow::Result<WebhookSaid> {
    let request = Request::Webhook(request);
    match converse(carry_out(paths, &request, on_terminal()))? {
        Reply::Webhook(said) => Ok(said),
        _ => Err(something_else().into()),
    }
}

//! `mirrord webhook on`: starts to listen for deliveries.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use common::{
    client::something_else,
    paths::Paths,
    protocol::{self, Failure, FailureKind, Listen, WebhookReply},
    text::masked,
};
use serde_json::json;

use super::{
    super::print::{print, print_hint, print_json, print_warnings},
    call_webhook,
};

/// Listen from now on, and whenever the daemon runs
///
/// What is not given stays as it was the last time. The port 0 is any that is free: it is
/// chosen once and kept.
///
///     mirrord webhook on --listen 127.0.0.1:0 --public-url https://hooks.example
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct On {
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

impl On {
    /// Has the daemon listen, and prints where.
    pub(super) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Some((absolute(certificate)?, absolute(key)?)),
            _ => None,
        };
        let listen = Listen {
            at: self.listen.clone(),
            public_url: self.public_url.clone(),
            tls,
        };
        let WebhookReply::Listens {
            address,
            base,
            warnings,
        } = call_webhook(paths, protocol::Webhook::On(listen))?
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
            print_hint(
                "'mirrord webhook show NAME' prints what to paste into GitLab's form, 'mirrord webhook register NAME' does it for you",
            );
        }
        print_warnings(None, &warnings);
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes a path absolute, as the daemon has another current directory. An empty path stays empty.
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

//! `mirrord restore`: brings back an old tip of a branch or tag.

use std::{ffi::OsString, os::unix::ffi::OsStrExt, process::ExitCode};

use clap::Args;
use common::{
    client::something_else,
    paths::Paths,
    protocol::{self, Reply, Request},
    text::masked,
};
use jiff::Zoned;
use serde_json::json;

use super::{
    block_on, call_daemon,
    history::tip_json,
    print::{print, print_json, short_oid},
    resolve_mirror, terminal_renderer,
};
use crate::process::local_time::time;

/// Bring back what a branch or tag once was
///
/// 'mirrord history' lists what there is. A tracked branch follows upstream, so what it
/// was comes back beside it, as a local branch that never goes upstream by itself:
///
///     mirrord restore project main --as main-as-it-was
///
/// Without --at it is the newest in the history. A branch that has gone comes back under
/// its own name when there is no --as. Nothing that exists is overwritten.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Restore {
    /// The mirror's name, or its URL
    name: String,
    /// The branch or tag: main, or in full refs/heads/main
    #[arg(value_name = "REF")]
    reference: OsString,
    /// What it was at this time, such as '2026-11-24 10:00:03 +0100', or the commit itself
    #[arg(long, value_name = "TIME|OID")]
    at: Option<String>,
    /// The branch or tag that it is to become
    #[arg(long = "as", value_name = "NEWREF")]
    to: Option<OsString>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

impl Restore {
    /// Has the daemon restore the tip, and prints what was done.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let request = Request::Restore(protocol::Restore {
            mirror: resolve_mirror(&self.name)?,
            name: self.reference.as_bytes().to_vec(),
            at: self.at.clone(),
            now: Zoned::now().to_string(),
            to: self.to.as_ref().map(|to| to.as_bytes().to_vec()),
        });
        let reply = block_on(call_daemon(paths, &request, terminal_renderer()))?;
        let Reply::Restored { past, name, hint } = reply else {
            return Err(something_else().into());
        };
        if self.json {
            let mut done = tip_json(&past);
            done["restored_as"] = json!(String::from_utf8_lossy(&name));
            print_json(&done)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = format!(
            "restored '{}' of {} ({})",
            masked(&past.name),
            time(past.at),
            short_oid(&past.oid)
        );
        if name != past.name {
            text.push_str(&format!(" as '{}'", masked(&name)));
        }
        print(&format!("{text}\n"))?;
        if let Some(hint) = hint {
            let hint = masked(hint.as_bytes());
            print(&format!(
                "it is local to this mirror; to send it to upstream as it is:\n    {hint}\n"
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

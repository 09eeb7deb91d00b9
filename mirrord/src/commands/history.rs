//! `mirrord history` and `mirrord restore`: what branches and tags once were.

use std::{ffi::OsString, os::unix::ffi::OsStrExt, process::ExitCode};

use clap::Args;
use common::{
    paths::Paths,
    progress::masked,
    protocol::{self, Past, Reply, Request, client::something_else},
};
use jiff::Zoned;
use serde_json::{Value, json};

use super::{
    called, carry_out, converse, listed, mirror, on_terminal,
    print::{print, print_json, short},
};
use crate::process::local_time::time;

/// List what branches and tags of a mirror once were
///
/// One line for each old tip, the newest first: until when it was the tip, of what, which
/// commit, and what became of it: 'rewritten' or 'deleted', by upstream or by a push, or
/// 'untracked' by 'mirrord set'. They are kept for as long as the mirror's keep-history
/// says, 30 days unless set otherwise.
///
///     mirrord history project
///     mirrord history project main
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct History {
    /// The mirror's name, or its URL
    name: String,
    /// Only of this branch or tag: main, or in full refs/heads/main
    #[arg(value_name = "REF")]
    reference: Option<OsString>,
    /// Print it as one JSON array
    #[arg(long)]
    json: bool,
}

impl History {
    /// Asks and prints.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let reference = self.reference.as_ref();
        let reference = reference.map(|name| name.as_bytes().to_vec());
        let request = Request::History(mirror(&self.name)?, reference);
        let batch = |reply| match reply {
            Reply::Past(batch) => Some(batch),
            _ => None,
        };
        let past = converse(listed(paths, &request, batch))?;
        if self.json {
            print_json(&past.iter().map(described).collect())?;
        } else if past.is_empty() {
            print(&self.nothing())?;
        } else {
            print(&lines(&past))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn nothing(&self) -> String {
        let name = called(&self.name);
        match &self.reference {
            None => format!("nothing is in the history of '{name}'\n"),
            Some(reference) => {
                let reference = masked(reference.as_bytes());
                format!("nothing of '{reference}' is in the history of '{name}'\n")
            }
        }
    }
}

fn lines(past: &[Past]) -> String {
    let names: Vec<_> = past.iter().map(|past| masked(&past.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or_default();
    let lines = past.iter().zip(&names).map(|(past, name)| {
        let (time, oid) = (time(past.at), short(&past.oid));
        let why = masked(past.why.as_bytes());
        format!("{time}  {name:width$}  {oid}  {why}\n")
    });
    lines.collect()
}

fn described(past: &Past) -> Value {
    json!({
        "at": past.at,
        "ref": String::from_utf8_lossy(&past.name),
        "oid": past.oid,
        "why": past.why,
    })
}

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
    /// Has the daemon do it.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let request = Request::Restore(protocol::Restore {
            mirror: mirror(&self.name)?,
            name: self.reference.as_bytes().to_vec(),
            at: self.at.clone(),
            now: Zoned::now().to_string(),
            to: self.to.as_ref().map(|to| to.as_bytes().to_vec()),
        });
        let reply = converse(carry_out(paths, &request, on_terminal()))?;
        let Reply::Restored { past, name, hint } = reply else {
            return Err(something_else().into());
        };
        if self.json {
            let mut done = described(&past);
            done["restored_as"] = json!(String::from_utf8_lossy(&name));
            print_json(&done)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = format!(
            "restored '{}' of {} ({})",
            masked(&past.name),
            time(past.at),
            short(&past.oid)
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

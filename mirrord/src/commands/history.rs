//! `mirrord history`: lists the old tips of branches and tags.

use std::{ffi::OsString, os::unix::ffi::OsStrExt, process::ExitCode};

use clap::Args;
use common::{
    paths::Paths,
    protocol::{Past, Reply, Request},
    text::masked,
};
use serde_json::{Value, json};

use super::{
    block_on, call_for_list, display_name,
    print::{print, print_json, short_oid},
    resolve_mirror,
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
    /// Asks the daemon for the old tips, and prints them.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let reference = self.reference.as_ref();
        let reference = reference.map(|name| name.as_bytes().to_vec());
        let request = Request::History(resolve_mirror(&self.name)?, reference);
        let take_batch = |reply| match reply {
            Reply::Past(batch) => Some(batch),
            _ => None,
        };
        let past = block_on(call_for_list(paths, &request, take_batch))?;
        if self.json {
            print_json(&past.iter().map(tip_json).collect())?;
        } else if past.is_empty() {
            print(&self.nothing_found())?;
        } else {
            print(&lines(&past))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn nothing_found(&self) -> String {
        let name = display_name(&self.name);
        match &self.reference {
            None => format!("nothing is in the history of '{name}'\n"),
            Some(reference) => {
                let reference = masked(reference.as_bytes());
                format!("nothing of '{reference}' is in the history of '{name}'\n")
            }
        }
    }
}

/// The old tips as a table.
fn lines(past: &[Past]) -> String {
    let names: Vec<_> = past.iter().map(|past| masked(&past.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or_default();
    let lines = past.iter().zip(&names).map(|(past, name)| {
        let (time, oid) = (time(past.at), short_oid(&past.oid));
        let why = masked(past.why.as_bytes());
        format!("{time}  {name:width$}  {oid}  {why}\n")
    });
    lines.collect()
}

/// An old tip, for scripts.
pub(super) fn tip_json(past: &Past) -> Value {
    json!({
        "at": past.at,
        "ref": String::from_utf8_lossy(&past.name),
        "oid": past.oid,
        "why": past.why,
    })
}

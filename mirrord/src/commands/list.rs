//! `mirrord list`: the mirrors that there are.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use common::{
    paths::Paths,
    progress::masked,
    protocol::{Failure, MirrorInfo, Reply, Request},
};
use serde_json::{Value, json};

use super::{
    converse, listed,
    print::{ago, date, print, print_json},
};

/// What is printed where nothing can be listed.
pub(super) const NONE: &str =
    "there is no mirror yet: git clone mirror::https://HOST/GROUP/PROJECT.git makes one\n";

/// List the mirrors: name, upstream, and how old what each has is
///
///     mirrord list --json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct List {
    /// Print them as one JSON array
    #[arg(long)]
    json: bool,
}

impl List {
    /// Asks and prints.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let mirrors = converse(mirrors(paths))?;
        if self.json {
            print_json(&mirrors.iter().map(described).collect())?;
            return Ok(ExitCode::SUCCESS);
        }
        if mirrors.is_empty() {
            print(NONE)?;
        }
        let names: Vec<_> = mirrors
            .iter()
            .map(|mirror| masked(mirror.name.as_bytes()))
            .collect();
        let width = names.iter().map(|name| name.chars().count()).max();
        let width = width.unwrap_or_default();
        for (name, mirror) in names.iter().zip(&mirrors) {
            let (url, state) = (masked(mirror.url.as_bytes()), state(mirror));
            print(&format!("{name:width$}  {url}  {state}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All mirrors.
pub(super) async fn mirrors(paths: &Paths) -> Result<Vec<MirrorInfo>, Failure> {
    let batch = |reply| match reply {
        Reply::Mirrors(batch) => Some(batch),
        _ => None,
    };
    listed(paths, &Request::List, batch).await
}

/// How a mirror is, for people.
pub(super) fn state(mirror: &MirrorInfo) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let synced = mirror.synced.map(|synced| ago(now.saturating_sub(synced)));
    let failing = mirror.failing.as_ref();
    match (synced, failing.map(|why| masked(why.as_bytes()))) {
        _ if mirror.syncing => "syncing".into(),
        (Some(synced), Some(failing)) => format!("in step {synced} ago; since then: {failing}"),
        (Some(synced), None) => format!("in step {synced} ago"),
        (None, Some(failing)) => failing,
        (None, None) => "not yet in step".into(),
    }
}

/// How a mirror is, for scripts.
pub(super) fn described(mirror: &MirrorInfo) -> Value {
    json!({
        "name": mirror.name,
        "url": mirror.url,
        "description": mirror.description,
        "git_dir": mirror.git_dir.to_string_lossy(),
        "last_sync": mirror.synced,
        "last_error": mirror.failing,
        "needs_you": mirror.needs_you,
        "token_expires": mirror.expires.map(date),
        "syncing": mirror.syncing,
    })
}

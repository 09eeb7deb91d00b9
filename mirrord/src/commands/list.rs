//! `mirrord list`: lists the mirrors.

use std::process::ExitCode;

use clap::Args;
use common::{
    paths::Paths,
    protocol::{Failure, FirstClone, MirrorInfo, Reply, Request},
    text::{masked, time_span},
};
use serde_json::{Value, json};

use super::{
    block_on, call_for_list,
    health::{first_clone_json, first_clone_text, now},
    print::{print, print_json, utc_date},
};

/// The text that is printed if there is no mirror.
pub(super) const NO_MIRRORS: &str =
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
    /// Asks the daemon for the list, and prints it.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let entries = block_on(call_for_list(paths, &Request::List, take_entries))?;
        if self.json {
            print_json(&entries.iter().map(Entry::to_json).collect())?;
            return Ok(ExitCode::SUCCESS);
        }
        if entries.is_empty() {
            print(NO_MIRRORS)?;
        }
        let rows: Vec<_> = entries.iter().map(Entry::row).collect();
        let width = rows.iter().map(|[name, ..]| name.chars().count()).max();
        let width = width.unwrap_or_default();
        for [name, url, state] in &rows {
            print(&format!("{name:width$}  {url}  {state}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// An entry of the list.
enum Entry {
    Mirror(MirrorInfo),
    FirstClone(FirstClone),
}

fn take_entries(reply: Reply) -> Option<Vec<Entry>> {
    match reply {
        Reply::Mirrors(batch) => Some(batch.into_iter().map(Entry::Mirror).collect()),
        Reply::FirstClones(batch) => Some(batch.into_iter().map(Entry::FirstClone).collect()),
        _ => None,
    }
}

impl Entry {
    /// The name, the upstream and the state, for people.
    fn row(&self) -> [String; 3] {
        let (name, url, state) = match self {
            Self::Mirror(mirror) => (&mirror.name, &mirror.url, state_text(mirror)),
            Self::FirstClone(clone) => (&clone.name, &clone.url, first_clone_text(clone)),
        };
        [masked(name.as_bytes()), masked(url.as_bytes()), state]
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Mirror(mirror) => mirror_json(mirror),
            Self::FirstClone(clone) => first_clone_json(clone),
        }
    }
}

/// Asks the daemon for all mirrors, without first clones.
pub(super) async fn list_mirrors(paths: &Paths) -> Result<Vec<MirrorInfo>, Failure> {
    let take_mirrors = |reply| match reply {
        Reply::Mirrors(batch) => Some(batch),
        Reply::FirstClones(_) => Some(Vec::new()),
        _ => None,
    };
    call_for_list(paths, &Request::List, take_mirrors).await
}

/// The state of a mirror, for people.
pub(super) fn state_text(mirror: &MirrorInfo) -> String {
    let since = |at: u64| time_span(now().saturating_sub(at));
    let synced = mirror.synced.map(since);
    let failing = mirror.failing.as_ref();
    match (synced, failing.map(|why| masked(why.as_bytes()))) {
        _ if mirror.syncing => "syncing".into(),
        (Some(synced), Some(failing)) => format!("in step {synced} ago; since then: {failing}"),
        (Some(synced), None) => format!("in step {synced} ago"),
        (None, Some(failing)) => failing,
        (None, None) => "not yet in step".into(),
    }
}

/// The state of a mirror, for scripts.
pub(super) fn mirror_json(mirror: &MirrorInfo) -> Value {
    json!({
        "name": mirror.name,
        "url": mirror.url,
        "description": mirror.description,
        "git_dir": mirror.git_dir.to_string_lossy(),
        "last_sync": mirror.synced,
        "last_error": mirror.failing,
        "needs_you": mirror.needs_you,
        "token_expires": mirror.expires.map(utc_date),
        "syncing": mirror.syncing,
    })
}

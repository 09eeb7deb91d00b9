//! `mirrord list`: the mirrors that there are.

use std::{process::ExitCode, time::SystemTime};

use clap::Args;
use common::{
    paths::Paths,
    progress::masked,
    protocol::{Failure, FirstClone, MirrorInfo, Reply, Request},
    text::time::unix_seconds,
};
use serde_json::{Value, json};

use super::{
    converse,
    health::{first_clone, first_clone_in_json},
    listed,
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
        let listed = converse(listed(paths, &Request::List, batch))?;
        if self.json {
            print_json(&listed.iter().map(Listed::described).collect())?;
            return Ok(ExitCode::SUCCESS);
        }
        if listed.is_empty() {
            print(NONE)?;
        }
        let rows: Vec<_> = listed.iter().map(Listed::row).collect();
        let width = rows.iter().map(|[name, ..]| name.chars().count()).max();
        let width = width.unwrap_or_default();
        for [name, url, state] in &rows {
            print(&format!("{name:width$}  {url}  {state}\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line of the list.
enum Listed {
    Mirror(MirrorInfo),
    FirstClone(FirstClone),
}

fn batch(reply: Reply) -> Option<Vec<Listed>> {
    match reply {
        Reply::Mirrors(batch) => Some(batch.into_iter().map(Listed::Mirror).collect()),
        Reply::FirstClones(batch) => Some(batch.into_iter().map(Listed::FirstClone).collect()),
        _ => None,
    }
}

impl Listed {
    /// Name, upstream and state, for people.
    fn row(&self) -> [String; 3] {
        let (name, url, state) = match self {
            Self::Mirror(mirror) => (&mirror.name, &mirror.url, state(mirror)),
            Self::FirstClone(clone) => (&clone.name, &clone.url, first_clone(clone)),
        };
        [masked(name.as_bytes()), masked(url.as_bytes()), state]
    }

    fn described(&self) -> Value {
        match self {
            Self::Mirror(mirror) => described(mirror),
            Self::FirstClone(clone) => first_clone_in_json(clone),
        }
    }
}

/// All mirrors.
pub(super) async fn mirrors(paths: &Paths) -> Result<Vec<MirrorInfo>, Failure> {
    let batch = |reply| match reply {
        Reply::Mirrors(batch) => Some(batch),
        Reply::FirstClones(_) => Some(Vec::new()),
        _ => None,
    };
    listed(paths, &Request::List, batch).await
}

/// How a mirror is, for people.
pub(super) fn state(mirror: &MirrorInfo) -> String {
    let now = unix_seconds(SystemTime::now());
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

//! `mirrord list`: the mirrors that there are.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;
use common::{
    client::Client,
    paths::Paths,
    protocol::{MirrorInfo, Reply, Request},
};
use serde_json::json;

use super::{ago, converse, print};

/// List the mirrors: name, upstream, and when each was last seen to be in step.
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
    /// Asks, starting the daemon when it does not run, and prints.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let mirrors = converse(ask(paths))?;
        if self.json {
            let mirrors: Vec<_> = mirrors.iter().map(described).collect();
            print(&format!("{:#}\n", json!(mirrors)))?;
            return Ok(ExitCode::SUCCESS);
        }
        if mirrors.is_empty() {
            print(
                "there is no mirror yet: git clone mirror::https://HOST/GROUP/PROJECT.git makes one\n",
            )?;
        }
        let width = mirrors
            .iter()
            .map(|mirror| mirror.name.chars().count())
            .max()
            .unwrap_or_default();
        for mirror in &mirrors {
            print(&format!(
                "{:width$}  {}  {}\n",
                mirror.name,
                mirror.url,
                freshness(mirror)
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn ask(paths: &Paths) -> anyhow::Result<Vec<MirrorInfo>> {
    let mut client = Client::connect_or_start(paths).await?;
    client.say(&Request::List).await?;
    let mut mirrors = Vec::new();
    loop {
        match client.hear().await? {
            Reply::Mirrors(batch) => mirrors.extend(batch),
            Reply::Done => return Ok(mirrors),
            Reply::Failed(failure) => return Err(failure.into()),
            reply => anyhow::bail!("mirrord answered something else: {reply:?}"),
        }
    }
}

fn freshness(mirror: &MirrorInfo) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let synced = mirror.synced.map(|synced| ago(now.saturating_sub(synced)));
    match (&synced, &mirror.failing) {
        _ if mirror.syncing => "syncing".into(),
        (Some(synced), Some(failing)) => format!("in step {synced} ago; since then: {failing}"),
        (Some(synced), None) => format!("in step {synced} ago"),
        (None, Some(failing)) => failing.clone(),
        (None, None) => "not yet in step".into(),
    }
}

fn described(mirror: &MirrorInfo) -> serde_json::Value {
    json!({
        "name": mirror.name,
        "url": mirror.url,
        "git_dir": mirror.git_dir,
        "last_sync": mirror.synced,
        "last_error": mirror.failing,
        "syncing": mirror.syncing,
    })
}

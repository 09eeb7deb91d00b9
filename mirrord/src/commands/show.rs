//! `mirrord show`: all of one mirror.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use common::{
    paths::Paths,
    progress::masked,
    protocol::{
        Failure, LocalRef, Mirror, Reply, Request, Shown,
        client::{Client, something_else},
    },
};
use serde_json::{Value, json};

use super::{
    converse,
    health::in_json,
    list::state,
    mirror,
    print::{expiry, print, print_json, short},
    rest,
};

/// Show every setting of a mirror and how it is
///
/// Below the settings: how many branches and tags follow upstream, those that are local to
/// the mirror, and what of upstream is held back, with the reason.
///
///     mirrord show project
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Show {
    /// The mirror's name, or its URL
    name: String,
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    /// Asks and prints.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let (shown, locals) = converse(shown(paths, mirror(&self.name)?))?;
        if self.json {
            print_json(&all(&shown, &locals))?;
        } else {
            print(&text(&shown, &locals))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks for all of one mirror.
pub(super) async fn shown(
    paths: &Paths,
    mirror: Mirror,
) -> Result<(Shown, Vec<LocalRef>), Failure> {
    let mut client = Client::connect_or_start(paths).await?;
    client.say(&Request::Show(mirror)).await?;
    let shown = match client.hear().await? {
        Reply::Shown(shown) => *shown,
        Reply::Failed(failure) => return Err(failure),
        _ => return Err(something_else()),
    };
    let batch = |reply| match reply {
        Reply::Locals(batch) => Some(batch),
        _ => None,
    };
    Ok((shown, rest(&mut client, batch).await?))
}

/// What is said of it at the top is not repeated among the settings.
fn settings(shown: &Shown) -> impl Iterator<Item = (&str, &str)> {
    let pairs = shown.settings.iter();
    pairs
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, _)| !["name", "url", "description"].contains(key))
}

fn text(shown: &Shown, locals: &[LocalRef]) -> String {
    let info = &shown.health.info;
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let line = format!("{}: {}", masked(key.as_bytes()), masked(value.as_bytes()));
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line("name", &info.name);
    line("url", &info.url);
    line("description", &info.description);
    line("directory", &info.git_dir.to_string_lossy());
    line("state", &state(info));
    settings(shown).for_each(|(key, value)| line(key, value));
    if let Some(expires) = info.expires {
        line("token", &expiry(expires).0);
    }
    line("tracked refs", &shown.tracked.to_string());
    for local in locals {
        let name = String::from_utf8_lossy(&local.name);
        line("local", &format!("{name} {}", short(&local.oid)));
    }
    shown.held.iter().for_each(|held| line("held", held));
    text
}

fn all(shown: &Shown, locals: &[LocalRef]) -> Value {
    let mut all = in_json(&shown.health);
    let mut track = Vec::new();
    let mut others = BTreeMap::new();
    for (key, value) in settings(shown) {
        match key {
            // No refspec has a space in it.
            "track" => track.extend(value.split_whitespace()),
            _ => drop(others.insert(key.replace('-', "_"), json!(value))),
        }
    }
    others.insert("track".into(), json!(track));
    let locals = locals
        .iter()
        .map(|local| json!({ "ref": String::from_utf8_lossy(&local.name), "oid": local.oid }));
    all["settings"] = json!(others);
    all["tracked"] = json!(shown.tracked);
    all["local"] = locals.collect();
    all["held"] = json!(shown.held);
    all
}

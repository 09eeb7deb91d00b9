//! `mirrord show`: prints the settings and the state of one mirror.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Args;
use common::{
    client::{Client, something_else},
    paths::Paths,
    protocol::{Failure, LocalRef, Mirror, Reply, Request, Shown},
    text::masked,
};
use serde_json::{Value, json};

use super::{
    block_on,
    health::health_json,
    list::state_text,
    print::{print, print_json, short_oid, token_expiry},
    read_list, resolve_mirror,
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
    /// Asks the daemon for the mirror, and prints it.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let shown = block_on(show_mirror(paths, resolve_mirror(&self.name)?))?;
        if self.json {
            print_json(&shown.to_json())?;
        } else {
            print(&shown.to_text())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A mirror as the daemon shows it.
pub(super) struct ShownMirror {
    pub mirror: Shown,
    /// Its local branches and tags.
    pub locals: Vec<LocalRef>,
}

/// Asks the daemon for one mirror.
pub(super) async fn show_mirror(paths: &Paths, mirror: Mirror) -> Result<ShownMirror, Failure> {
    let mut client = Client::connect_or_start(paths).await?;
    client.send_request(&Request::Show(mirror)).await?;
    let mirror = match client.receive().await? {
        Reply::Shown(shown) => *shown,
        Reply::Failed(failure) => return Err(failure),
        _ => return Err(something_else()),
    };
    let take_locals = |reply| match reply {
        Reply::Locals(batch) => Some(batch),
        _ => None,
    };
    let locals = read_list(&mut client, take_locals).await?;
    Ok(ShownMirror { mirror, locals })
}

/// The settings without those that are printed above them.
fn settings(shown: &Shown) -> impl Iterator<Item = (&str, &str)> {
    let pairs = shown.settings.iter();
    pairs
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, _)| !["name", "url", "description"].contains(key))
}

impl ShownMirror {
    /// The mirror for people, one line for each fact.
    fn to_text(&self) -> String {
        let shown = &self.mirror;
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
        line("state", &state_text(info));
        settings(shown).for_each(|(key, value)| line(key, value));
        if let Some(expires) = info.expires {
            line("token", &token_expiry(expires).text);
        }
        line("tracked refs", &shown.tracked.to_string());
        for local in &self.locals {
            let name = String::from_utf8_lossy(&local.name);
            line("local", &format!("{name} {}", short_oid(&local.oid)));
        }
        shown
            .withheld
            .iter()
            .for_each(|withheld| line("held", withheld));
        text
    }

    /// The mirror for scripts.
    fn to_json(&self) -> Value {
        let shown = &self.mirror;
        let mut all = health_json(&shown.health);
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
        let locals = self
            .locals
            .iter()
            .map(|local| json!({ "ref": String::from_utf8_lossy(&local.name), "oid": local.oid }));
        all["settings"] = json!(others);
        all["tracked"] = json!(shown.tracked);
        all["local"] = locals.collect();
        all["held"] = json!(shown.withheld);
        all
    }
}

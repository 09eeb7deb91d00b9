//! `mirrord config`: the daemon's settings, and the defaults of new mirrors.

use std::process::ExitCode;

use clap::Args;
use common::{
    client::something_else,
    paths::Paths,
    protocol::{self, Reply, Request, Setting},
    text::masked,
};
use serde_json::{Value, json};

use super::{
    block_on, call_daemon,
    print::{print, print_json},
    terminal_renderer,
};

/// Show or change the daemon's own settings, and what new mirrors are given
///
/// Without arguments it lists every key with its value, and marks the defaults. With a key
/// it prints the value; with a value too, it sets the key. The keys that are also options
/// of 'mirrord add' are the settings of new mirrors; mirrors that exist keep what they
/// have.
///
///     mirrord config
///     mirrord config fresh-for 30s
///     mirrord config fresh-for
///     mirrord config --unset fresh-for
///
/// Two of the daemon's own: a mirror that a clone has made is removed when nobody has used
/// it for 'keep-unused', and earlier when all mirrors take more than 'disk-budget'.
///
///     mirrord config keep-unused 90d
///     mirrord config disk-budget 100G
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Config {
    /// Which setting
    #[arg(conflicts_with = "unset")]
    key: Option<String>,
    /// The new value; several refspecs for 'track' are one value, with spaces between them
    #[arg(requires = "key")]
    value: Option<String>,
    /// Reset this setting to its default
    #[arg(long, value_name = "KEY")]
    unset: Option<String>,
    /// Print as JSON: one object for a key, an array of all without
    #[arg(long)]
    json: bool,
}

impl Config {
    /// Reads or changes settings, and prints them.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let config = match (&self.unset, &self.key, &self.value) {
            (Some(key), ..) => protocol::Config::Unset(key.clone()),
            (None, Some(key), Some(value)) => protocol::Config::Set(key.clone(), value.clone()),
            (None, Some(key), None) => protocol::Config::Get(key.clone()),
            (None, None, _) => protocol::Config::List,
        };
        let is_list = config == protocol::Config::List;
        let is_get = matches!(config, protocol::Config::Get(_));
        let request = Request::Config(config);
        let reply = block_on(call_daemon(paths, &request, terminal_renderer()))?;
        let Reply::Settings(settings) = reply else {
            return Err(something_else().into());
        };
        let mut objects = settings.iter().map(to_json);
        match self.json {
            true if is_list => print_json(&objects.collect())?,
            true => print_json(&objects.next().ok_or_else(something_else)?)?,
            false => {
                let show = if is_get { value_line } else { key_line };
                print(&settings.iter().map(show).collect::<String>())?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn value_line(setting: &Setting) -> String {
    format!("{}\n", masked(setting.value.as_bytes()))
}

fn key_line(setting: &Setting) -> String {
    let line = format!("{} = {}", setting.key, masked(setting.value.as_bytes()));
    let mark = if setting.is_default { " (default)" } else { "" };
    format!("{}{mark}\n", line.trim_end())
}

fn to_json(setting: &Setting) -> Value {
    json!({
        "key": setting.key,
        "value": setting.value,
        "is_default": setting.is_default,
    })
}

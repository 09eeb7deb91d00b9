//! `mirrord status`: how the daemon is.

use std::process::ExitCode;

use clap::Args;
use common::{
    paths::Paths,
    progress::masked,
    protocol::{Reply, Request},
};
use serde_json::{Value, json};

use super::{
    ask, converse,
    print::{ago, date, expiry, print, print_json, write},
};

/// The exit code for 'does not run', as systemctl has it.
const NOT_RUNNING: u8 = 3;

/// Say how the daemon is; exit code 3 when it does not run
///
/// It is not started for this.
///
///     mirrord status --json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Status {
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Asks and prints.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        converse(async {
            let status = match ask(paths, &Request::Status).await? {
                Some((_, Reply::Status(status))) => status,
                Some((_, reply)) => anyhow::bail!("mirrord answered something else: {reply:?}"),
                None => {
                    if self.json {
                        write(&format!("{}\n", json!({ "running": false })))?;
                    } else {
                        print("mirrord does not run\n")?;
                    }
                    return Ok(ExitCode::from(NOT_RUNNING));
                }
            };
            if self.json {
                let status = json!({
                    "running": true,
                    "pid": status.pid,
                    "version": status.version,
                    "uptime_seconds": status.uptime,
                    "socket": status.socket,
                    "mirrors_dir": status.mirrors_dir,
                    "mirrors": status.mirrors,
                    "clients": status.clients,
                    "waiting": status.waiting,
                    "syncing": status.syncing,
                    "needs_you": pairs("reason", status.needs_you),
                    "tokens": pairs("expires", status.tokens.into_iter().map(|(name, at)| (name, date(at)))),
                });
                print_json(&status)?;
                return Ok(ExitCode::SUCCESS);
            }
            let mut text = format!(
                "mirrord {} runs as process {} for {}\nsocket:  {}\nmirrors: {} in {}\nclients: {}, {} of them waiting for a sync\n",
                status.version,
                status.pid,
                ago(status.uptime),
                status.socket.display(),
                status.mirrors,
                status.mirrors_dir.display(),
                status.clients,
                status.waiting,
            );
            for url in &status.syncing {
                text.push_str(&format!("syncing: {url}\n"));
            }
            for (name, why) in &status.needs_you {
                let (name, why) = (masked(name.as_bytes()), masked(why.as_bytes()));
                text.push_str(&format!("needs you: {name}: {why}\n"));
            }
            for (name, expires) in &status.tokens {
                let name = masked(name.as_bytes());
                text.push_str(&match expiry(*expires) {
                    (when, true) => format!("warning: the token of {name} {when}\n"),
                    (when, false) => format!("token:   that of {name} {when}\n"),
                });
            }
            print(&text)?;
            anyhow::Ok(ExitCode::SUCCESS)
        })
    }
}

/// Mirrors by name, and something of each.
fn pairs(what: &str, of: impl IntoIterator<Item = (String, String)>) -> Value {
    let pairs = of.into_iter();
    pairs
        .map(|(name, value)| json!({ "name": name, what: value }))
        .collect()
}

//! `mirrord status`: prints the state of the daemon and of all mirrors.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use common::{
    client::something_else,
    paths::Paths,
    protocol::{self, Health, Reply, Request, Saved},
    text::{byte_size, masked, time_span},
};
use serde_json::{Value, json};

use super::{
    block_on, call_running_daemon,
    health::{
        first_clone_json, first_clone_text, freshness_text, health_json, next_sync_text, now,
        saved_json, saved_text, served_text, size_text, total_saved,
    },
    print::{readable, token_expiry, utc_date},
    read_list,
};
use crate::process::local_time::time;

/// The exit code if the daemon does not run, as in systemctl(1).
const NOT_RUNNING: u8 = 3;

/// How often `--watch` asks the daemon again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The control sequences of ECMA-48 that move the cursor to the top and clear the screen below it.
const CLEAR_SCREEN: &str = "\u{1b}[H\u{1b}[J";

/// Say how the daemon and its mirrors are; exit code 3 when it does not run
///
/// For each mirror: how fresh it is, or since when it is behind and why; what runs; when the
/// next sync is; its size; and how much it has saved you to download. The daemon is not
/// started for this.
///
///     mirrord status --json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Status {
    /// Print it as one JSON object; with --watch one a line, whenever something changes
    #[arg(long)]
    json: bool,
    /// Update every second, until interrupted
    #[arg(short, long)]
    watch: bool,
}

/// The state of the daemon and of its mirrors.
struct Snapshot {
    daemon: protocol::Status,
    mirrors: Vec<Health>,
}

impl Status {
    /// Asks the daemon and prints its state, with `--watch` again and again.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        block_on(self.run(paths))
    }

    async fn run(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let mut last = String::new();
        loop {
            let snapshot = take_snapshot(paths).await?;
            let text = match (&snapshot, self.json) {
                (Some(snapshot), true) => self.json_text(&snapshot.to_json()),
                (None, true) => self.json_text(&json!({ "running": false })),
                (Some(snapshot), false) => readable(&snapshot.to_text()),
                (None, false) => "mirrord does not run\n".to_owned(),
            };
            let is_screen = self.watch && !self.json && io::stdout().is_terminal();
            if text != last && !write_and_flush(is_screen, &text)? {
                // The reader has closed stdout.
                return Ok(ExitCode::SUCCESS);
            }
            if !self.watch {
                return Ok(match snapshot {
                    Some(_) => ExitCode::SUCCESS,
                    None => ExitCode::from(NOT_RUNNING),
                });
            }
            last = text;
            tokio::time::sleep(REFRESH_INTERVAL).await;
        }
    }

    fn json_text(&self, value: &Value) -> String {
        match self.watch || value["running"] == false {
            true => format!("{value}\n"),
            false => format!("{value:#}\n"),
        }
    }
}

/// Asks the daemon for its state; `None` if it does not run.
async fn take_snapshot(paths: &Paths) -> anyhow::Result<Option<Snapshot>> {
    let (mut client, daemon) = match call_running_daemon(paths, &Request::Status).await? {
        None => return Ok(None),
        Some((client, Reply::Status(daemon))) => (client, daemon),
        Some(_) => return Err(something_else().into()),
    };
    let take_healths = |reply| match reply {
        Reply::Healths(batch) => Some(batch),
        _ => None,
    };
    let mirrors = read_list(&mut client, take_healths).await?;
    Ok(Some(Snapshot { daemon, mirrors }))
}

/// Prints the text; on a screen in place of the last one. Returns `false` if the reader has closed stdout.
fn write_and_flush(is_screen: bool, text: &str) -> io::Result<bool> {
    let mut out = io::stdout();
    let clear = if is_screen { CLEAR_SCREEN } else { "" };
    let printed = out.write_all(format!("{clear}{text}").as_bytes());
    match printed.and_then(|()| out.flush()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        printed => printed.map(|()| true),
    }
}

impl Snapshot {
    /// The state for people.
    fn to_text(&self) -> String {
        let (daemon, now) = (&self.daemon, now());
        let mut text = format!(
            "mirrord {} runs as process {} for {}\nsocket:  {}\nwebhook: {}\nmirrors: {} in {}\nclients: {}, {} of them waiting for a sync\n",
            daemon.version,
            daemon.pid,
            time_span(daemon.uptime),
            daemon.socket.display(),
            daemon.webhook.as_deref().unwrap_or("off"),
            daemon.mirrors,
            daemon.mirrors_dir.display(),
            daemon.clients,
            daemon.waiting,
        );
        text.push_str(&format!("disk:    {}\n", self.disk()));
        let saved = self.total_saved();
        if let Some(amount) = saved_text(&saved) {
            text.push_str(&format!("saved:   {amount} in {}\n", served_text(&saved)));
        }
        let mirrors = self.mirrors.iter().map(|mirror| mirror_line(mirror, now));
        let clones = daemon.first_clones.iter().map(|clone| {
            let url = masked(clone.url.as_bytes());
            let state = format!("{}; {url}", first_clone_text(clone));
            (masked(clone.name.as_bytes()), state)
        });
        let lines: Vec<_> = mirrors.chain(clones).collect();
        if !lines.is_empty() {
            text.push('\n');
        }
        let width = lines.iter().map(|(name, _)| name.chars().count()).max();
        let width = width.unwrap_or_default();
        for (name, state) in &lines {
            text.push_str(&format!("{name:width$}  {state}\n"));
        }
        for mirror in &self.mirrors {
            let name = masked(mirror.info.name.as_bytes());
            for file in &mirror.changed_files {
                let (file, at) = (masked(file.name.as_bytes()), time(file.at));
                text.push_str(&format!(
                    "warning: '{file}' of {name} was changed at {at} by somebody else; it was laid aside and fetched again\n"
                ));
            }
            if let Some(expires) = mirror.info.expires {
                let expiry = token_expiry(expires);
                text.push_str(&match expiry.needs_attention {
                    true => format!("warning: the token of {name} {}\n", expiry.text),
                    false => format!("token:   that of {name} {}\n", expiry.text),
                });
            }
        }
        text
    }

    /// The size of all mirrors, in bytes.
    fn size(&self) -> u64 {
        self.mirrors.iter().map(|mirror| mirror.size).sum()
    }

    fn disk(&self) -> String {
        let used = byte_size(self.size() as f64);
        match self.daemon.disk_budget {
            Some(budget) => format!("{used} of {}", byte_size(budget as f64)),
            None => used,
        }
    }

    fn total_saved(&self) -> Saved {
        total_saved(self.mirrors.iter().map(|mirror| &mirror.saved))
    }

    /// The state for scripts.
    fn to_json(&self) -> Value {
        let daemon = &self.daemon;
        let infos = || self.mirrors.iter().map(|mirror| &mirror.info);
        let needy = infos().filter(|info| info.needs_you);
        let needy: Value = needy
            .map(|info| json!({ "name": info.name, "reason": info.failing }))
            .collect();
        let tokens = infos().filter_map(|info| Some((&info.name, info.expires?)));
        let tokens: Value = tokens
            .map(|(name, at)| json!({ "name": name, "expires": utc_date(at) }))
            .collect();
        json!({
            "running": true,
            "pid": daemon.pid,
            "version": daemon.version,
            "uptime_seconds": daemon.uptime,
            "socket": daemon.socket,
            "webhook": daemon.webhook,
            "mirrors_dir": daemon.mirrors_dir,
            "mirrors": daemon.mirrors,
            "size_bytes": self.size(),
            "disk_budget_bytes": daemon.disk_budget,
            "saved": saved_json(&self.total_saved()),
            "clients": daemon.clients,
            "waiting": daemon.waiting,
            "syncing": daemon.syncing,
            "first_clones": daemon.first_clones.iter().map(first_clone_json).collect::<Value>(),
            "needs_you": needy,
            "tokens": tokens,
            "states": self.mirrors.iter().map(health_json).collect::<Value>(),
        })
    }
}

/// The name of a mirror, and its state.
fn mirror_line(mirror: &Health, now: u64) -> (String, String) {
    let parts = [
        Some(freshness_text(mirror, now)),
        next_sync_text(mirror),
        Some(size_text(mirror)),
        saved_text(&mirror.saved).map(|amount| format!("saved {amount}")),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (masked(mirror.info.name.as_bytes()), parts.join("; "))
}

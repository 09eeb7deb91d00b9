//! `mirrord status`: how the daemon and its mirrors are.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use common::{
    paths::Paths,
    progress::{masked, size},
    protocol::{self, Health, Reply, Request, Saved, client::something_else},
};
use serde_json::{Value, json};

use super::{
    ask, converse,
    health::{
        answered, first_clone, first_clone_in_json, freshness, holds, in_json, next, now, saved,
        saved_in_json, sum,
    },
    print::{ago, date, expiry, readable},
    rest,
};
use crate::process::local_time::time;

/// The exit code for 'does not run', as systemctl has it.
const NOT_RUNNING: u8 = 3;

/// How often it is looked again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// To the top of the screen, and nothing below.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

/// Say how the daemon and its mirrors are; exit code 3 when it does not run
///
/// For each mirror: how fresh it is or since when it is behind and why, what runs, when it
/// is brought in step next, how much it holds, and what nobody had to download for it. The
/// daemon is not started for this.
///
///     mirrord status --json
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Status {
    /// Print it as one JSON object; with --watch one a line, whenever something changes
    #[arg(long)]
    json: bool,
    /// Look again every second, until interrupted
    #[arg(short, long)]
    watch: bool,
}

/// What the daemon says of itself and of its mirrors.
struct Seen {
    daemon: protocol::Status,
    mirrors: Vec<Health>,
}

impl Status {
    /// Asks and prints.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        converse(self.run(paths))
    }

    async fn run(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let mut last = String::new();
        loop {
            let seen = look(paths).await?;
            let text = match (&seen, self.json) {
                (Some(seen), true) => self.as_json(&seen.described()),
                (None, true) => self.as_json(&json!({ "running": false })),
                (Some(seen), false) => readable(&seen.text()),
                (None, false) => "mirrord does not run\n".to_owned(),
            };
            let is_screen = self.watch && !self.json && io::stdout().is_terminal();
            if text != last && !shown(is_screen, &text)? {
                // Nobody reads on.
                return Ok(ExitCode::SUCCESS);
            }
            if !self.watch {
                return Ok(match seen {
                    Some(_) => ExitCode::SUCCESS,
                    None => ExitCode::from(NOT_RUNNING),
                });
            }
            last = text;
            tokio::time::sleep(REFRESH_INTERVAL).await;
        }
    }

    fn as_json(&self, value: &Value) -> String {
        match self.watch || value["running"] == false {
            true => format!("{value}\n"),
            false => format!("{value:#}\n"),
        }
    }
}

/// Asks the daemon, if it runs.
async fn look(paths: &Paths) -> anyhow::Result<Option<Seen>> {
    let (mut client, daemon) = match ask(paths, &Request::Status).await? {
        None => return Ok(None),
        Some((client, Reply::Status(daemon))) => (client, daemon),
        Some(_) => return Err(something_else().into()),
    };
    let batch = |reply| match reply {
        Reply::Healths(batch) => Some(batch),
        _ => None,
    };
    let mirrors = rest(&mut client, batch).await?;
    Ok(Some(Seen { daemon, mirrors }))
}

/// Prints, over what stands there when it is a screen. Says whether somebody reads it.
fn shown(is_screen: bool, text: &str) -> io::Result<bool> {
    let mut out = io::stdout();
    let clear = if is_screen { CLEAR } else { "" };
    let printed = out.write_all(format!("{clear}{text}").as_bytes());
    match printed.and_then(|()| out.flush()) {
        Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        printed => printed.map(|()| true),
    }
}

impl Seen {
    fn text(&self) -> String {
        let (daemon, now) = (&self.daemon, now());
        let mut text = format!(
            "mirrord {} runs as process {} for {}\nsocket:  {}\nwebhook: {}\nmirrors: {} in {}\nclients: {}, {} of them waiting for a sync\n",
            daemon.version,
            daemon.pid,
            ago(daemon.uptime),
            daemon.socket.display(),
            daemon.webhook.as_deref().unwrap_or("off"),
            daemon.mirrors,
            daemon.mirrors_dir.display(),
            daemon.clients,
            daemon.waiting,
        );
        text.push_str(&format!("disk:    {}\n", self.disk()));
        let all = self.saved();
        if let Some(words) = saved(&all) {
            text.push_str(&format!("saved:   {words} in {}\n", answered(&all)));
        }
        let mirrors = self.mirrors.iter().map(|mirror| line(mirror, now));
        let clones = daemon.first_clones.iter().map(|clone| {
            let words = format!("{}; {}", first_clone(clone), masked(clone.url.as_bytes()));
            (masked(clone.name.as_bytes()), words)
        });
        let lines: Vec<_> = mirrors.chain(clones).collect();
        if !lines.is_empty() {
            text.push('\n');
        }
        let width = lines.iter().map(|(name, _)| name.chars().count()).max();
        let width = width.unwrap_or_default();
        for (name, words) in &lines {
            text.push_str(&format!("{name:width$}  {words}\n"));
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
                text.push_str(&match expiry(expires) {
                    (when, true) => format!("warning: the token of {name} {when}\n"),
                    (when, false) => format!("token:   that of {name} {when}\n"),
                });
            }
        }
        text
    }

    /// What all mirrors take, in bytes.
    fn size(&self) -> u64 {
        self.mirrors.iter().map(|mirror| mirror.size).sum()
    }

    fn disk(&self) -> String {
        let taken = size(self.size() as f64);
        match self.daemon.disk_budget {
            Some(budget) => format!("{taken} of {}", size(budget as f64)),
            None => taken,
        }
    }

    fn saved(&self) -> Saved {
        sum(self.mirrors.iter().map(|mirror| &mirror.saved))
    }

    fn described(&self) -> Value {
        let daemon = &self.daemon;
        let infos = || self.mirrors.iter().map(|mirror| &mirror.info);
        let needy = infos().filter(|info| info.needs_you);
        let needy: Value = needy
            .map(|info| json!({ "name": info.name, "reason": info.failing }))
            .collect();
        let tokens = infos().filter_map(|info| Some((&info.name, info.expires?)));
        let tokens: Value = tokens
            .map(|(name, at)| json!({ "name": name, "expires": date(at) }))
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
            "saved": saved_in_json(&self.saved()),
            "clients": daemon.clients,
            "waiting": daemon.waiting,
            "syncing": daemon.syncing,
            "first_clones": daemon.first_clones.iter().map(first_clone_in_json).collect::<Value>(),
            "needs_you": needy,
            "tokens": tokens,
            "states": self.mirrors.iter().map(in_json).collect::<Value>(),
        })
    }
}

/// One mirror, by name, and how it is.
fn line(mirror: &Health, now: u64) -> (String, String) {
    let words = [
        Some(freshness(mirror, now)),
        next(mirror),
        Some(holds(mirror)),
        saved(&mirror.saved).map(|words| format!("saved {words}")),
    ];
    let words: Vec<_> = words.into_iter().flatten().collect();
    (masked(mirror.info.name.as_bytes()), words.join("; "))
}

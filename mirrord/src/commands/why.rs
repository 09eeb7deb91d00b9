//! `mirrord why`: how fresh a mirror is, what decides that, and what would change it.

use std::process::ExitCode;

use clap::Args;
use common::{
    paths::Paths,
    progress::masked,
    protocol::{Shown, Why as Reason},
};
use serde_json::json;

use super::{
    converse,
    health::{answered, freshness, holds, next, now, saved},
    mirror,
    print::{ago, print, print_json, quoted},
    show::shown,
};
use crate::process::local_time::time;

/// Say how fresh a mirror is, what decides that, and what would change it
///
/// What the next fetch will do, what happens when upstream cannot be asked, when the mirror
/// is brought in step without anybody asking, and whether it goes when nobody uses it: each
/// with the setting that says so.
///
///     mirrord why project
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Why {
    /// The mirror's name, or its URL
    name: String,
    /// Print it as one JSON object
    #[arg(long)]
    json: bool,
}

/// Something that is so, and what would change it.
struct Said {
    about: &'static str,
    words: String,
    change: Option<String>,
}

impl Why {
    /// Asks and prints.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let (shown, _) = converse(shown(paths, mirror(&self.name)?))?;
        let said = said(&shown, now());
        if self.json {
            let each = said.iter().map(
                |said| json!({ "about": said.about, "is": said.words, "change": said.change }),
            );
            let name = &shown.health.info.name;
            print_json(&json!({ "name": name, "why": each.collect::<Vec<_>>() }))?;
        } else {
            let mut text = format!("{}\n", masked(shown.health.info.name.as_bytes()));
            for said in &said {
                text.push_str(&format!("  {}: {}\n", said.about, said.words));
                if let Some(change) = &said.change {
                    text.push_str(&format!("    {change}\n"));
                }
            }
            print(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn said(shown: &Shown, now: u64) -> Vec<Said> {
    vec![
        fresh(shown, now),
        fetch(shown, now),
        failing(shown),
        unasked(shown),
        kept(shown, now),
    ]
}

fn fresh(shown: &Shown, now: u64) -> Said {
    let health = &shown.health;
    let synced = health.info.synced.map(|at| format!(" ({})", time(at)));
    let last = match (&health.info.failing, synced) {
        (None, synced) => synced.unwrap_or_default(),
        (Some(_), Some(synced)) => format!("; it was last in step{synced}"),
        (Some(_), None) => String::new(),
    };
    let change = if health.info.syncing {
        None
    } else if health.info.needs_you {
        let set = format!("mirrord set {} --help", name(shown));
        Some(format!(
            "a login that upstream takes: '{set}' says how to give it one, or fetch where you can be asked"
        ))
    } else {
        Some(format!(
            "'mirrord sync {}' brings it in step now",
            name(shown)
        ))
    };
    Said {
        about: "now",
        words: format!("{}{last}", freshness(health, now)),
        change,
    }
}

/// What the next fetch does.
fn fetch(shown: &Shown, now: u64) -> Said {
    let (name, span) = (name(shown), setting(shown, "fresh-for"));
    let is_young = shown.health.info.synced.is_some_and(|synced| {
        let age = now.saturating_sub(synced);
        seconds(span).is_some_and(|span| age < span)
    });
    let (words, change) = if shown.in_doubt {
        (
            "asks upstream, however fresh the mirror is: a push may have reached it, or what is tracked has changed".to_owned(),
            None,
        )
    } else if is_young {
        (
            format!("is served from here without asking: fresh-for is '{span}'"),
            Some(format!(
                "'mirrord set {name} --fresh-for 0s' lets every fetch ask"
            )),
        )
    } else if setting(shown, "sync-on-fetch") == "no" {
        (
            "is served from here without asking: sync-on-fetch is 'no'".to_owned(),
            Some(format!(
                "'mirrord set {name} --sync-on-fetch yes' lets every fetch ask"
            )),
        )
    } else {
        (
            format!("asks upstream first: sync-on-fetch is 'yes', fresh-for is '{span}'"),
            Some(format!(
                "'mirrord set {name} --fresh-for 10m' lets an answer be ten minutes old, --sync-on-fetch no any age"
            )),
        )
    };
    Said {
        about: "a fetch",
        words,
        change,
    }
}

/// What a fetch gets when upstream cannot be asked.
fn failing(shown: &Shown) -> Said {
    let name = name(shown);
    let (words, change) = match setting(shown, "stale") {
        "fail" => (
            "a fetch fails: stale is 'fail'",
            format!(
                "'mirrord set {name} --stale serve' serves what is here, with its age; MIRROR_STALE=serve does for one command"
            ),
        ),
        _ => (
            "a fetch is served from here, and says how old that is: stale is 'serve'",
            format!(
                "'mirrord set {name} --stale fail' lets it fail; MIRROR_STALE=fail does for one command"
            ),
        ),
    };
    Said {
        about: "upstream down",
        words: words.to_owned(),
        change: Some(change),
    }
}

/// When it is brought in step without anybody asking.
fn unasked(shown: &Shown) -> Said {
    let (name, every) = (name(shown), setting(shown, "every"));
    let why = shown.health.next.map(|next| next.why);
    let next = next(&shown.health).unwrap_or_else(|| "it runs".to_owned());
    let (words, change) = match why {
        None | Some(Reason::Never) => (
            format!("{next}: every is '{every}'"),
            Some(format!(
                "'mirrord set {name} --every 1h' brings it in step about hourly"
            )),
        ),
        Some(Reason::NeedsYou) => (
            "not before its login is mended: too many failures would shut you out".to_owned(),
            None,
        ),
        Some(Reason::Interval) => (
            format!("{next}: every is '{every}'"),
            Some(format!(
                "'mirrord set {name} --every 10m' goes more often, --every never not at all; 'mirrord webhook on' lets upstream tell"
            )),
        ),
        Some(Reason::Retry | Reason::HostRests) => (
            format!(
                "{next}: it waits longer after each failure, up to a quarter of an hour, or as long as upstream asks"
            ),
            Some(format!("'mirrord sync {name}' tries now")),
        ),
        Some(Reason::Refused) => (
            format!("{next}: upstream refuses it, and that seldom passes by itself"),
            Some(format!(
                "'mirrord test {name}' says what is wrong, step by step"
            )),
        ),
        Some(Reason::Webhook) => (next, None),
    };
    Said {
        about: "nobody asking",
        words,
        change,
    }
}

/// What it takes and saves, and for how long it stays.
fn kept(shown: &Shown, now: u64) -> Said {
    let (name, health) = (name(shown), &shown.health);
    let saved =
        saved(&health.saved).map(|words| format!(", saved {words} in {}", answered(&health.saved)));
    let used = health
        .used
        .map(|used| format!(", last used {} ago", ago(now.saturating_sub(used))));
    let has = format!(
        "{}{}{}",
        holds(health),
        saved.unwrap_or_default(),
        used.unwrap_or_default()
    );
    let keep_unused = shown.keep_unused.map(|time| ago(time.as_secs()));
    let (stays, change) = match (health.automatic, keep_unused) {
        (false, _) => (
            "it stays until it is removed".to_owned(),
            format!("'mirrord remove {name}' removes it"),
        ),
        (true, _) if health.locals > 0 => (
            "it stays while it has branches or tags of its own".to_owned(),
            format!("'mirrord remove {name} --force' removes it, and leaves them in a bundle"),
        ),
        (true, unused) => {
            let unused = unused.map(|time| format!("nobody has used it for {time}, or "));
            let unused = unused.unwrap_or_default();
            (
                format!("a clone has made it, and it goes when {unused}disk-budget is exceeded"),
                format!(
                    "'mirrord set {name} --description TEXT', or any other setting, makes it yours: then it stays"
                ),
            )
        }
    };
    Said {
        about: "on disk",
        words: format!("{has}; {stays}"),
        change: Some(change),
    }
}

fn name(shown: &Shown) -> String {
    quoted(&masked(shown.health.info.name.as_bytes()))
}

fn setting<'s>(shown: &'s Shown, key: &str) -> &'s str {
    let mut settings = shown.settings.iter();
    let found = settings.find(|(each, _)| each == key);
    found.map_or("", |(_, value)| value.as_str())
}

/// A time span as settings are shown.
fn seconds(span: &str) -> Option<u64> {
    let unit = match span.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u64 = span[..span.len() - 1].parse().ok()?;
    number.checked_mul(unit)
}

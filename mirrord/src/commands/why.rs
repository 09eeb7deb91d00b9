//! `mirrord why`: explains how fresh a mirror is, which settings decide that, and what would change it.

use std::process::ExitCode;

use clap::Args;
use common::{
    paths::Paths,
    protocol::{Shown, Why as Reason},
    text::{masked, shell_word, time_span},
};
use serde_json::json;

use super::{
    block_on,
    health::{freshness_text, next_sync_text, now, saved_text, served_text, size_text},
    print::{print, print_json},
    resolve_mirror,
    show::show_mirror,
};
use crate::process::local_time::time;

/// Say how fresh a mirror is, what decides that, and what would change it
///
/// What the next fetch will do, what happens when upstream cannot be asked, when the next
/// scheduled sync is, and whether the mirror is removed when nobody uses it: each with the
/// setting that decides it.
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

/// One fact about a mirror.
struct Fact {
    /// What the fact is about.
    topic: &'static str,
    /// The fact, with the setting that decides it.
    fact: String,
    /// What would change it.
    change: Option<String>,
}

impl Why {
    /// Asks the daemon for the mirror, and prints what decides its freshness.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let shown = block_on(show_mirror(paths, resolve_mirror(&self.name)?))?.mirror;
        let facts = facts(&shown, now());
        if self.json {
            let objects = facts
                .iter()
                .map(|fact| json!({ "about": fact.topic, "is": fact.fact, "change": fact.change }));
            let name = &shown.health.info.name;
            print_json(&json!({ "name": name, "why": objects.collect::<Vec<_>>() }))?;
        } else {
            let mut text = format!("{}\n", masked(shown.health.info.name.as_bytes()));
            for Fact {
                topic,
                fact,
                change,
            } in &facts
            {
                text.push_str(&format!("  {topic}: {fact}\n"));
                if let Some(change) = change {
                    text.push_str(&format!("    {change}\n"));
                }
            }
            print(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn facts(shown: &Shown, now: u64) -> Vec<Fact> {
    vec![
        freshness(shown, now),
        next_fetch(shown, now),
        unreachable_upstream(shown),
        scheduled_syncs(shown),
        disk_use(shown, now),
    ]
}

/// How fresh the mirror is.
fn freshness(shown: &Shown, now: u64) -> Fact {
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
    Fact {
        topic: "now",
        fact: format!("{}{last}", freshness_text(health, now)),
        change,
    }
}

/// What the next fetch does.
fn next_fetch(shown: &Shown, now: u64) -> Fact {
    let (name, span) = (name(shown), setting(shown, "fresh-for"));
    let is_fresh = shown.health.info.synced.is_some_and(|synced| {
        let age = now.saturating_sub(synced);
        seconds(span).is_some_and(|span| age < span)
    });
    let (fact, change) = if shown.in_doubt {
        (
            "asks upstream, however fresh the mirror is: a push may have reached it, or what is tracked has changed".to_owned(),
            None,
        )
    } else if is_fresh {
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
    Fact {
        topic: "a fetch",
        fact,
        change,
    }
}

/// What a fetch gets if upstream cannot be reached.
fn unreachable_upstream(shown: &Shown) -> Fact {
    let name = name(shown);
    let (fact, change) = match setting(shown, "stale") {
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
    Fact {
        topic: "upstream down",
        fact: fact.to_owned(),
        change: Some(change),
    }
}

/// When the mirror is synced without a fetch, a push or a command.
fn scheduled_syncs(shown: &Shown) -> Fact {
    let (name, every) = (name(shown), setting(shown, "every"));
    let why = shown.health.next.map(|next| next.why);
    let next = next_sync_text(&shown.health).unwrap_or_else(|| "it runs".to_owned());
    let (fact, change) = match why {
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
    Fact {
        topic: "nobody asking",
        fact,
        change,
    }
}

/// What the mirror takes and saves, and for how long it is kept.
fn disk_use(shown: &Shown, now: u64) -> Fact {
    let (name, health) = (name(shown), &shown.health);
    let saved = saved_text(&health.saved)
        .map(|amount| format!(", saved {amount} in {}", served_text(&health.saved)));
    let used = health
        .used
        .map(|used| format!(", last used {} ago", time_span(now.saturating_sub(used))));
    let uses = format!(
        "{}{}{}",
        size_text(health),
        saved.unwrap_or_default(),
        used.unwrap_or_default()
    );
    let keep_unused = shown.keep_unused.map(|time| time_span(time.as_secs()));
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
    Fact {
        topic: "on disk",
        fact: format!("{uses}; {stays}"),
        change: Some(change),
    }
}

fn name(shown: &Shown) -> String {
    shell_word(&masked(shown.health.info.name.as_bytes()))
}

fn setting<'s>(shown: &'s Shown, key: &str) -> &'s str {
    let mut settings = shown.settings.iter();
    let found = settings.find(|(each, _)| each == key);
    found.map_or("", |(_, value)| value.as_str())
}

/// The seconds of a time span as the daemon prints it in settings.
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

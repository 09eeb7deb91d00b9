//! Texts and JSON about the state of a mirror, for `status`, `why` and `show`.

use std::time::{Duration, SystemTime};

use common::{
    protocol::{Damage, FirstClone, Health, Next, Progress, Saved, Why},
    text::{byte_size, masked, time_span, unix_seconds},
};
use serde_json::{Value, json};

use super::{list::mirror_json, print::count};

/// The current time, in seconds since 1970.
pub(super) fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

/// How fresh a mirror is, or what is wrong with it.
pub(super) fn freshness_text(health: &Health, now: u64) -> String {
    let info = &health.info;
    let since = |at: u64| time_span(now.saturating_sub(at));
    if info.syncing {
        let progress = health.progress.as_ref().and_then(progress_text);
        return match progress {
            Some(progress) => format!("syncing: {progress}"),
            None => "syncing".to_owned(),
        };
    }
    if let Some(damage) = &health.damage {
        return damage_text(damage);
    }
    let why = info.failing.as_ref().map(|why| masked(why.as_bytes()));
    match (why, info.synced) {
        (Some(why), _) if info.needs_you => format!("needs you: {why}"),
        (Some(why), _) => match health.behind {
            Some(behind) => format!("behind since {}: {why}", since(behind)),
            None => format!("behind: {why}"),
        },
        (None, Some(synced)) => format!("in step {} ago", since(synced)),
        (None, None) => "not yet in step".to_owned(),
    }
}

/// What is damaged in a mirror, and what is done about it.
fn damage_text(damage: &Damage) -> String {
    let what = masked(damage.what.as_bytes());
    match (damage.asked, &*damage.lost) {
        (false, _) => format!("damaged: {what}; what upstream has is fetched again"),
        (true, []) => format!("damaged: {what}"),
        (true, lost) => {
            let lost: Vec<_> = lost.iter().map(|name| masked(name.as_bytes())).collect();
            let lost = lost.join(", ");
            format!("damaged: something is lost of {lost}; push it again from where it still is")
        }
    }
}

/// When the next scheduled sync is, and why not sooner.
pub(super) fn next_sync_text(health: &Health) -> Option<String> {
    let Next { wait, why, running } = health.next?;
    if running || health.info.syncing {
        return None;
    }
    let soon = wait.map(wait_text);
    Some(match (why, soon) {
        (Why::NeedsYou, _) => "not tried again before that is mended".to_owned(),
        (Why::Never, _) | (_, None) => "next sync when somebody asks".to_owned(),
        (Why::Interval, Some(soon)) => format!("next sync {soon}"),
        (Why::Webhook, Some(soon)) => format!("upstream has something new, next sync {soon}"),
        (Why::Retry | Why::Refused, Some(soon)) => format!("next try {soon}"),
        (Why::HostRests, Some(soon)) => format!("its host is left alone, next try {soon}"),
    })
}

/// The size of a mirror, and the number of its local refs.
pub(super) fn size_text(health: &Health) -> String {
    let size = byte_size(health.size as f64);
    match health.locals {
        0 => size,
        locals => format!("{size}, {} of its own", count(locals, "ref")),
    }
}

/// How much the mirror has saved clients to download; `None` if nothing.
pub(super) fn saved_text(saved: &Saved) -> Option<String> {
    let seconds = saved.milliseconds.unwrap_or_default() / 1000;
    let bytes = (saved.bytes > 0).then(|| byte_size(saved.bytes as f64))?;
    Some(match seconds {
        0 => bytes,
        seconds => format!("{bytes} and {}", time_span(seconds)),
    })
}

/// The number of clones and fetches that were served from the mirror.
pub(super) fn served_text(saved: &Saved) -> String {
    format!(
        "{} and {}",
        count(saved.clones, "clone"),
        match saved.fetches {
            1 => "1 fetch".to_owned(),
            fetches => format!("{fetches} fetches"),
        }
    )
}

/// What all mirrors have saved together.
pub(super) fn total_saved<'s>(each: impl Iterator<Item = &'s Saved>) -> Saved {
    each.fold(Saved::default(), |sum, saved| Saved {
        clones: sum.clones + saved.clones,
        fetches: sum.fetches + saved.fetches,
        bytes: sum.bytes.saturating_add(saved.bytes),
        milliseconds: match (sum.milliseconds, saved.milliseconds) {
            (Some(sum), Some(each)) => Some(sum.saturating_add(each)),
            (sum, each) => sum.or(each),
        },
    })
}

/// What a mirror has saved, for scripts.
pub(super) fn saved_json(saved: &Saved) -> Value {
    json!({
        "clones": saved.clones,
        "fetches": saved.fetches,
        "bytes": saved.bytes,
        "seconds": saved.milliseconds.map(|time| time / 1000),
    })
}

/// The state of a mirror, for scripts.
pub(super) fn health_json(health: &Health) -> Value {
    let mut all = mirror_json(&health.info);
    all["behind_since"] = json!(health.behind);
    let wait = health.next.and_then(|next| next.wait);
    all["next_sync_in_seconds"] = json!(wait.map(|wait| wait.as_secs()));
    all["next_sync_why"] = json!(health.next.map(|next| match next.why {
        Why::Interval => "interval",
        Why::Webhook => "webhook",
        Why::Retry => "retry",
        Why::Refused => "refused",
        Why::HostRests => "host-rests",
        Why::NeedsYou => "needs-you",
        Why::Never => "never",
    }));
    all["progress"] = json!(health.progress.as_ref().and_then(progress_text));
    all["size_bytes"] = json!(health.size);
    all["local_refs"] = json!(health.locals);
    all["last_used"] = json!(health.used);
    all["automatic"] = json!(health.automatic);
    all["saved"] = saved_json(&health.saved);
    all["damage"] = json!(health.damage.as_ref().map(|damage| json!({
        "what": damage.what,
        "asked_upstream": damage.asked,
        "lost": damage.lost,
    })));
    let changed = health.changed_files.iter();
    let changed = changed.map(|file| json!({ "name": file.name, "at": file.at }));
    all["changed_files"] = changed.collect();
    all
}

/// The progress of a first clone.
pub(super) fn first_clone_text(clone: &FirstClone) -> String {
    match clone.progress.as_ref().and_then(progress_text) {
        Some(progress) => format!("first clone: {progress}"),
        None => "first clone".to_owned(),
    }
}

/// A first clone for scripts: the keys of a mirror, and the progress.
pub(super) fn first_clone_json(clone: &FirstClone) -> Value {
    let (amount, bytes) = match &clone.progress {
        Some(Progress::Receiving(amount, bytes)) => (Some(amount), Some(bytes)),
        Some(Progress::Resolving(amount)) => (Some(amount), None),
        _ => (None, None),
    };
    json!({
        "name": clone.name,
        "url": clone.url,
        "git_dir": null,
        "last_sync": null,
        "syncing": true,
        "first_clone": {
            "progress": clone.progress.as_ref().and_then(progress_text),
            "done": amount.map(|amount| amount.done),
            "total": amount.map(|amount| amount.of),
            "received_bytes": bytes,
        },
    })
}

fn wait_text(wait: Duration) -> String {
    match wait.as_secs() {
        0 => "now".to_owned(),
        seconds => format!("in {}", time_span(seconds)),
    }
}

/// The progress of a sync.
fn progress_text(progress: &Progress) -> Option<String> {
    Some(match progress {
        Progress::Asking { host, seconds } => {
            let host = masked(host.as_bytes());
            format!("no answer from {host} for {}", time_span((*seconds).into()))
        }
        Progress::Receiving(amount, bytes) => {
            let percent = (amount.done * 100)
                .checked_div(amount.of)
                .unwrap_or_default();
            format!(
                "receiving objects, {percent}%, {}",
                byte_size(*bytes as f64)
            )
        }
        Progress::Resolving(amount) => {
            let percent = (amount.done * 100)
                .checked_div(amount.of)
                .unwrap_or_default();
            format!("resolving deltas, {percent}%")
        }
        Progress::Checking => "checking what came".to_owned(),
        Progress::Remote(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use common::protocol::{Amount, MirrorInfo};

    use super::*;

    const NOW: u64 = 1_795_514_403;

    fn health() -> Health {
        Health {
            info: MirrorInfo {
                name: "work".into(),
                url: "https://gitlab.example/group/project.git".into(),
                git_dir: "/m/work.git".into(),
                synced: Some(NOW - 40),
                failing: None,
                needs_you: false,
                expires: None,
                description: String::new(),
                syncing: false,
            },
            behind: None,
            next: Some(Next {
                wait: Some(Duration::from_secs(52 * 60)),
                why: Why::Interval,
                running: false,
            }),
            progress: None,
            size: 3 << 20,
            locals: 0,
            used: Some(NOW - 60),
            automatic: false,
            saved: Saved::default(),
            damage: None,
            changed_files: Vec::new(),
        }
    }

    fn texts(health: &Health) -> (String, Option<String>) {
        (freshness_text(health, NOW), next_sync_text(health))
    }

    #[test]
    fn the_text_of_a_mirror_has_its_freshness_and_its_next_sync() {
        let mut mirror = health();
        let (fresh, next_sync) = texts(&mirror);
        assert_eq!(fresh, "in step 40 seconds ago");
        assert_eq!(next_sync.as_deref(), Some("next sync in 52 minutes"));
        mirror.info.failing = Some("cannot reach 'x': connection refused".into());
        mirror.behind = Some(NOW - 3 * 3600);
        mirror.next = mirror.next.map(|next| Next {
            wait: Some(Duration::from_secs(240)),
            why: Why::Retry,
            ..next
        });
        let (fresh, next_sync) = texts(&mirror);
        assert_eq!(
            fresh,
            "behind since 3 hours: cannot reach 'x': connection refused"
        );
        assert_eq!(next_sync.as_deref(), Some("next try in 4 minutes"));
        mirror.info.needs_you = true;
        mirror.next = mirror.next.map(|next| Next {
            wait: None,
            why: Why::NeedsYou,
            ..next
        });
        let (fresh, next_sync) = texts(&mirror);
        assert!(fresh.starts_with("needs you: cannot"), "{fresh}");
        assert_eq!(
            next_sync.as_deref(),
            Some("not tried again before that is mended")
        );
    }

    #[test]
    fn the_progress_of_a_running_sync_is_masked_for_the_terminal() {
        let mut mirror = health();
        mirror.info.syncing = true;
        mirror.progress = Some(Progress::Receiving(Amount { done: 45, of: 90 }, 5 << 20));
        let (fresh, next_sync) = texts(&mirror);
        assert_eq!(fresh, "syncing: receiving objects, 50%, 5.00 MiB");
        assert_eq!(next_sync, None);
        mirror.progress = Some(Progress::Asking {
            host: "gitlab\u{1b}[2J".into(),
            seconds: 3,
        });
        let (fresh, _) = texts(&mirror);
        assert!(!fresh.contains('\u{1b}'), "{fresh:?}");
    }

    #[test]
    fn a_mirror_that_has_saved_nothing_has_no_text_for_it() {
        let mut one = Saved::default();
        assert_eq!(saved_text(&one), None);
        one.fetches = 7;
        assert_eq!(
            saved_text(&one),
            None,
            "nothing was downloaded, nor would have been"
        );
        (one.clones, one.bytes) = (1, 3 << 30);
        assert_eq!(saved_text(&one).as_deref(), Some("3.00 GiB"));
        one.milliseconds = Some(125_999);
        assert_eq!(saved_text(&one).as_deref(), Some("3.00 GiB and 2 minutes"));
        assert_eq!(served_text(&one), "1 clone and 7 fetches");
        let none = Saved::default();
        let all = total_saved([&one, &none, &one].into_iter());
        assert_eq!((all.clones, all.fetches, all.bytes), (2, 14, 6 << 30));
        assert_eq!(all.milliseconds, Some(251_998));
    }

    #[test]
    fn the_size_text_counts_local_refs() {
        let mut mirror = health();
        assert_eq!(size_text(&mirror), "3.00 MiB");
        mirror.locals = 1;
        assert_eq!(size_text(&mirror), "3.00 MiB, 1 ref of its own");
    }
}

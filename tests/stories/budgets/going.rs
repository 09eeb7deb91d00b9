//! Mirrors that are removed: why, in which order, and how their next use makes them again.

use std::fs;

use serde_json::Value;

use super::{DAY, shelf};

#[test]
fn a_mirror_that_was_not_used_for_a_month_is_removed_and_its_next_use_makes_it_again() {
    let shelf = shelf();
    let project = shelf.shelve("project");
    shelf.shelve("other");
    shelf.unused_for("project", 31);
    shelf.unused_for("other", 29);
    let follow = shelf.follow_log();
    follow.printed("unused for 31 days");
    assert_eq!(shelf.mirror_dir("project"), None);
    assert!(shelf.mirror_dir("other").is_some(), "it has a day left");
    let name = shelf.mirror_name("project");
    // Who asks what became of it is told.
    insta::assert_snapshot!(shelf.mirrord_shows(&["log", &name, "-n", "1"]), @"[date]  http+gitlab.example/group/project  removal          unused for 31 days, [size], [time]");
    let json = shelf.mirrord(&["log", &name, "--json", "-n", "1"]).ok();
    let entry: Value = serde_json::from_str(json.line()).expect("JSON");
    let [what, outcome, reason] = ["what", "outcome", "reason"].map(|key| &entry[key]);
    assert_eq!(
        [what, outcome, reason],
        ["removal", "removed", "unused for 31 days"]
    );
    let text = format!("'{name}' is removed, and its next use makes it anew: unused for 31 days");
    assert!(shelf.world.log().contains(&text), "{}", shelf.world.log());
    // The old clone goes on, and so does a new one.
    project.commit("main", "file", "next");
    shelf.git("project", &["pull", "-q"]).ok();
    assert!(shelf.mirror_dir("project").is_some());
    shelf.clone(&shelf.url_of("project"), "again").ok();
    let tip = shelf.git("again", &["rev-parse", "HEAD"]).ok();
    assert_eq!(Some(tip.line().to_owned()), project.tip("main"));
    let fsck = shelf.git("project", &["fsck", "--full", "--strict"]);
    fsck.ok();
}

#[test]
fn a_fetch_a_push_and_mirrord_sync_are_uses_and_a_scheduled_sync_is_none() {
    let shelf = shelf();
    shelf.mirrord(&["config", "every", "1s"]).ok();
    for name in ["fetched", "pushed", "synced", "scheduled"] {
        shelf.shelve(name);
    }
    for name in ["fetched", "pushed", "synced", "scheduled"] {
        shelf.unused_for(name, 29);
    }
    shelf.git("fetched", &["fetch", "-q"]).ok();
    let push = ["push", "-q", "origin", "HEAD:refs/heads/new"];
    shelf.git("pushed", &push).ok();
    shelf.mirrord(&["sync", "-q", &shelf.url_of("synced")]).ok();
    let follow = shelf
        .mirrord(&["log", "-f", "-n", "0", &shelf.url_of("scheduled")])
        .start();
    follow.printed("(schedule)");
    let is_young = |name: &str| {
        let used = fs::metadata(shelf.mirror_of(name).join("used")).expect("noted");
        let age = used.modified().expect("known").elapsed();
        age.expect("past") < DAY
    };
    for name in ["fetched", "pushed", "synced"] {
        assert!(is_young(name), "{name}");
    }
    assert!(!is_young("scheduled"));
}

#[test]
fn over_the_budget_mirrors_are_removed_by_last_use_and_no_more_than_needed() {
    let shelf = shelf();
    let names = ["third", "first", "fourth", "second"];
    for name in names {
        shelf.shelve(name);
    }
    let all = shelf.status_json()["size_bytes"]
        .as_u64()
        .expect("a number");
    let one = shelf.state_of("first")["size_bytes"]
        .as_u64()
        .expect("a number");
    assert!(all > 3 * one && one > 1024, "{one} of {all}");
    // Room for two of them, and not for three.
    let budget = format!("{}K", all * 5 / 8 / 1024);
    shelf.mirrord(&["config", "disk-budget", &budget]).ok();
    for (name, days) in [("first", 20), ("second", 10), ("third", 5), ("fourth", 2)] {
        shelf.unused_for(name, days);
    }
    let follow = shelf.follow_log();
    follow.printed("/second ");
    let log = shelf.mirrord(&["log", "--json", "-n", "2"]).ok().stdout;
    let gone: Vec<_> = log.lines().map(|line| line.contains("/first\"")).collect();
    assert_eq!(gone, [true, false], "{log}");
    assert_eq!(
        log.matches("this one was used longest ago").count(),
        2,
        "{log}"
    );
    assert!(shelf.mirror_dir("third").is_some() && shelf.mirror_dir("fourth").is_some());
    insta::assert_snapshot!(shelf.status_line("disk:"), @"disk:    [size] of [size]");
    // It comes back, and nothing that was used lately goes for that.
    shelf.clone(&shelf.url_of("first"), "again").ok();
    assert!(shelf.mirror_dir("third").is_some());
}

#[test]
fn a_budget_that_the_remaining_mirrors_exceed_is_logged_once() {
    let shelf = shelf();
    shelf.shelve("project");
    shelf.mirrord(&["config", "disk-budget", "1K"]).ok();
    shelf.mirrord(&["stop"]).ok();
    shelf.mirrord(&["list"]).ok();
    shelf.logs(", the disk budget is 1024 bytes, and what is left is");
    assert!(
        shelf.mirror_dir("project").is_some(),
        "it was used just now"
    );
}

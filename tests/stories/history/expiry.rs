//! How long the past is kept: rules of time are tried in mirrord itself; here the past is made old by hand.

use std::time::SystemTime;

use super::{Stage, cloned, past};

/// Seconds since 1970, so many days ago.
fn days_ago(days: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("later than 1970").as_secs() - days * 86_400
}

/// A stage whose `topic` was deleted and whose `other` was, one of them so many days ago and the other so many.
fn aged(topic: u64, other: u64) -> (Stage, [String; 2]) {
    let stage = cloned(&[]);
    let made = stage.project.commit("other", "other", "begun");
    stage.sync_project();
    let deleted = stage.upstream_tip("topic");
    for name in ["topic", "other"] {
        stage.project.delete(name);
        stage.sync_project();
    }
    stage.mirrord(&["stop"]).ok();
    stage.happened(&[days_ago(other), days_ago(topic)]);
    (stage, [deleted, made])
}

#[test]
fn after_thirty_days_the_next_sync_with_changes_removes_an_old_tip() {
    let (stage, [_, other]) = aged(31, 29);
    stage.project.commit("main", "a", "next");
    stage.sync_project();
    assert_eq!(
        stage.history(),
        [past("refs/heads/other", &other, "deleted")]
    );
    let ran = stage.restoring(&["topic"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: there is no history of 'topic'
        hint: 'mirrord history NAME' shows what can be brought back
    ");
    stage.restore(&["other"]);
    stage.shows("refs/heads/other", &other);
}

#[test]
fn a_push_with_changes_removes_an_expired_tip_too() {
    let (stage, [_, other]) = aged(31, 29);
    stage.commit("ours", "mine");
    stage.push("ours", &["main"]).ok();
    assert_eq!(
        stage.history(),
        [past("refs/heads/other", &other, "deleted")]
    );
}

#[test]
fn keep_history_keeps_an_old_tip_longer() {
    let (stage, [topic, _]) = aged(59, 40);
    stage
        .mirrord(&["set", "project", "--keep-history", "60d"])
        .ok();
    stage.project.commit("main", "a", "next");
    stage.sync_project();
    assert_eq!(stage.history().len(), 2);
    stage
        .mirrord(&["set", "project", "--keep-history", "50d"])
        .ok();
    stage.project.commit("main", "a", "and next");
    stage.sync_project();
    assert_eq!(stage.history().len(), 1);
    let ran = stage.restoring(&["topic", "--at", &topic]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: there is no history of 'topic'
        hint: 'mirrord history NAME' shows what can be brought back
    ");
    stage.is_sound();
}

#[test]
fn a_past_of_the_future_by_a_clock_that_was_wrong_is_kept_and_stays_in_order() {
    let (stage, _) = aged(1, 0);
    stage.mirrord(&["stop"]).ok();
    let future = days_ago(0) + 400 * 86_400;
    stage.happened(&[future, days_ago(40)]);
    let main = stage.upstream_tip("main");
    stage.project.force("main", "main~1");
    stage.sync_project();
    let listed = stage.history();
    assert_eq!(
        listed[0],
        past("refs/heads/main", &main, "rewritten"),
        "the newest first"
    );
    assert_eq!(
        listed.len(),
        2,
        "the old one is gone, and that of the future stays"
    );
    stage.restore(&["main", "--as", "was"]);
    stage.shows("refs/heads/was", &main);
}

#[test]
fn a_mirror_that_keeps_no_history_keeps_nothing() {
    let stage = cloned(&["--keep-history", "0s"]);
    stage.project.force("main", "main~1");
    stage.project.delete("topic");
    stage.sync_project();
    assert_eq!(stage.history(), [], "of a sync");
    stage.ours(&["fetch", "-q"]).ok();
    stage
        .push(
            "ours",
            &["--force", "origin/main~1:refs/heads/main", ":refs/tags/v1"],
        )
        .ok();
    assert_eq!(stage.history(), [], "of a push");
    let refs = tests::refs(&stage.world, &stage.world.only_mirror());
    assert!(
        !refs
            .iter()
            .any(|(name, _)| name.starts_with("refs/mirror/")),
        "{refs:?}"
    );
    stage.is_sound();
}

#[test]
fn a_mirror_that_is_told_to_keep_no_history_forgets_what_it_had() {
    let stage = cloned(&[]);
    stage.project.delete("topic");
    stage.sync_project();
    assert_eq!(stage.history().len(), 1);
    stage
        .mirrord(&["set", "project", "--keep-history", "0s"])
        .ok();
    stage.project.commit("main", "a", "next");
    stage.sync_project();
    assert_eq!(stage.history(), []);
}

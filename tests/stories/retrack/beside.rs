//! Refspecs that change while somebody syncs, fetches, clones or pushes: the change waits, and nobody is disturbed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tests::{GitLab, On, Paused, Running, Signal, same_clone};

use crate::tracking::{NAME, Tracking};

/// A mirror of everything, and a clone of it. Upstream has moved on since.
fn moved_on() -> Tracking {
    let tracking = Tracking::new(|project| {
        project.history(3);
        project.commit("topic", "topic", "1");
    });
    tracking.add(&[]);
    tracking.clone("ours");
    tracking.project.commit("main", "file", "2");
    tracking.project.commit("topic", "topic", "2");
    tracking
}

/// Starts `mirrord set` beside what is held, and lets it go when the daemon has heard of it.
#[track_caller]
fn set_beside(tracking: &Tracking, track: &[&str], paused: &Paused, beside: Running) {
    paused.reached();
    let set = tracking.set(track).start();
    tracking.world.mirrord(["status"]).ok();
    assert!(!set.has_ended(), "it waits for {beside:?}");
    paused.release();
    let ran = beside.wait();
    assert!(ran.status.success(), "nobody is disturbed: {ran}");
    let set = set.wait();
    assert!(set.status.success(), "{set}");
}

/// Asserts that the mirror is what one that was always set so would be.
#[track_caller]
fn is_as_if_always(tracking: &Tracking, track: &[&str]) {
    tracking.plain("plain", track);
    tracking.plain_fetch("plain").ok();
    let synced = tracking.sync();
    assert_eq!(synced.stderr, "", "{synced}");
    let shown = tests::public_refs(&tracking.world, &tracking.world.only_mirror());
    let plain = tests::refs(&tracking.world, &tracking.world.path("plain"));
    assert_eq!(shown, plain);
    let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
    tracking
        .world
        .git(fsck)
        .env("GIT_DIR", tracking.world.only_mirror())
        .ok();
    let fetched = tracking.git("ours", &["fetch", "-q", "--prune"]);
    assert_eq!(fetched.stderr, "", "{fetched}");
}

const NARROW: [&str; 1] = ["+refs/heads/main"];

#[test]
fn a_change_waits_for_a_sync() {
    for on in [On::LsRefs, On::Fetch] {
        let tracking = moved_on();
        let paused = tracking.gitlab.pause_answer(on);
        let sync = tracking.world.mirrord(["sync", NAME]).start();
        set_beside(&tracking, &NARROW, &paused, sync);
        is_as_if_always(&tracking, &NARROW);
        let history = tracking.world.mirrord(["history", NAME, "topic"]).ok();
        let tip = tracking.project.tip("topic").expect("it is there");
        assert!(
            history.stdout.contains(&tip[..7]),
            "what it had last is remembered: {history}"
        );
    }
}

#[test]
fn a_change_waits_for_a_fetch_and_for_a_clone() {
    let tracking = moved_on();
    let paused = tracking.gitlab.pause(On::Fetch);
    let fetch = tracking.world.git(["fetch", "-q"]).at("ours").start();
    set_beside(&tracking, &NARROW, &paused, fetch);
    is_as_if_always(&tracking, &NARROW);

    let tracking = moved_on();
    let paused = tracking.gitlab.pause(On::LsRefs);
    let clone = tracking.clone_run("theirs").start();
    set_beside(
        &tracking,
        &["+refs/heads/*:refs/heads/up/*"],
        &paused,
        clone,
    );
    is_as_if_always(&tracking, &["+refs/heads/*:refs/heads/up/*"]);
    tracking.git("theirs", &["fsck", "--full"]);
    assert!(
        tracking.world.path("theirs/file").exists(),
        "it checked something out"
    );
}

#[test]
fn a_change_waits_for_a_push() {
    let moments = [
        (GitLab::pause as fn(&GitLab, On) -> Paused, On::PushInfoRefs),
        (GitLab::pause, On::Push),
        (GitLab::pause_answer, On::Push),
    ];
    for (pause, on) in moments {
        let tracking = moved_on();
        tracking.git("ours", &["fetch", "-q"]);
        let mine = tracking.commit("ours", "origin/topic", "mine");
        let paused = pause(&tracking.gitlab, on);
        let push = ["push", "-q", "origin", &format!("{mine}:refs/heads/topic")];
        let push = tracking.world.git(push).at("ours").start();
        set_beside(&tracking, &NARROW, &paused, push);
        assert_eq!(tracking.project.tip("topic"), Some(mine.clone()));
        assert_eq!(tracking.shown("refs/heads/topic"), None);
        is_as_if_always(&tracking, &NARROW);
        let restore = ["restore", NAME, "topic"];
        tracking.world.mirrord(restore).ok();
        assert_eq!(
            tracking.shown("refs/heads/topic"),
            Some(mine),
            "held at {on:?}"
        );
    }
}

#[test]
fn where_a_push_goes_is_decided_by_the_refspecs_of_that_moment() {
    let tracking = moved_on();
    tracking.set(&NARROW).ok();
    tracking.git("ours", &["fetch", "-q", "--prune"]);
    let mine = tracking.commit("ours", "origin/main", "mine");
    // git asks this hook when the mirror has been made fresh, and before anything is sent.
    let hook = tracking.world.path("ours/.git/hooks/pre-push");
    let during = |track: &str| {
        fs::create_dir_all(hook.parent().expect("it has one")).expect("ours");
        let script = format!("#!/bin/sh\nexec mirrord set {NAME} --track='{track}' >&2\n");
        fs::write(&hook, script).expect("ours");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("ours");
    };
    during("+refs/heads/*");
    tracking.git(
        "ours",
        &["push", "origin", &format!("{mine}:refs/heads/new")],
    );
    assert_eq!(
        tracking.project.tip("new"),
        Some(mine.clone()),
        "it was tracked when it came"
    );
    assert_eq!(tracking.shown("refs/heads/new"), Some(mine.clone()));
    during("+refs/heads/main");
    let before = tracking.project.refs();
    let pushed = tracking.git(
        "ours",
        &["push", "origin", &format!("{mine}:refs/heads/other")],
    );
    assert!(
        pushed.stderr.contains("other is local to this mirror"),
        "{pushed}"
    );
    assert_eq!(tracking.project.refs(), before, "it was local when it came");
    assert_eq!(tracking.shown("refs/heads/other"), Some(mine));
    fs::remove_file(&hook).expect("ours");
    let fetched = tracking.git("ours", &["fetch", "-q", "--prune"]);
    assert_eq!(fetched.stderr, "", "{fetched}");
}

#[test]
fn two_changes_that_wait_at_once_are_both_carried_out() {
    let tracking = moved_on();
    let paused = tracking.gitlab.pause(On::LsRefs);
    let sync = tracking.world.mirrord(["sync", NAME]).start();
    paused.reached();
    let changes = [
        tracking.set(&NARROW).start(),
        tracking
            .world
            .mirrord(["set", NAME, "--description", "what it is for"])
            .start(),
        tracking
            .world
            .mirrord(["set", NAME, "--stale", "fail"])
            .start(),
    ];
    tracking.world.mirrord(["status"]).ok();
    assert!(
        changes.iter().all(|change| !change.has_ended()),
        "they wait"
    );
    paused.release();
    drop(sync.wait());
    for change in changes {
        let ran = change.wait();
        assert!(ran.status.success(), "{ran}");
    }
    let show = tracking.show_settings();
    let says = [
        "description: what it is for",
        "stale: fail",
        "track: +refs/heads/main:refs/heads/main\n",
    ];
    for line in says {
        assert!(
            show.contains(line),
            "'{line}' was set and nobody undid it: {show}"
        );
    }
    is_as_if_always(&tracking, &NARROW);
}

#[test]
fn a_change_of_refspecs_that_is_interrupted_while_it_waits_blocks_nothing() {
    let tracking = moved_on();
    let paused = tracking.gitlab.pause(On::LsRefs);
    let sync = tracking.world.mirrord(["sync", NAME]).start();
    paused.reached();
    let set = tracking.set(&NARROW).start();
    tracking.world.mirrord(["status"]).ok();
    set.kill_group(Signal::INT);
    assert!(!set.wait().status.success());
    paused.release();
    let ran = sync.wait();
    assert!(ran.status.success(), "{ran}");
    let fetched = tracking.git("ours", &["fetch", "-q", "--prune"]);
    assert_eq!(fetched.stderr, "", "{fetched}");
    tracking.set(&["+refs/heads/topic"]).ok();
    is_as_if_always(&tracking, &["+refs/heads/topic"]);
}

#[test]
fn a_clone_that_was_made_before_goes_on_after_a_change() {
    let tracking = moved_on();
    tracking.git("ours", &["fetch", "-q"]);
    tracking.set(&["+refs/heads/*:refs/heads/up/*"]).ok();
    let fetched = tracking.git("ours", &["fetch", "-q", "--prune"]);
    assert_eq!(fetched.stderr, "", "{fetched}");
    let tip = tracking.project.tip("topic");
    assert_eq!(tracking.tip("ours", "origin/up/topic"), tip);
    assert_eq!(tracking.tip("ours", "origin/topic"), None);
    tracking.set(&[]).ok();
    tracking.git("ours", &["fetch", "-q", "--prune"]);
    tracking.git("ours", &["remote", "set-head", "origin", "--auto"]);
    tracking.git("ours", &["reset", "-q", "--hard", "origin/main"]);
    tracking.clone("fresh");
    same_clone(
        &tracking.world,
        &tracking.world.path("ours"),
        &tracking.world.path("fresh"),
    );
}

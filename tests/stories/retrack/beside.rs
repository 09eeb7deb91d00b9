//! Refspecs that change while somebody syncs, fetches, clones or pushes: the change waits, and nobody is disturbed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tests::{GitLab, On, Paused, Running, Signal, same_clone};

use crate::{stage::Stage, tracking::NAME};

/// A mirror of everything, and a clone of it. Upstream has moved on since.
fn moved_on() -> Stage {
    let stage = Stage::new(|project| {
        project.history(3);
        project.commit("topic", "topic", "1");
    });
    stage.add_tracking(NAME, &[]).ok();
    stage.clone(NAME, "ours").ok();
    stage.project.commit("main", "file", "2");
    stage.project.commit("topic", "topic", "2");
    stage
}

/// Starts `mirrord set` beside what is held, and lets it go when the daemon has heard of it.
#[track_caller]
fn set_beside(stage: &Stage, track: &[&str], paused: &Paused, beside: Running) {
    paused.reached();
    let set = stage.set_track(track).start();
    stage.world.mirrord(["status"]).ok();
    assert!(!set.has_ended(), "it waits for {beside:?}");
    paused.release();
    let ran = beside.wait();
    assert!(ran.status.success(), "nobody is disturbed: {ran}");
    let set = set.wait();
    assert!(set.status.success(), "{set}");
}

/// Asserts that the mirror is what one that was always set so would be.
#[track_caller]
fn is_as_if_always(stage: &Stage, track: &[&str]) {
    stage.plain("plain", track);
    stage.plain_fetch("plain").ok();
    let synced = stage.sync();
    assert_eq!(synced.stderr, "", "{synced}");
    let shown = tests::public_refs(&stage.world, &stage.world.only_mirror());
    let plain = tests::refs(&stage.world, &stage.world.path("plain"));
    assert_eq!(shown, plain);
    let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
    stage
        .world
        .git(fsck)
        .env("GIT_DIR", stage.world.only_mirror())
        .ok();
    let fetched = stage.git("ours", &["fetch", "-q", "--prune"]).ok();
    assert_eq!(fetched.stderr, "", "{fetched}");
}

const NARROW: [&str; 1] = ["+refs/heads/main"];

#[test]
fn a_change_waits_for_a_sync() {
    for on in [On::LsRefs, On::Fetch] {
        let stage = moved_on();
        let paused = stage.gitlab.pause_answer(on);
        let sync = stage.world.mirrord(["sync", NAME]).start();
        set_beside(&stage, &NARROW, &paused, sync);
        is_as_if_always(&stage, &NARROW);
        let history = stage.world.mirrord(["history", NAME, "topic"]).ok();
        let tip = stage.project.tip("topic").expect("it is there");
        insta::allow_duplicates! {
            insta::assert_snapshot!(tests::shown(&history.stdout.replace(&tip[..7], "TIP")), @"[date]  refs/heads/topic  TIP  untracked");
        }
    }
}

#[test]
fn a_change_waits_for_a_fetch_and_for_a_clone() {
    let stage = moved_on();
    let paused = stage.gitlab.pause(On::Fetch);
    let fetch = stage.world.git(["fetch", "-q"]).at("ours").start();
    set_beside(&stage, &NARROW, &paused, fetch);
    is_as_if_always(&stage, &NARROW);

    let stage = moved_on();
    let paused = stage.gitlab.pause(On::LsRefs);
    let clone = stage.clone(NAME, "theirs").start();
    set_beside(&stage, &["+refs/heads/*:refs/heads/up/*"], &paused, clone);
    is_as_if_always(&stage, &["+refs/heads/*:refs/heads/up/*"]);
    stage.git("theirs", &["fsck", "--full"]).ok();
    assert!(
        stage.world.path("theirs/file").exists(),
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
        let stage = moved_on();
        stage.git("ours", &["fetch", "-q"]).ok();
        let mine = stage.commit_onto("ours", "origin/topic", "mine");
        let paused = pause(&stage.gitlab, on);
        let push = ["push", "-q", "origin", &format!("{mine}:refs/heads/topic")];
        let push = stage.world.git(push).at("ours").start();
        set_beside(&stage, &NARROW, &paused, push);
        assert_eq!(stage.project.tip("topic"), Some(mine.clone()));
        assert_eq!(stage.mirror_tip("refs/heads/topic"), None);
        is_as_if_always(&stage, &NARROW);
        let restore = ["restore", NAME, "topic"];
        stage.world.mirrord(restore).ok();
        assert_eq!(
            stage.mirror_tip("refs/heads/topic"),
            Some(mine),
            "held at {on:?}"
        );
    }
}

#[test]
fn where_a_push_goes_is_decided_by_the_refspecs_of_that_moment() {
    let stage = moved_on();
    stage.set_track(&NARROW).ok();
    stage.git("ours", &["fetch", "-q", "--prune"]).ok();
    let mine = stage.commit_onto("ours", "origin/main", "mine");
    // git asks this hook when the mirror has been made fresh, and before anything is sent.
    let hook = stage.world.path("ours/.git/hooks/pre-push");
    let during = |track: &str| {
        fs::create_dir_all(hook.parent().expect("it has one")).expect("ours");
        let script = format!("#!/bin/sh\nexec mirrord set {NAME} --track='{track}' >&2\n");
        fs::write(&hook, script).expect("ours");
        fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("ours");
    };
    during("+refs/heads/*");
    stage
        .git(
            "ours",
            &["push", "origin", &format!("{mine}:refs/heads/new")],
        )
        .ok();
    assert_eq!(
        stage.project.tip("new"),
        Some(mine.clone()),
        "it was tracked when it came"
    );
    assert_eq!(stage.mirror_tip("refs/heads/new"), Some(mine.clone()));
    during("+refs/heads/main");
    let before = stage.project.refs();
    let pushed = stage
        .git(
            "ours",
            &["push", "origin", &format!("{mine}:refs/heads/other")],
        )
        .ok();
    insta::assert_snapshot!(pushed.shown(), @r"
    project: changed
    remote: other is local to this mirror; not sent to 127.0.0.1
    To mirror::project
     * [new branch]      [oid] -> other
    ");
    assert_eq!(stage.project.refs(), before, "it was local when it came");
    assert_eq!(stage.mirror_tip("refs/heads/other"), Some(mine));
    fs::remove_file(&hook).expect("ours");
    let fetched = stage.git("ours", &["fetch", "-q", "--prune"]).ok();
    assert_eq!(fetched.stderr, "", "{fetched}");
}

#[test]
fn two_changes_that_wait_at_once_are_both_carried_out() {
    let stage = moved_on();
    let paused = stage.gitlab.pause(On::LsRefs);
    let sync = stage.world.mirrord(["sync", NAME]).start();
    paused.reached();
    let changes = [
        stage.set_track(&NARROW).start(),
        stage
            .world
            .mirrord(["set", NAME, "--description", "what it is for"])
            .start(),
        stage
            .world
            .mirrord(["set", NAME, "--stale", "fail"])
            .start(),
    ];
    stage.world.mirrord(["status"]).ok();
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
    // All was set, and nobody undid anything.
    insta::assert_snapshot!(stage.shown_settings(), @r"
    name: project
    url: http://gitlab.example/group/project.git
    description: what it is for
    directory: /world/m/mirrors/project-[oid].git
    track: +refs/heads/main:refs/heads/main
    every: 1h
    sync-on-fetch: yes
    fresh-for: [time]
    stale: fail
    stale-after: [time]
    atomic: auto
    push: yes
    keep-history: 30d
    fsck: no
    wipe-guard: yes
    link: auto
    auth: git
    tracked refs: 1
    ");
    is_as_if_always(&stage, &NARROW);
}

#[test]
fn a_change_of_refspecs_that_is_interrupted_while_it_waits_blocks_nothing() {
    let stage = moved_on();
    let paused = stage.gitlab.pause(On::LsRefs);
    let sync = stage.world.mirrord(["sync", NAME]).start();
    paused.reached();
    let set = stage.set_track(&NARROW).start();
    stage.world.mirrord(["status"]).ok();
    set.kill_group(Signal::INT);
    assert!(!set.wait().status.success());
    paused.release();
    let ran = sync.wait();
    assert!(ran.status.success(), "{ran}");
    let fetched = stage.git("ours", &["fetch", "-q", "--prune"]).ok();
    assert_eq!(fetched.stderr, "", "{fetched}");
    stage.set_track(&["+refs/heads/topic"]).ok();
    is_as_if_always(&stage, &["+refs/heads/topic"]);
}

#[test]
fn a_clone_that_was_made_before_goes_on_after_a_change() {
    let stage = moved_on();
    stage.git("ours", &["fetch", "-q"]).ok();
    stage.set_track(&["+refs/heads/*:refs/heads/up/*"]).ok();
    let fetched = stage.git("ours", &["fetch", "-q", "--prune"]).ok();
    assert_eq!(fetched.stderr, "", "{fetched}");
    let tip = stage.project.tip("topic");
    assert_eq!(stage.tip("ours", "origin/up/topic"), tip);
    assert_eq!(stage.tip("ours", "origin/topic"), None);
    stage.set_track(&[]).ok();
    stage.git("ours", &["fetch", "-q", "--prune"]).ok();
    stage
        .git("ours", &["remote", "set-head", "origin", "--auto"])
        .ok();
    stage
        .git("ours", &["reset", "-q", "--hard", "origin/main"])
        .ok();
    stage.clone(NAME, "fresh").ok();
    same_clone(
        &stage.world,
        &stage.world.path("ours"),
        &stage.world.path("fresh"),
    );
}

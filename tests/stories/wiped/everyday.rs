//! Deletions on purpose, through the mirror or by its settings, raise no alarm.

use tests::On;

use super::{
    alarmed, alarms::main_and, cloned, cloned_with, empty, fetch, mirror_has, replace, silent,
};
use crate::stage::Stage;

/// Prepares the push of somebody who deletes 14 of 22 refs, none of which another one contains.
fn deletions(stage: &Stage) -> tests::Run {
    let deleted = (1..=14).map(|number| format!(":b{number}"));
    let args = ["push", "-q", "origin"].map(str::to_owned);
    let args: Vec<_> = args.into_iter().chain(deleted).collect();
    stage.world.git(args).at("ours")
}

#[test]
fn the_only_tracked_branch_deleted_among_others_is_no_alarm() {
    let (stage, _) = cloned_with(&["--track", "+refs/heads/main:refs/heads/main"]);
    stage.project.set_head("topic");
    stage.project.delete("main");
    let ran = fetch(&stage).ok();
    insta::assert_snapshot!(ran.shown(), @"
    From mirror::project
     - [deleted]         (none)     -> origin/main
       (refs/remotes/origin/HEAD has become dangling)
    ");
    mirror_has(&stage, &[]);
    let history = stage.mirrord(&["history", "project"]).ok();
    insta::assert_snapshot!(history.shown(), @"[date]  refs/heads/main  [oid]  deleted");
}

#[test]
fn with_the_last_of_the_others_it_is_one() {
    let (stage, had) = cloned_with(&["--track", "+refs/heads/main:refs/heads/upstream/main"]);
    empty(&stage.project);
    alarmed(fetch(&stage));
    let ours = ("refs/heads/upstream/main".to_owned(), had[0].1.clone());
    mirror_has(&stage, &[ours]);
}

#[test]
fn refspecs_that_show_less_are_no_alarm() {
    let (stage, _) = cloned();
    main_and::<19>(&stage.project);
    fetch(&stage).ok();
    let track = [
        "set",
        "project",
        "--track",
        "+refs/heads/main:refs/heads/main",
    ];
    stage.mirrord(&track).ok();
    let ran = fetch(&stage).ok();
    assert!(!ran.stderr.contains("wiped"), "{ran}");
}

#[test]
fn deletions_through_the_mirror_raise_no_alarm() {
    let (stage, _) = cloned();
    main_and::<19>(&stage.project);
    fetch(&stage).ok();
    deletions(&stage).ok();
    silent(fetch(&stage));
    mirror_has(&stage, &stage.project.refs());
}

#[test]
fn deletions_through_the_mirror_while_others_fetch_raise_no_alarm() {
    let (stage, _) = cloned();
    main_and::<19>(&stage.project);
    fetch(&stage).ok();
    stage
        .world
        .git(["clone", "-q", "mirror::project", "theirs"])
        .ok();
    let paused = stage.gitlab.pause(On::Push);
    let push = deletions(&stage).start();
    paused.reached();
    stage.world.git(["fetch", "-q"]).at("theirs").ok();
    paused.release();
    let push = push.wait();
    assert!(push.status.success(), "{push}");
    silent(stage.world.git(["fetch", "-q", "--prune"]).at("theirs"));
    mirror_has(&stage, &stage.project.refs());
}

#[test]
fn an_upstream_that_is_made_anew_is_followed_at_once_where_the_guard_is_off() {
    let (stage, _) = cloned_with(&["--wipe-guard", "no"]);
    replace(&stage.project, 20);
    silent(stage.ours(&["fetch", "-q", "--prune"]));
    mirror_has(&stage, &stage.project.refs());
    stage
        .mirrord(&["set", "project", "--wipe-guard", "yes"])
        .ok();
    empty(&stage.project);
    alarmed(fetch(&stage));
    stage
        .mirrord(&["set", "project", "--wipe-guard", "no"])
        .ok();
    silent(stage.ours(&["fetch", "-q", "--prune"]));
    mirror_has(&stage, &[]);
}

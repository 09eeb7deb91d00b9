//! Refspecs without '+': what upstream rewrites is held back, as git does, until somebody says otherwise.

use std::fmt::Write;

use tests::{public_refs, refs};

use crate::{stage::Stage, tracking::NAME};

/// A mirror in which `main` and the tags are not forced, and one branch is.
fn unforced() -> (Stage, [&'static str; 3]) {
    let stage = Stage::new(|project| {
        project.history(3);
        project.branch("free", "main");
        project.tag("v1", "main~1");
    });
    let track = ["refs/heads/main", "+refs/heads/free", "refs/tags/*"];
    stage.add_tracking(NAME, &track).ok();
    stage.plain("plain", &track);
    stage.plain_fetch("plain").ok();
    stage.clone(NAME, "ours").ok();
    (stage, track)
}

/// Asserts that the mirror shows what git would have, and that it is silent or warns of these.
#[track_caller]
fn holds_back(stage: &Stage, names: &[&str]) {
    let plain = stage.plain_fetch("plain").run();
    assert_eq!(plain.status.success(), names.is_empty(), "{plain}");
    let fetched = stage.git("ours", &["fetch", "--quiet"]).ok();
    let warned: Vec<_> = fetched
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("warning: '")?.split('\'').next())
        .collect();
    assert_eq!(warned, names, "one for each, each time: {fetched}");
    let shown = stage.show(NAME);
    let held: Vec<_> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("held: '")?.split('\'').next())
        .collect();
    assert_eq!(held, names, "show says so, too: {shown}");
    let shown = public_refs(&stage.world, &stage.world.only_mirror());
    let plain = refs(&stage.world, &stage.world.path("plain"));
    assert_eq!(
        shown, plain,
        "what git holds back is held back, and nothing else"
    );
}

#[test]
fn a_rewrite_of_a_branch_tracked_without_a_plus_is_withheld_and_each_fetch_says_so() {
    let (stage, _) = unforced();
    let project = &stage.project;
    let old = project.tip("main").expect("it is there");
    project.force("main", "main~1");
    let rewritten = project.commit("main", "file", "rewritten");
    project.force("free", &rewritten);
    // git calls that clobbering, although it is a step ahead.
    project.force("refs/tags/v1", &old);
    for _ in 0..3 {
        holds_back(&stage, &["refs/heads/main", "refs/tags/v1"]);
    }
    assert_eq!(stage.mirror_tip("refs/heads/main"), Some(old.clone()));
    assert_eq!(stage.tip("ours", "origin/free"), Some(rewritten));
    // A clone is warned as well, and a daemon that begins anew has not forgotten.
    stage.world.kill_daemon();
    let cloned = stage.clone(NAME, "later").ok();
    insta::assert_snapshot!(cloned.shown(), @r"
    warning: 'refs/heads/main' was rewritten upstream and is held back: its refspec has no '+'
    warning: 'refs/tags/v1' was rewritten upstream and is held back: its refspec has no '+'
    ");
    holds_back(&stage, &["refs/heads/main", "refs/tags/v1"]);
}

#[test]
fn a_withheld_branch_follows_upstream_when_that_is_a_fast_forward_again() {
    let (stage, _) = unforced();
    let project = &stage.project;
    let old = project.tip("main").expect("it is there");
    project.force("main", "main~2");
    holds_back(&stage, &["refs/heads/main"]);
    project.commit("main", "file", "elsewhere");
    holds_back(&stage, &["refs/heads/main"]);
    project.force("main", &old);
    holds_back(&stage, &[]);
    project.force("main", "main~1");
    holds_back(&stage, &["refs/heads/main"]);
    project.force("main", &old);
    let next = project.commit("main", "file", "next");
    holds_back(&stage, &[]);
    assert_eq!(stage.tip("ours", "origin/main"), Some(next));
}

#[test]
fn a_withheld_branch_is_deleted_when_upstream_deletes_it() {
    let (stage, _) = unforced();
    let project = &stage.project;
    let old = project.tip("main").expect("it is there");
    project.force("main", "main~2");
    holds_back(&stage, &["refs/heads/main"]);
    project.set_head("free");
    project.delete("main");
    // As git does with --prune, plus or not; and it can be brought back.
    let fetched = stage.git("ours", &["fetch", "--quiet", "--prune"]).ok();
    assert_eq!(fetched.stderr, "", "{fetched}");
    assert_eq!(stage.mirror_tip("refs/heads/main"), None);
    insta::assert_snapshot!(stage.shown_refs(), @r"
    track: refs/heads/main:refs/heads/main +refs/heads/free:refs/heads/free refs/tags/*:refs/tags/*
    tracked refs: 2
    ");
    let restore = ["restore", NAME, "main", "--as", "again"];
    stage.world.mirrord(restore).ok();
    assert_eq!(stage.mirror_tip("refs/heads/again"), Some(old));
}

#[test]
fn a_plus_lets_a_withheld_branch_follow_upstream() {
    let (stage, _) = unforced();
    let project = &stage.project;
    let old = project.tip("main").expect("it is there");
    project.force("main", "main~1");
    let rewritten = project.commit("main", "file", "rewritten");
    project.force("refs/tags/v1", &rewritten);
    holds_back(&stage, &["refs/heads/main", "refs/tags/v1"]);
    let set = stage
        .set_track(&["+refs/heads/main", "+refs/heads/free", "+refs/tags/*"])
        .ok();
    assert_eq!(set.stderr, "", "nothing of the user's own is in the way");
    insta::assert_snapshot!(stage.shown_refs(), @r"
    track: +refs/heads/main:refs/heads/main +refs/heads/free:refs/heads/free +refs/tags/*:refs/tags/*
    tracked refs: 3
    ");
    let fetched = stage
        .git("ours", &["fetch", "--quiet", "--tags", "--force"])
        .ok();
    assert_eq!(fetched.stderr, "", "{fetched}");
    assert_eq!(stage.tip("ours", "origin/main"), Some(rewritten.clone()));
    assert_eq!(stage.tip("ours", "refs/tags/v1"), Some(rewritten));
    let history = stage.mirrord(&["history", NAME]).ok().stdout;
    let was = |line: &str| line.contains(&old[..7]) && line.ends_with("rewritten");
    assert!(
        history.lines().any(was),
        "what it was is remembered: {history}"
    );
    assert!(
        !stage
            .all_refs()
            .iter()
            .any(|(name, _)| name.contains("/held/"))
    );
}

#[test]
fn a_push_does_not_overwrite_what_is_held_back() {
    let (stage, _) = unforced();
    let project = &stage.project;
    project.force("main", "main~1");
    let rewritten = project.commit("main", "file", "rewritten");
    let mine = stage.commit_onto("ours", "origin/main", "mine");
    let mut all = String::new();
    for force in ["--no-force", "--force", "--force-with-lease"] {
        let push = ["push", force, "origin", &format!("{mine}:refs/heads/main")];
        let pushed = stage.world.git(push).at("ours").fails();
        writeln!(all, "{force}:\n{}", pushed.shown()).expect("into a string");
        assert_eq!(project.tip("main"), Some(rewritten.clone()), "{force}");
    }
    insta::assert_snapshot!(all, @r"
    --no-force:
    warning: 'refs/heads/main' was rewritten upstream and is held back: its refspec has no '+'
    To mirror::project
     ! [remote rejected] [oid] -> main (stale info)
    error: failed to push some refs to 'mirror::project'

    --force:
    warning: 'refs/heads/main' was rewritten upstream and is held back: its refspec has no '+'
    To mirror::project
     ! [remote rejected] [oid] -> main (stale info)
    error: failed to push some refs to 'mirror::project'

    --force-with-lease:
    warning: 'refs/heads/main' was rewritten upstream and is held back: its refspec has no '+'
    To mirror::project
     ! [remote rejected] [oid] -> main (stale info)
    error: failed to push some refs to 'mirror::project'
    ");
}

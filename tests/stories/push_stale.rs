//! A commit that somebody pushes to GitLab directly, between our fetch and our push, is never overwritten.

use tests::{On, Project, Ran};

use crate::{
    push_pair::{fill, mirror_is_upstream},
    stage::Stage,
};

/// Pushes, and does something to the project after git has seen what is there and before anything has arrived.
#[track_caller]
fn in_between(stage: &Stage, args: &[&str], meanwhile: impl FnOnce(&Project)) -> Ran {
    let step = match args.contains(&"--atomic") {
        true => On::PushInfoRefs,
        false => On::Push,
    };
    let paused = stage.gitlab.pause(step);
    let push = stage.push("ours", args).start();
    paused.reached();
    meanwhile(&stage.project);
    paused.release();
    push.wait()
}

#[test]
fn a_commit_that_somebody_pushed_meanwhile_is_never_overwritten() {
    let stage = Stage::new(fill).with_ours();
    let mine = stage.commit("ours", "mine");
    for args in [["main"], ["+main"], ["--force"], ["--force-with-lease"]] {
        let args = if args[0].starts_with('-') {
            vec![args[0], "main"]
        } else {
            args.to_vec()
        };
        let packs = stage.packs();
        let ran = in_between(&stage, &args, |project| {
            project.commit("main", "theirs", args[0]);
        });
        assert_eq!(ran.status.code(), Some(1), "{ran}");
        assert_eq!(
            ran.stderr.matches("(stale info)").count(),
            1,
            "{args:?}: {ran}"
        );
        let log = stage.project.git(["log", "--format=%s", "main"]).ok();
        assert!(log.stdout.starts_with("Change theirs"), "{log}");
        stage.nothing_came(&packs, &mine);
        stage.ours(&["fetch", "-q"]).ok();
        let fetched_tip = stage.tip("ours", "origin/main");
        let theirs = stage.project.tip("main");
        assert_eq!(fetched_tip, theirs, "the next fetch brings it");
    }
    // Now it is known.
    stage.push("ours", &["main"]).code(1);
    stage.push("ours", &["--force-with-lease", "main"]).ok();
    mirror_is_upstream(&stage.world, &stage.project);
}

#[test]
fn a_branch_that_somebody_made_moved_or_deleted_meanwhile_stays_as_they_want_it() {
    let stage = Stage::new(fill).with_ours();
    stage.commit("ours", "mine");
    let made = in_between(&stage, &["--force", "main:refs/heads/fresh"], |project| {
        project.branch("fresh", "topic");
    });
    insta::assert_snapshot!(made.shown(), @"
    remote: error: cannot lock ref 'refs/heads/fresh': reference already exists
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> fresh (stale info)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    let moved = in_between(&stage, &[":topic"], |project| {
        project.commit("topic", "x", "x");
    });
    insta::assert_snapshot!(moved.shown(), @"
    remote: error: cannot lock ref 'refs/heads/topic': is at [oid] but expected [oid]
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] topic (stale info)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    let gone = in_between(&stage, &["--force", "main:spare"], |project| {
        project.delete("spare");
    });
    insta::assert_snapshot!(gone.shown(), @"
    remote: error: cannot lock ref 'refs/heads/spare': unable to resolve reference 'refs/heads/spare'
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> spare (stale info)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    let some = in_between(
        &stage,
        &["main", "main:refs/heads/mine", "+main:topic"],
        |project| {
            drop(project.commit("topic", "y", "y"));
        },
    );
    insta::assert_snapshot!(some.shown(), @"
    remote: error: cannot lock ref 'refs/heads/topic': is at [oid] but expected [oid]
    To mirror::http://gitlab.example/group/project.git
       [oid]..[oid]  main -> main
     * [new branch]      main -> mine
     ! [remote rejected] main -> topic (stale info)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    assert_eq!(stage.project.tip("spare"), None);
    let deleted = stage.push("ours", &[":spare"]).code(1);
    insta::assert_snapshot!(deleted.shown(), @r"
    error: unable to delete 'spare': remote ref does not exist
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    stage.ours(&["fetch", "-q"]).ok();
    mirror_is_upstream(&stage.world, &stage.project);
}

#[test]
fn an_atomic_push_with_one_stale_ref_changes_none() {
    let stage = Stage::new(fill).with_ours();
    stage.commit("ours", "mine");
    let args = [
        "--atomic",
        "--force",
        "main",
        "main:topic",
        "main:fresh",
        ":spare",
    ];
    let ran = in_between(&stage, &args, |project| {
        project.commit("topic", "x", "x");
    });
    insta::assert_snapshot!(ran.shown(), @r"
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (atomic push failure)
     ! [remote rejected] spare (atomic push failure)
     ! [remote rejected] main -> topic (stale info)
     ! [remote rejected] main -> fresh (atomic push failure)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    stage.ours(&["fetch", "-q"]).ok();
    assert_eq!(stage.project.tip("fresh"), None);
    assert!(stage.project.tip("spare").is_some());
    mirror_is_upstream(&stage.world, &stage.project);
}

#[test]
fn a_ref_that_changes_while_a_pre_push_hook_runs_is_stale() {
    let stage = Stage::new(fill).with_ours();
    stage.commit("ours", "mine");
    let dir = stage.project.dir().display().to_string();
    let hook = format!("git --git-dir={dir} update-ref refs/heads/topic refs/heads/main");
    let script = "mkdir -p .git/hooks; cat >.git/hooks/pre-push; chmod 755 .git/hooks/pre-push";
    let install = stage.world.program("sh", ["-c", script]).at("ours");
    install.stdin(format!("#!/bin/sh\n{hook}\n")).ok();
    let ran = stage.push("ours", &["--force", "main:topic"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> topic (stale info)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    assert_eq!(stage.project.tip("topic"), stage.project.tip("main"));
}

//! A commit that somebody pushes to GitLab directly, between our fetch and our push, is never overwritten.

use tests::{On, Project, Ran};

use crate::{
    push_pair::{fill, mirror_is_upstream},
    stage::Stage,
};

/// Pushes, and does something to the project after git has seen what is there and before anything is sent.
#[track_caller]
fn in_between(stage: &Stage, args: &[&str], meanwhile: impl FnOnce(&Project)) -> Ran {
    let paused = stage.gitlab.pause(On::PushInfoRefs);
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
        assert!(ran.stderr.contains("(stale info)"), "{args:?}: {ran}");
        let log = stage.project.git(["log", "--format=%s", "main"]).ok();
        assert!(log.stdout.starts_with("Change theirs"), "{log}");
        stage.nothing_came(&packs, &mine);
        stage.ours(&["fetch", "-q"]).ok();
        let theirs = stage.project.tip("main");
        let fetched_tip = stage.ours(&["rev-parse", "origin/main"]).ok();
        assert_eq!(
            Some(fetched_tip.line()),
            theirs.as_deref(),
            "the next fetch brings it"
        );
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
    assert!(made.stderr.contains("(stale info)"), "{made}");
    let moved = in_between(&stage, &[":topic"], |project| {
        project.commit("topic", "x", "x");
    });
    assert!(moved.stderr.contains("(stale info)"), "{moved}");
    let gone = in_between(&stage, &["--force", "main:spare"], |project| {
        project.delete("spare");
    });
    assert!(gone.stderr.contains("(stale info)"), "{gone}");
    let some = in_between(
        &stage,
        &["main", "main:refs/heads/mine", "+main:topic"],
        |project| {
            drop(project.commit("topic", "y", "y"));
        },
    );
    assert_eq!(some.stderr.matches("(stale info)").count(), 1, "{some}");
    assert!(
        some.stderr.contains("[new branch]      main -> mine"),
        "{some}"
    );
    assert_eq!(stage.project.tip("spare"), None);
    let deleted = stage.push("ours", &[":spare"]).code(1);
    assert!(
        deleted.stderr.contains("remote ref does not exist"),
        "{deleted}"
    );
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
    assert_eq!(
        ran.stderr.matches("! [remote rejected]").count(),
        4,
        "{ran}"
    );
    assert!(ran.stderr.contains("(stale info)"), "{ran}");
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
    assert!(
        ran.stderr
            .contains("! [remote rejected] main -> topic (stale info)"),
        "{ran}"
    );
    assert_eq!(stage.project.tip("topic"), stage.project.tip("main"));
}

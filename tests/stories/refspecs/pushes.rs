//! Pushes of tracked refs that have another name here than upstream: they go back through the refspecs.

use std::fmt::Write;

use tests::{On, same_clone};

use crate::{stage::Stage, tracking::NAME};

/// Upstream's `main` and `topic` are called `upstream/main` and `upstream/topic` here.
fn renamed() -> Stage {
    let stage = Stage::new(|project| {
        project.history(3);
        project.commit("topic", "topic", "1");
        project.tag("v1", "main");
    });
    stage
        .add_tracking(
            NAME,
            &[
                "+refs/heads/*:refs/heads/upstream/*",
                "+refs/tags/v*:refs/tags/up-v*",
            ],
        )
        .ok();
    stage.clone(NAME, "ours").ok();
    stage
}

/// Asserts that upstream has exactly these, and that the mirror shows them under its own names.
#[track_caller]
fn upstream_has(stage: &Stage, expected: &[(&str, Option<&str>)]) {
    let fetched = stage.git("ours", &["fetch", "--quiet", "--prune"]).ok();
    assert_eq!(fetched.stderr, "", "nothing is in the way: {fetched}");
    for (name, oid) in expected {
        let oid = oid.map(str::to_owned);
        assert_eq!(stage.project.tip(name), oid, "upstream's '{name}'");
        let name = match name.strip_prefix("refs/tags/") {
            Some(tag) => format!("refs/tags/up-{tag}"),
            None => format!("refs/heads/upstream/{name}"),
        };
        assert_eq!(stage.mirror_tip(&name), oid, "'{name}' here");
    }
}

#[test]
fn a_push_to_a_renamed_branch_goes_to_upstreams_name() {
    let stage = renamed();
    let next = stage.commit_onto("ours", "origin/upstream/main", "next");
    let push = [
        "push",
        "origin",
        &format!("{next}:refs/heads/upstream/main"),
    ];
    let pushed = stage.git("ours", &push).ok();
    insta::assert_snapshot!(pushed.shown(), @r"
    To mirror::project
       [oid]..[oid]  [oid] -> upstream/main
    ");
    upstream_has(&stage, &[("main", Some(&next))]);
    assert_eq!(stage.mirror_tip("refs/heads/main"), None, "one name each");
    assert_eq!(stage.project.tip("upstream/main"), None, "one name each");

    // New ones, moved ones, rewritten ones and those that go; tags too.
    let other = stage.commit_onto("ours", "origin/upstream/main~2", "other");
    let push = [
        "push",
        "origin",
        &format!("{next}:refs/heads/upstream/new/deep"),
        &format!("+{other}:refs/heads/upstream/main"),
        ":refs/heads/upstream/topic",
        &format!("{next}:refs/tags/up-v2"),
        ":refs/tags/up-v1",
    ];
    stage.git("ours", &push).ok();
    upstream_has(
        &stage,
        &[
            ("new/deep", Some(&next)),
            ("main", Some(&other)),
            ("topic", None),
            ("refs/tags/v2", Some(&next)),
            ("refs/tags/v1", None),
        ],
    );
    let count = stage.project.refs().len();
    assert_eq!(
        count,
        3,
        "and nothing else has come: {:?}",
        stage.project.refs()
    );
}

#[test]
fn a_branch_of_upstreams_name_is_local_where_that_is_shown_under_another() {
    let stage = renamed();
    let before = stage.project.refs();
    let mine = stage.commit_onto("ours", "origin/upstream/main", "mine");
    let pushed = stage
        .git(
            "ours",
            &["push", "origin", &format!("{mine}:refs/heads/main")],
        )
        .ok();
    insta::assert_snapshot!(pushed.shown(), @r"
    remote: main is local to this mirror; not sent to 127.0.0.1
    To mirror::project
     * [new branch]      [oid] -> main
    ");
    assert_eq!(
        stage.project.refs(),
        before,
        "nothing of it reaches upstream"
    );
    let moved = stage.project.commit("main", "file", "moved");
    let fetched = stage.git("ours", &["fetch", "--quiet"]).ok();
    assert_eq!(
        fetched.stderr, "",
        "they are not in each other's way: {fetched}"
    );
    assert_eq!(stage.tip("ours", "origin/main"), Some(mine));
    assert_eq!(stage.tip("ours", "origin/upstream/main"), Some(moved));
}

#[test]
fn a_push_through_a_renaming_changes_upstream_only_from_what_was_seen() {
    let stage = renamed();
    let mut all = String::new();
    for force in ["--no-force", "--force", "--force-with-lease"] {
        let mine = stage.commit_onto("ours", "origin/upstream/main", &format!("mine{force}"));
        let paused = stage.gitlab.pause(On::Push);
        let args = [
            "push",
            force,
            "origin",
            &format!("{mine}:refs/heads/upstream/main"),
        ];
        let push = stage.world.git(args).at("ours").start();
        paused.reached();
        // Somebody is faster, and has not seen the mirror.
        let theirs = stage.project.commit("main", "file", force);
        paused.release();
        let pushed = push.wait();
        assert!(!pushed.status.success(), "{force}: {pushed}");
        writeln!(all, "{force}:\n{}", pushed.shown()).expect("into a string");
        upstream_has(&stage, &[("main", Some(&theirs))]);
    }
    insta::assert_snapshot!(all, @"
    --no-force:
    remote: error: cannot lock ref 'refs/heads/main': is at [oid] but expected [oid]
    To mirror::project
     ! [remote rejected] [oid] -> upstream/main (stale info)
    error: failed to push some refs to 'mirror::project'

    --force:
    remote: error: cannot lock ref 'refs/heads/main': is at [oid] but expected [oid]
    To mirror::project
     ! [remote rejected] [oid] -> upstream/main (stale info)
    error: failed to push some refs to 'mirror::project'

    --force-with-lease:
    remote: error: cannot lock ref 'refs/heads/main': is at [oid] but expected [oid]
    To mirror::project
     ! [remote rejected] [oid] -> upstream/main (stale info)
    error: failed to push some refs to 'mirror::project'
    ");
}

#[test]
fn a_new_name_is_created_upstream_only_where_there_is_none() {
    let stage = renamed();
    let mine = stage.commit_onto("ours", "origin/upstream/main", "mine");
    let paused = stage.gitlab.pause(On::PushInfoRefs);
    let args = [
        "push",
        "--force",
        "origin",
        &format!("{mine}:refs/heads/upstream/new"),
    ];
    let push = stage.world.git(args).at("ours").start();
    paused.reached();
    let theirs = stage.project.commit("new", "file", "theirs");
    paused.release();
    let pushed = push.wait();
    assert!(!pushed.status.success(), "{pushed}");
    upstream_has(&stage, &[("new", Some(&theirs))]);
}

#[test]
fn a_push_to_a_branch_that_a_negative_refspec_excludes_stays_in_the_mirror() {
    let stage = Stage::new(|project| drop(project.history(2)));
    stage
        .add_tracking(NAME, &["+refs/heads/*", "^refs/heads/wip/*"])
        .ok();
    stage.clone(NAME, "ours").ok();
    let mine = stage.commit_onto("ours", "origin/main", "mine");
    let refspecs = [
        format!("{mine}:refs/heads/wip/mine"),
        format!("{mine}:refs/heads/wipe"),
        format!("{mine}:refs/tags/mine"),
    ];
    let args = ["push", "origin"].map(str::to_owned).into_iter();
    let args: Vec<_> = args.chain(refspecs).collect();
    let pushed = stage.world.git(args).at("ours").ok();
    insta::assert_snapshot!(pushed.shown(), @r"
    remote: wip/mine is local to this mirror; not sent to 127.0.0.1
    remote: mine is local to this mirror; not sent to 127.0.0.1
    To mirror::project
     * [new branch]      [oid] -> wip/mine
     * [new branch]      [oid] -> wipe
     * [new tag]         [oid] -> mine
    ");
    let upstream = stage.project.refs();
    let names: Vec<_> = upstream.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["refs/heads/main", "refs/heads/wipe"], "{pushed}");
    // Upstream's own of such a name is none of ours.
    stage.project.commit("wip/mine", "file", "theirs");
    let fetched = stage.git("ours", &["fetch", "--quiet"]).ok();
    assert_eq!(fetched.stderr, "", "{fetched}");
    assert_eq!(stage.tip("ours", "origin/wip/mine"), Some(mine));
}

#[test]
fn a_clone_of_a_renaming_mirror_is_a_clone_of_what_git_would_have_fetched() {
    let stage = renamed();
    let plain = stage.plain(
        "plain",
        &[
            "+refs/heads/*:refs/heads/upstream/*",
            "+refs/tags/v*:refs/tags/up-v*",
        ],
    );
    stage.plain_fetch("plain").ok();
    stage
        .git(
            "plain",
            &["symbolic-ref", "HEAD", "refs/heads/upstream/main"],
        )
        .ok();
    let clone = [
        "clone",
        "-q",
        "--mirror",
        plain.to_str().expect("text"),
        "theirs",
    ];
    stage.world.git(clone).ok();
    let url = format!("mirror::{NAME}");
    stage
        .world
        .git(["clone", "-q", "--mirror", &url, "mine"])
        .ok();
    same_clone(
        &stage.world,
        &stage.world.path("mine"),
        &stage.world.path("theirs"),
    );
}

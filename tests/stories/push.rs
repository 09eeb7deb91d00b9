//! The promises of a push: ok is true, a refused push leaves nothing, and nobody's commit is overwritten.

use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use tests::{On, Run, refs};

use crate::{
    push_pair::{fill, mirror_is_upstream, nothing_is_left},
    stage::Stage,
};

/// The time that counts as at once, on a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(20);

impl Stage {
    /// The files that hold the mirror's objects.
    pub(crate) fn packs(&self) -> Vec<PathBuf> {
        let dir = self.world.only_mirror().join("objects/pack");
        let entries = fs::read_dir(dir).expect("a mirror has one");
        let mut packs: Vec<_> = entries
            .map(|entry| entry.expect("readable").path())
            .collect();
        packs.sort();
        packs
    }

    /// Asserts that nothing came into the mirror since it had these packs.
    #[track_caller]
    pub(crate) fn nothing_came(&self, packs: &[PathBuf], oid: &str) {
        assert_eq!(self.packs(), packs, "no pack is left");
        nothing_is_left(&self.world.only_mirror());
        assert!(!self.mirror_has(oid), "the mirror does not have it");
    }
}

#[test]
fn after_ok_the_next_fetch_of_anybody_brings_it() {
    let stage = Stage::new(fill).with_ours();
    stage.world.clone_mirror(&stage.url, "theirs").ok();
    for n in 0..3 {
        let oid = stage.commit("ours", &format!("file{n}"));
        stage.push("ours", &["main", "HEAD:refs/heads/second"]).ok();
        stage.world.git(["fetch", "-q"]).at("theirs").ok();
        for branch in ["origin/main", "origin/second"] {
            let tip = stage.world.git(["rev-parse", branch]).at("theirs").ok();
            assert_eq!(tip.line(), oid, "{branch}");
        }
        mirror_is_upstream(&stage.world, &stage.project);
    }
    let objects = |at: Run| {
        let mut lines: Vec<_> = at.ok().stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let all = ["rev-list", "--objects", "--all", "--no-object-names"];
    let mirror = stage.world.git(all).at(stage.world.only_mirror());
    assert_eq!(objects(mirror), objects(stage.project.git(all)));
}

#[test]
fn after_ok_the_mirror_itself_has_it_when_gitlab_goes_down() {
    let stage = Stage::new(fill).with_ours();
    let oid = stage.commit("ours", "one");
    stage.push("ours", &["main", ":spare"]).ok();
    stage.gitlab.stop();
    stage.world.clone_mirror(&stage.url, "theirs").ok();
    let tip = stage.world.git(["rev-parse", "HEAD"]).at("theirs").ok();
    assert_eq!(tip.line(), oid);
    assert_eq!(stage.tip("theirs", "origin/spare"), None);
}

#[test]
fn of_a_refused_push_nothing_is_in_the_mirror() {
    let stage = Stage::new(fill).with_ours();
    let refuse = "echo 'GitLab: You are not allowed to push code to protected branches on this project.'; exit 1";
    stage.project.hook("pre-receive", refuse);
    let (before, packs) = (
        refs(&stage.world, &stage.world.only_mirror()),
        stage.packs(),
    );
    let oid = stage.commit("ours", "secret");
    let ran = stage.push("ours", &["main", "main:new", ":spare"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
    remote: GitLab: You are not allowed to push code to protected branches on this project.
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (pre-receive hook declined)
     ! [remote rejected] spare (pre-receive hook declined)
     ! [remote rejected] main -> new (pre-receive hook declined)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    stage.nothing_came(&packs, &oid);
    assert_eq!(refs(&stage.world, &stage.world.only_mirror()), before);
    stage.world.clone_mirror(&stage.url, "theirs").ok();
    stage
        .world
        .git(["fetch", "origin", &oid])
        .at("theirs")
        .fails();
    let cat_file = stage.world.git(["cat-file", "-e", &oid]).at("theirs");
    cat_file.fails();
}

#[test]
fn a_push_that_is_refused_in_part_leaves_what_was_accepted() {
    let stage = Stage::new(fill).with_ours();
    stage.project.hook("update", "test $1 != refs/heads/safe");
    let good = stage.commit("ours", "good");
    stage.ours(&["switch", "-q", "-c", "bad"]).ok();
    let bad = stage.commit("ours", "bad");
    stage
        .push(
            "ours",
            &["main", "bad:refs/heads/safe", "main:new", ":spare"],
        )
        .code(1);
    assert!(stage.mirror_has(&good));
    assert!(
        !stage.mirror_has(&bad),
        "the mirror has nothing that was refused"
    );
    mirror_is_upstream(&stage.world, &stage.project);
    stage.project.hook("update", "exit 0");
    stage.push("ours", &["bad:refs/heads/safe"]).ok();
    assert!(stage.mirror_has(&bad));
    mirror_is_upstream(&stage.world, &stage.project);
}

#[test]
fn a_push_fails_at_once_when_gitlab_is_down_and_nothing_is_sent_later() {
    let stage = Stage::new(fill).with_ours();
    stage.commit("ours", "mine");
    let packs = stage.packs();
    let before = stage.project.refs();
    let mut all = String::new();
    stage.gitlab.stop();
    for stale in ["", "serve", "fail"] {
        let begun = Instant::now();
        let ran = stage.push("ours", &["main"]).env("MIRROR_STALE", stale);
        let ran = ran.fails();
        assert!(begun.elapsed() < AT_ONCE, "it does not wait: {ran}");
        writeln!(all, "{stale}:\n{}", ran.shown()).expect("into a string");
    }
    insta::assert_snapshot!(all, @r"
    :
    warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: serving the copy synced [time] ago
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (cannot reach 'http://gitlab.example/group/project.git': connection refused)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'

    serve:
    warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: serving the copy synced [time] ago
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (cannot reach 'http://gitlab.example/group/project.git': connection refused)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'

    fail:
    warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: serving the copy synced [time] ago
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] main -> main (cannot reach 'http://gitlab.example/group/project.git': connection refused)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    stage.gitlab.start();
    stage.gitlab.forget_requests();
    stage.ours(&["fetch", "-q"]).ok();
    let pushes = |request: &tests::Request| {
        format!("{}{}", request.path, request.query).contains("receive-pack")
    };
    assert!(
        !stage.gitlab.requests().iter().any(pushes),
        "nothing was kept for later"
    );
    assert_eq!(stage.project.refs(), before);
    assert_eq!(stage.packs(), packs);
    stage.push("ours", &["main"]).ok();
}

#[test]
fn a_push_asks_what_upstream_has_however_fresh_fetches_need_to_be() {
    let stage = Stage::new(fill).with_ours();
    stage.ours(&["fetch", "-q"]).ok();
    stage.project.commit("main", "theirs", "theirs");
    stage.commit("ours", "mine");
    // Without the advice that each version of git words in its own way.
    let push = ["-c", "advice.pushFetchFirst=no", "push", "origin", "main"];
    let ran = stage
        .ours(&push)
        .env("MIRROR_FRESH_FOR", "1d")
        .env("MIRROR_STALE", "serve")
        .code(1);
    insta::assert_snapshot!(ran.shown(), @r"
    To mirror::http://gitlab.example/group/project.git
     ! [rejected]        main -> main (fetch first)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
}

#[test]
fn two_worktrees_push_at_the_same_time() {
    let stage = Stage::new(fill).with_ours();
    for name in ["first", "second"] {
        let dir = format!("../{name}");
        stage
            .ours(&["worktree", "add", "-q", "-b", name, &dir, "main"])
            .ok();
        let commit = ["commit", "-q", "--allow-empty", "-m", name];
        stage.world.git(commit).at(name).ok();
    }
    let paused = stage.gitlab.pause(On::Push);
    let push = |name: &str| stage.world.git(["push", "origin", name]).at(name);
    let first = push("first").start();
    paused.reached();
    push("second").ok();
    paused.release();
    let ran = first.wait();
    assert!(ran.status.success(), "{ran}");
    stage.ours(&["fetch", "-q"]).ok();
    assert!(stage.project.tip("first").is_some() && stage.project.tip("second").is_some());
    mirror_is_upstream(&stage.world, &stage.project);
}

#[test]
fn messages_of_gitlab_are_printed_while_it_still_works() {
    let stage = Stage::new(fill).with_ours();
    let gate = stage.world.path("gate");
    stage.world.program("mkfifo", [&gate]).ok();
    let hook = format!("echo at work; timeout 60 cat {}; echo done", gate.display());
    stage.project.hook("pre-receive", &hook);
    stage.commit("ours", "mine");
    let push = stage.push("ours", &["main"]).start();
    push.printed("remote: at work");
    stage.world.program("tee", [&gate]).stdin("go on\n").ok();
    let ran = push.wait();
    assert!(ran.status.success(), "{ran}");
    insta::assert_snapshot!(ran.shown(), @r"
    remote: at work
    remote: go on
    remote: done
    To mirror::http://gitlab.example/group/project.git
       [oid]..[oid]  main -> main
    ");
}

#[test]
fn with_progress_a_push_shows_upstreams_progress() {
    let stage = Stage::new(fill).with_ours();
    stage.commit("ours", "mine");
    let ran = stage.push("ours", &["--progress", "main"]).ok();
    assert!(
        ran.stderr
            .contains("remote: To 127.0.0.1: Writing objects: 100%"),
        "{ran}"
    );
    stage.commit("ours", "more");
    let unasked = stage.push("ours", &["main"]).ok();
    insta::assert_snapshot!(unasked.shown(), @r"
    To mirror::http://gitlab.example/group/project.git
       [oid]..[oid]  main -> main
    ");
}

#[test]
fn a_branch_that_only_the_mirror_has_goes_upstream_when_it_is_pushed() {
    let stage = Stage::new(fill).with_ours();
    let tip = stage.ours(&["rev-parse", "main~1"]).ok().line().to_owned();
    let mirror = stage.world.only_mirror();
    stage
        .world
        .git(["update-ref", "refs/heads/mine", &tip])
        .at(&mirror)
        .ok();
    let moved = stage.commit("ours", "mine");
    stage.push("ours", &["main:refs/heads/mine"]).ok();
    assert_eq!(stage.project.tip("mine"), Some(moved));
    mirror_is_upstream(&stage.world, &stage.project);
}

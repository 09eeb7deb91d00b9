//! GitLab cannot be reached, or says no: what stays in the mirror needs nobody.

use std::time::{Duration, Instant};

use tests::{Fault, On, Run};

use super::{Stage, fill, fork, fork_of, stayed};

/// The time that counts as at once, on a machine that is busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A private project, read by `me`, whose token a credential helper gives.
fn private() -> Stage {
    let stage = Stage::new(fill);
    stage.gitlab.require_login("group/project", "me", "right");
    let helper = "!f() { cat >/dev/null; echo username=me; echo password=right; }; f";
    stage.world.config("credential.helper", helper);
    fork_of(stage)
}

/// Creates, moves, forces and deletes local branches and a tag, none of which upstream hears of, and lets the other
/// clone see it; `prepare` is done to each command.
#[track_caller]
fn works(fork: &Stage, prepare: impl Fn(Run) -> Run) {
    let requests = fork.pushes_seen();
    fork.upstream_stays(|| {
        let push = |args: &[&str], names: &[&str]| {
            let ran = stayed(prepare(fork.push("ours", args)), names);
            assert!(!ran.stderr.contains("\nerror: "), "{ran}");
        };
        fork.begin("mine");
        push(&["mine"], &["mine"]);
        fork.commit("ours", "more");
        push(&["mine", "HEAD:refs/tags/mark"], &["mine", "mark"]);
        fork.ours(&["commit", "-q", "--amend", "-m", "anew"]).ok();
        push(
            &["--force-with-lease", "mine", "HEAD:refs/heads/x"],
            &["mine", "x"],
        );
        push(&[":x"], &[]);
        let mine = fork.tip("ours", "mine");
        assert_eq!(fork.mirror_tip("refs/heads/mine"), mine);
        assert_eq!(fork.mirror_tip("refs/heads/x"), None);
        let seen = fork.theirs(&["fetch", "-q"]).env("MIRROR_STALE", "serve");
        prepare(seen).ok();
        assert_eq!(fork.tip("theirs", "origin/mine"), mine, "everybody sees it");
        push(&["--atomic", ":mine", ":refs/tags/mark"], &[]);
    });
    assert_eq!(fork.pushes_seen(), requests, "no push is tried upstream");
}

#[test]
fn local_branches_are_pushed_while_gitlab_is_down() {
    let fork = fork();
    fork.gitlab.stop();
    let begun = Instant::now();
    works(&fork, |run| run);
    assert!(begun.elapsed() < AT_ONCE, "nobody waits for it");
    fork.gitlab.start();
    fork.gitlab.forget_requests();
    fork.ours(&["fetch", "-q"]).ok();
    assert_eq!(fork.pushes_seen(), 0, "nothing was kept for later");
    fork.is_sound();
}

#[test]
fn local_branches_are_pushed_while_gitlab_is_down_by_a_daemon_that_was_started_since() {
    let fork = private();
    fork.gitlab.stop();
    fork.world.mirrord(["stop"]).ok();
    works(&fork, |run| run);
    fork.world.kill_daemon();
    works(&fork, |run| run);
}

#[test]
fn local_branches_are_pushed_while_gitlab_says_nothing() {
    let fork = fork();
    let impatient = |run: Run| {
        run.env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.lowSpeedTime")
            .env("GIT_CONFIG_VALUE_0", "1")
    };
    fork.begin("mine");
    let mut shown = String::new();
    let faults = [
        ("one", Fault::hang_before_headers()),
        ("two", Fault::hang_on_accept()),
        ("three", Fault::hang_after_headers()),
    ];
    for (name, fault) in faults {
        fork.gitlab.close_connections();
        fork.gitlab.fault(fault);
        fork.commit("ours", name);
        let ran = stayed(impatient(fork.push("ours", &["mine"])), &["mine"]);
        shown += &ran.shown();
        assert_eq!(fork.mirror_tip("refs/heads/mine"), fork.tip("ours", "mine"));
        fork.gitlab.clear_faults();
    }
    insta::assert_snapshot!(shown, @r"
        warning: cannot reach 'http://gitlab.example/group/project.git': no answer for [time]
        hint: serving the copy synced [time] ago
        remote: mine is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
         * [new branch]      mine -> mine
        warning: cannot reach 'http://gitlab.example/group/project.git': no answer for [time]
        hint: serving the copy synced [time] ago
        remote: mine is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
           [oid]..[oid]  mine -> mine
        warning: cannot reach 'http://gitlab.example/group/project.git': no answer for [time]
        hint: serving the copy synced [time] ago
        remote: mine is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
           [oid]..[oid]  mine -> mine
    ");
}

#[test]
fn local_branches_are_pushed_while_gitlab_says_no_or_something_else() {
    let fork = fork();
    fork.gitlab.fault(Fault::status(403));
    works(&fork, |run| run);
    fork.gitlab.clear_faults();
    let elsewhere = fork.gitlab.refused_address();
    let faults = [
        Fault::status(403),
        Fault::status(404),
        Fault::status(401),
        Fault::redirect(301, &elsewhere),
        Fault::status(500),
        Fault::html(),
        Fault::cut_after(10),
        // From here on it is left alone.
        Fault::status(429).header("Retry-After", "60"),
    ];
    for fault in faults {
        fork.gitlab.fault(fault);
        fork.begin("mine");
        stayed(fork.push("ours", &["--force", "mine"]), &["mine"]);
        assert_eq!(fork.mirror_tip("refs/heads/mine"), fork.tip("ours", "mine"));
        fork.push("ours", &[":mine"]).ok();
        fork.gitlab.clear_faults();
    }
}

#[test]
fn local_branches_are_pushed_while_a_download_from_gitlab_breaks() {
    let fork = fork();
    fork.project.commit("main", "next", "next");
    fork.gitlab.fault(Fault::cut_after(40).on(On::Fetch));
    works(&fork, |run| run);
    fork.gitlab.clear_faults();
    fork.ours(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("ours", "origin/main"), fork.project.tip("main"));
}

#[test]
fn a_credential_that_has_read_before_pushes_local_branches_when_gitlab_refuses_it() {
    let fork = private();
    fork.gitlab.revoke("me");
    works(&fork, |run| run);
    // What was proved outlives the daemon that saw it.
    fork.world.mirrord(["stop"]).ok();
    works(&fork, |run| run);
    fork.world.kill_daemon();
    works(&fork, |run| run);
}

#[test]
fn a_credential_that_was_banned_pushes_local_branches() {
    let fork = private();
    fork.gitlab.forbid("me");
    works(&fork, |run| run);
    fork.world.mirrord(["stop"]).ok();
    works(&fork, |run| run);
}

#[test]
fn a_credential_that_has_never_read_pushes_nothing() {
    let fork = private();
    fork.begin("mine");
    let before = fork.mirror_tip("refs/heads/mine");
    let strangers: [&[&str]; 2] = [
        &["-c", "credential.helper="],
        &[
            "-c",
            "credential.helper=",
            "-c",
            "credential.helper=!f() { echo username=you; echo password=guess; }; f",
        ],
    ];
    for down in [false, true] {
        if down {
            fork.gitlab.stop();
        }
        for stranger in strangers {
            let args = [stranger, &["push", "origin", "mine"]].concat();
            fork.ours(&args).fails();
            let clone = ["clone", "-q", "mirror::fork", "elsewhere"];
            let args = [stranger, &clone].concat();
            fork.world.git(&args).fails();
        }
    }
    assert_eq!(fork.mirror_tip("refs/heads/mine"), before);
}

#[test]
fn local_branches_are_pushed_while_upstream_looks_wiped_and_stay() {
    let fork = fork();
    fork.begin("before");
    fork.push("ours", &["before"]).ok();
    for (name, _) in fork.project.refs() {
        fork.project.delete(&name);
    }
    let tracked = fork.mirror_tip("refs/heads/main");
    works(&fork, |run| run);
    fork.begin("kept");
    let ran = stayed(fork.push("ours", &["kept"]), &["kept"]);
    insta::assert_snapshot!(ran.shown(), @r"
        warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 1
        hint: serving the copy synced [time] ago
        hint: the mirror keeps what it has; 'mirrord accept fork' takes upstream as it is now
        remote: kept is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
         * [new branch]      kept -> kept
    ");
    let both = fork
        .push("ours", &["--force", "kept:main", "kept:other"])
        .code(1);
    insta::assert_snapshot!(both.shown(), @r"
        warning: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 1
        hint: serving the copy synced [time] ago
        hint: the mirror keeps what it has; 'mirrord accept fork' takes upstream as it is now
        remote: other is local to this mirror; not sent to 127.0.0.1
        To mirror::fork
         * [new branch]      kept -> other
         ! [remote rejected] kept -> main ('http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 1)
        error: failed to push some refs to 'mirror::fork'
    ");
    assert_eq!(
        fork.mirror_tip("refs/heads/main"),
        tracked,
        "the old is served"
    );
    assert_eq!(
        fork.mirror_tip("refs/heads/other"),
        fork.tip("ours", "kept")
    );
    // Who takes upstream as it is now loses nothing of their own.
    fork.world.mirrord(["accept", "fork"]).ok();
    assert_eq!(fork.mirror_tip("refs/heads/main"), None);
    for name in ["before", "kept"] {
        let mirror_tip = fork.mirror_tip(&format!("refs/heads/{name}"));
        assert_eq!(mirror_tip, fork.tip("ours", name));
    }
    fork.is_sound();
}

#[test]
fn local_branches_outlive_the_project_itself() {
    let fork = fork();
    let mine = fork.begin("mine");
    fork.push("ours", &["mine"]).ok();
    fork.gitlab.delete_project("group/project");
    let args = ["fetch", "-q"];
    fork.theirs(&args).fails();
    fork.theirs(&args).env("MIRROR_STALE", "serve").ok();
    assert_eq!(fork.tip("theirs", "origin/mine"), Some(mine));
    fork.commit("ours", "more");
    stayed(fork.push("ours", &["mine"]), &["mine"]);
    fork.is_sound();
}

#[test]
fn who_wants_no_stale_answer_still_pushes_local_branches() {
    let fork = fork();
    fork.set("fork", &["--stale", "fail"]).ok();
    fork.gitlab.stop();
    fork.begin("mine");
    stayed(fork.push("ours", &["mine"]), &["mine"]);
    let args = ["mine:refs/heads/other"];
    stayed(
        fork.push("ours", &args).env("MIRROR_STALE", "fail"),
        &["other"],
    );
    fork.theirs(&["fetch", "-q"]).fails();
}

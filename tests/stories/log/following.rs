//! `mirrord log --follow`: what happens is seen as it happens.

use tests::Signal;

use super::{cloned, mirrored};

#[test]
fn log_follow_prints_a_fetch_as_it_happens() {
    let stage = cloned();
    let follow = stage.mirrord(&["log", "-f"]).start();
    follow.printed("sync (fetch)");
    stage.project.commit("main", "file", "more");
    stage.ours(&["fetch", "-q"]).ok();
    follow.printed("in step, 1 ref moved");
    stage.commit("ours", "file-1");
    stage.ours(&["push", "-q", "origin", "main:mine"]).ok();
    follow.printed("push             1 ref kept here");
    stage.mirrord(&["stop"]).ok();
    let ran = follow.wait();
    assert!(ran.status.success(), "{ran}");
    assert_eq!(ran.stderr, "mirrord has stopped\n", "{ran}");
    assert_eq!(ran.stdout.lines().count(), 5, "each once: {ran}");
}

#[test]
fn log_follow_of_one_mirror_prints_nothing_of_another() {
    let stage = cloned();
    stage.gitlab.project("group/other").history(1);
    let other = stage.gitlab.url("group/other");
    let follow = stage.mirrord(&["log", "-f", "-n", "1", "project"]).start();
    follow.printed("sync (fetch)     unchanged");
    stage.world.clone_mirror(&other, "theirs").ok();
    stage.mirrord(&["sync", "project"]).ok();
    follow.printed("sync (command)   unchanged");
    let (stdout, _) = follow.so_far();
    insta::assert_snapshot!(tests::shown(&stdout), @"
    [date]  project  sync (fetch)     unchanged, [time]
    [date]  project  sync (command)   unchanged, [time]
    ");
}

#[test]
fn ctrl_c_ends_log_follow() {
    let stage = mirrored();
    let mut follow = stage.mirrord(&["log", "-f"]).on_terminal();
    follow.shows("in step");
    follow.interrupt();
    let (code, shown) = follow.ended();
    assert_eq!(code, 130, "{shown}");
    insta::assert_snapshot!(tests::shown(&shown), @"
    [date]  project  sync (command)   in step, 1 ref moved, [size], [time]
    ^C
    ");
}

#[test]
fn a_killed_daemon_ends_log_follow_with_an_error() {
    let stage = mirrored();
    let follow = stage.mirrord(&["log", "-f"]).start();
    follow.printed("in step");
    stage.world.kill_daemon();
    let ran = follow.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    assert!(ran.stderr.starts_with("error: mirrord ended"), "{ran}");
}

/// Takes five seconds: `log -f` sees that its reader has gone when the daemon, with nothing to tell, sends a sign of
/// life.
#[test]
fn a_reader_that_closes_the_pipe_ends_log_follow_silently() {
    let stage = cloned();
    for command in ["mirrord log | head -n 1", "mirrord log -f | head -n 1"] {
        let ran = stage.world.program("sh", ["-c", command]).ok();
        assert_eq!(ran.stdout.lines().count(), 1, "{ran}");
        assert_eq!(ran.stderr, "", "{ran}");
    }
}

#[test]
fn a_log_follow_that_nobody_reads_blocks_nothing() {
    let stage = cloned();
    let follow = stage.mirrord(&["log", "-f"]).start();
    follow.printed("sync (fetch)");
    follow.kill(Signal::STOP);
    for _ in 0..20 {
        stage.ours(&["fetch", "-q"]).ok();
    }
    follow.kill(Signal::CONT);
    stage.mirrord(&["stop"]).ok();
    let ran = follow.wait();
    assert_eq!(ran.stdout.lines().count(), 22, "{ran}");
}

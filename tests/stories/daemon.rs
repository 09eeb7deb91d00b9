//! The daemon's life: it starts by itself and once, is nobody's burden, and may end at any time.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Fault, On, Ran, Running, Signal, World};

use crate::stage::Stage;

/// A project with some history, which nobody has mirrored; the daemon does not run yet.
pub(crate) fn stage() -> Stage {
    Stage::new(|project| drop(project.history(30)))
}

impl Stage {
    /// Starts a first clone, whose download stands still in the middle.
    fn clone_and_get_stuck(&self) -> Running {
        self.gitlab.fault(Fault::hang_after(1000).on(On::Fetch));
        let clone = self.clone(&self.url, "ours").start();
        self.gitlab.wait_for(|requests| {
            let is_under_way = |bytes| bytes >= 1000;
            let mut bytes = requests.iter().map(|request| request.response_bytes);
            bytes.any(is_under_way)
        });
        clone
    }

    #[track_caller]
    fn daemon_pid(&self) -> u32 {
        self.world.daemon_pid().expect("the daemon runs")
    }

    /// Reads a file of the daemon's in `/proc`.
    fn proc(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.daemon_pid()))
    }
}

/// Asserts that a program failed with one error line that says this; returns how many hints
/// it gave.
#[track_caller]
pub(crate) fn hints(ran: &Ran, expected: &str) -> usize {
    assert!(!ran.status.success(), "it should have failed: {ran}");
    let lines = |prefix: &str| {
        let mut lines = ran.stderr.lines().collect::<Vec<_>>();
        lines.retain(|line| line.starts_with(prefix));
        lines
    };
    let errors = lines("error: ");
    assert_eq!(errors.len(), 1, "one error: {ran}");
    assert!(errors[0].contains(expected), "it says '{expected}': {ran}");
    lines("hint: ").len()
}

/// Asserts that a program failed with one error line that says this, and one hint.
#[track_caller]
fn one_error(ran: &Ran, expected: &str) {
    assert_eq!(hints(ran, expected), 1, "one hint: {ran}");
}

#[test]
fn a_hundred_commands_at_once_start_one_daemon() {
    let stage = stage();
    let started: Vec<_> = (0..100).map(|_| stage.ls_remote().start()).collect();
    let answers: Vec<_> = started.into_iter().map(Running::wait).collect();
    for ran in &answers {
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran}");
        assert_eq!(ran.stdout, answers[0].stdout);
    }
    let status = stage.mirrord(&["status", "--json"]).ok();
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["pid"], stage.daemon_pid(), "{status}");
    // An orderly end, after which the whole log is there.
    stage.mirrord(&["stop"]).ok();
    let log = stage.world.log();
    assert_eq!(log.matches("listens at").count(), 1, "one daemon: {log}");
}

#[test]
fn a_daemon_in_the_foreground_runs_until_a_signal_and_is_the_only_one() {
    for signal in [Signal::TERM, Signal::INT] {
        let stage = stage();
        let daemon = stage.mirrord(&["run"]).start();
        daemon.printed("listens at");
        assert_eq!(stage.daemon_pid(), daemon.pid());
        let second = stage.mirrord(&["run"]).code(1);
        one_error(&second, &format!("already runs (process {})", daemon.pid()));
        stage.ls_remote().ok();
        assert_eq!(stage.daemon_pid(), daemon.pid(), "git uses the one there");
        daemon.kill(signal);
        let ran = daemon.wait();
        assert_eq!(ran.status.code(), Some(0), "{ran}");
        assert_eq!(ran.stdout, "", "its log is on stderr: {ran}");
    }
}

#[test]
fn an_unknown_command_is_wrong_usage() {
    let world = World::new();
    world.mirrord(["run", "--log-level", "loud"]).code(2);
    world.mirrord(["restart"]).code(2);
}

#[test]
fn the_next_command_takes_over_what_a_killed_daemon_left() {
    let stage = stage();
    stage.clone(&stage.url, "ours").ok();
    let killed = stage.daemon_pid();
    stage.world.kill_daemon();
    let socket = stage.world.mirror_home().join("socket");
    assert!(socket.exists(), "there is something to take over");
    let ran = stage.world.git(["fetch"]).at("ours").ok();
    assert_eq!(ran.stderr, "", "nobody is asked or told");
    assert_ne!(stage.daemon_pid(), killed);
}

#[test]
fn stop_stops_the_daemon_and_succeeds_when_none_runs() {
    let stage = stage();
    for _ in 0..2 {
        let ran = stage.mirrord(&["stop"]).ok();
        assert_eq!(ran.line(), "mirrord does not run");
    }
    stage.ls_remote().ok();
    assert_eq!(stage.mirrord(&["stop"]).ok().line(), "mirrord has stopped");
    assert_eq!(stage.world.daemon_pid(), None);
    assert_eq!(stage.mirrord(&["stop"]).ok().line(), "mirrord does not run");
}

#[test]
fn status_tells_whether_it_runs_and_starts_none() {
    let stage = stage();
    let json = || stage.world.mirrord(["status", "--json"]);
    assert_eq!(
        stage.mirrord(&["status"]).code(3).line(),
        "mirrord does not run"
    );
    assert_eq!(json().code(3).line(), "{\"running\":false}");
    assert_eq!(stage.world.daemon_pid(), None);
    stage.clone(&stage.url, "ours").ok();
    let pid = stage.daemon_pid();
    let ran = stage.mirrord(&["status"]).ok();
    insta::assert_snapshot!(ran.shown(), @"
    mirrord 0.1.0 runs as process [pid] for [time]
    socket:  /world/m/socket
    webhook: off
    mirrors: 1 in /world/m/mirrors
    clients: 0, 0 of them waiting for a sync
    disk:    [size] of [size]

    http+gitlab.example/group/project  in step [time] ago; next sync in [time]; [size]
    ");
    let status: Value = serde_json::from_str(&json().ok().stdout).expect("JSON");
    let mirrors = stage.world.mirror_home().join("mirrors");
    for (field, value) in [
        ("running", json!(true)),
        ("pid", json!(pid)),
        ("mirrors", json!(1)),
        ("clients", json!(0)),
        ("syncing", json!([])),
        ("mirrors_dir", json!(mirrors)),
    ] {
        assert_eq!(status[field], value, "{field}: {status}");
    }
}

#[test]
fn list_names_the_mirrors_and_their_upstreams() {
    let stage = stage();
    let json = |command| stage.world.mirrord([command, "--json"]).ok();
    assert_eq!(json("list").line(), "[]", "it starts the daemon");
    stage.clone(&stage.url, "ours").ok();
    insta::assert_snapshot!(stage.mirrord_shows(&["list"]), @"http+gitlab.example/group/project  http://gitlab.example/group/project.git  in step [time] ago");
    let listed: Value = serde_json::from_str(&json("ls").stdout).expect("JSON");
    let mirror = &listed[0];
    let host = stage.gitlab.host().replace(':', "+");
    for (field, value) in [
        ("name", json!(format!("http+{host}/group/project"))),
        ("url", json!(stage.url)),
        ("git_dir", json!(stage.world.only_mirror())),
        ("last_error", Value::Null),
        ("syncing", json!(false)),
    ] {
        assert_eq!(mirror[field], value, "{field}: {listed}");
    }
    assert_ne!(mirror["last_sync"], Value::Null, "{listed}");
}

#[test]
fn stop_in_the_middle_of_a_download_leaves_nothing_half_done() {
    let stage = stage();
    let clone = stage.clone_and_get_stuck();
    stage.mirrord(&["stop"]).ok();
    let ran = clone.wait();
    one_error(&ran, "mirrord");
    assert!(!stage.world.path("ours").exists(), "{ran}");
    assert_eq!(stage.world.mirrors(), [""; 0], "nothing half-written");
    stage.gitlab.clear_faults();
    stage.clone(&stage.url, "ours").ok();
}

#[test]
fn a_kill_in_the_middle_of_a_first_download_is_repaired_by_the_next_clone() {
    let stage = stage();
    let clone = stage.clone_and_get_stuck();
    stage.world.kill_daemon();
    let ran = clone.wait();
    one_error(&ran, "mirrord ended in the middle of the conversation");
    assert!(!stage.world.path("ours").exists(), "{ran}");
    let left = stage.world.mirrors();
    assert!(left.len() == 1 && left[0].starts_with(".new-"), "{left:?}");
    stage.gitlab.clear_faults();
    stage.clone(&stage.url, "ours").ok();
    let left = stage.world.mirrors();
    assert!(left.len() == 1 && left[0].ends_with(".git"), "{left:?}");
}

#[test]
fn the_daemon_keeps_nothing_of_the_directory_and_environment_it_was_started_in() {
    let stage = stage();
    // Run::ok() fails if anybody keeps the output open; the daemon inherits 3 and stdout, too.
    let script = "mkdir gone && cd gone && git ls-remote \"$0\" 3>&1 4</dev/null";
    stage
        .world
        .program("sh", ["-c", script, &format!("mirror::{}", stage.url)])
        .ok();
    fs::remove_dir(stage.world.path("gone")).expect("nobody keeps it");
    assert_eq!(
        fs::read_link(stage.proc("cwd")).expect("ours"),
        Path::new("/")
    );
    let stat = fs::read_to_string(stage.proc("stat")).expect("ours");
    // pid (comm) state ppid pgrp session
    let (_, rest) = stat.rsplit_once(") ").expect("the name is in brackets");
    let session = rest.split(' ').nth(3).expect("it has a session");
    assert_eq!(session, stage.daemon_pid().to_string(), "{stat}");
    let environ = fs::read_to_string(stage.proc("environ")).expect("ours");
    assert!(!environ.contains("GIT_"), "{environ:?}");
}

#[test]
fn stop_does_not_wait_until_the_daemons_process_is_reaped() {
    let stage = stage();
    // Its parent is this test, which has not asked yet how it ended. In many a container
    // nobody ever does.
    let daemon = stage.mirrord(&["run"]).start();
    daemon.printed("listens at");
    assert_eq!(stage.mirrord(&["stop"]).ok().line(), "mirrord has stopped");
    assert!(daemon.wait().status.success());
}

#[test]
fn stop_waits_for_running_fetches() {
    let stage = stage();
    // Plays git, and keeps the mirror in use until the test says more.
    let script = "mkfifo more; { echo option followtags true; echo connect git-upload-pack; cat more; } | git-remote-mirror origin \"$0\"";
    let url = stage.gitlab.url("group/project");
    let reader = stage.world.program("sh", ["-c", script, &url]).start();
    reader.printed("version 2");
    let stop = stage.mirrord(&["stop"]).start();
    // It does not listen any more when it has begun to stop.
    while stage.mirrord(&["status"]).run().status.success() {}
    let next = stage.ls_remote().start();
    fs::write(stage.world.path("more"), "0014command=ls-refs\n00000000").expect("it is read");
    let ran = reader.wait();
    assert!(ran.stdout.contains("refs/heads/main"), "{ran}");
    let ran = stop.wait();
    assert_eq!(ran.line(), "mirrord has stopped", "{ran}");
    let ran = next.wait();
    assert!(ran.status.success(), "the next one starts another: {ran}");
}

#[test]
fn ctrl_c_of_the_command_that_started_the_daemon_does_not_reach_the_daemon() {
    let stage = stage();
    let paused = stage.gitlab.pause(On::InfoRefs);
    let started = stage.ls_remote().start();
    paused.reached();
    let pid = stage.daemon_pid();
    started.kill_group(Signal::INT);
    started.wait();
    paused.release();
    stage.ls_remote().ok();
    assert_eq!(stage.daemon_pid(), pid);
}

#[test]
fn a_daemon_that_a_client_starts_writes_a_log() {
    let stage = stage();
    stage.clone(&stage.url, "ours").ok();
    stage.mirrord(&["stop"]).ok();
    let log = stage.world.log();
    let url = stage.gitlab.url("group/project");
    assert!(log.contains(&format!("'{url}' in step")), "{log}");
}

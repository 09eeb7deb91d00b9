//! The world runs programs, and leaves nothing behind.

use std::fs;

use tests::{Running, Signal, World};

/// Plays the daemon: writes its number where the daemon does, then lives on.
fn fake_daemon(world: &World) -> Running {
    fs::create_dir_all(world.mirror_home()).expect("the world is ours");
    // Opening the pipe blocks: the shell itself waits, without a child.
    let script = "mkfifo wait; echo $$ > $MIRROR_HOME/daemon.lock; echo ready; : < wait";
    let daemon = world.program("sh", ["-c", script]).start();
    daemon.printed("ready");
    daemon
}

#[test]
fn git_knows_nothing_of_the_real_home() {
    let world = World::new();
    let shown = world.git(["config", "--list", "--show-origin"]).ok();
    let home = world.home();
    let ours = format!("file:{}", home.display());
    assert!(
        shown.stdout.lines().all(|line| line.starts_with(&ours)),
        "{shown}"
    );
}

#[test]
fn the_socket_path_stays_short() {
    let world = World::new();
    assert!(world.mirror_home().as_os_str().len() < 30);
}

#[test]
fn input_goes_in_and_output_comes_out() {
    let world = World::new();
    let ran = world
        .program("sh", ["-c", "cat; echo oops >&2; exit 3"])
        .stdin("words")
        .code(3);
    assert_eq!((ran.line(), ran.stderr.as_str()), ("words", "oops\n"));
}

#[test]
fn the_daemon_is_found_and_killed() {
    let world = World::new();
    assert_eq!(world.daemon_pid(), None);
    let daemon = fake_daemon(&world);
    assert_eq!(world.daemon_pid(), Some(daemon.pid()));
    world.kill_daemon();
    assert!(!daemon.wait().status.success());
    assert_eq!(
        world.daemon_pid(),
        None,
        "a stale lock file names no daemon"
    );
}

#[test]
fn a_running_daemon_is_stopped_with_its_world() {
    let world = World::new();
    let daemon = fake_daemon(&world);
    drop(world);
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&daemon.wait().status),
        Some(Signal::TERM.as_raw())
    );
}

#[test]
#[should_panic(expected = "left behind")]
fn a_process_left_behind_fails_the_test() {
    let world = World::new();
    // Seen to be up: a process that is about to become another program has no words of its own for a moment.
    let script = "setsid sh -c 'touch up; sleep 1000; :' >/dev/null 2>&1 </dev/null &\n\
                  until [ -e up ]; do sleep 0.01; done";
    world.program("sh", ["-c", script]).ok();
}

#[test]
#[should_panic(expected = "keeps its output open")]
fn a_process_that_holds_the_pipe_fails_the_test() {
    let world = World::new();
    world.program("sh", ["-c", "setsid sleep 1000 &"]).ok();
}

#[test]
#[should_panic(expected = "should have succeeded")]
fn a_failure_that_was_not_expected_fails_the_test() {
    let world = World::new();
    world.program("sh", ["-c", "exit 1"]).ok();
}

#[test]
#[should_panic(expected = "same refs")]
fn clones_that_differ_are_told_apart() {
    let world = World::new();
    let project = world.project("upstream");
    project.commit("main", "a", "1");
    world.git(["clone", "-q", &project.url(), "one"]).ok();
    project.commit("main", "a", "2");
    world.git(["clone", "-q", &project.url(), "two"]).ok();
    tests::same_clone(&world, &world.path("one"), &world.path("two"));
}

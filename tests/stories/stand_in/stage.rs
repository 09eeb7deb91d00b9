//! The world runs programs, and leaves nothing behind.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::panic::{UnwindSafe, catch_unwind};
use std::thread;

use tests::{Running, Signal, World, same_clone};

use crate::stage::check;

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
fn programs_run_in_a_world_of_their_own() {
    let world = World::new();
    check("git knows nothing of the real home", || {
        let shown = world.git(["config", "--list", "--show-origin"]).ok();
        let ours = format!("file:{}", world.home().display());
        let is_ours = |line: &str| line.starts_with(&ours);
        assert!(shown.stdout.lines().all(is_ours), "{shown}");
    });
    check("the path of the socket is short", || {
        assert!(world.mirror_home().as_os_str().len() < 30);
    });
    check("input goes in, and output comes out", || {
        let script = ["-c", "cat; echo oops >&2; exit 3"];
        let ran = world.program("sh", script).stdin("words").code(3);
        assert_eq!((ran.line(), ran.stderr.as_str()), ("words", "oops\n"));
    });
}

#[test]
fn the_daemon_of_a_world_is_found_killed_and_stopped() {
    let world = World::new();
    check("there is none", || assert_eq!(world.daemon_pid(), None));
    check("it is found and killed", || {
        let daemon = fake_daemon(&world);
        assert_eq!(world.daemon_pid(), Some(daemon.pid()));
        world.kill_daemon();
        assert!(!daemon.wait().status.success());
    });
    check("a stale lock file names no daemon", || {
        assert_eq!(world.daemon_pid(), None);
    });
    fs::remove_file(world.path("wait")).expect("the world is ours");
    let daemon = fake_daemon(&world);
    drop(world);
    let signal = daemon.wait().status.signal();
    assert_eq!(
        signal,
        Some(Signal::TERM.as_raw()),
        "it ends with its world"
    );
}

/// What a test fails with.
fn failure(play: impl FnOnce() + UnwindSafe) -> String {
    let panic = catch_unwind(play).expect_err("the test must fail");
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().expect("a message")).to_owned())
}

/// Takes five seconds: so long a process that is left behind may take to end, and so long its output may stay open.
#[test]
fn what_goes_wrong_fails_the_test() {
    let sh = |script: &str| drop(World::new().program("sh", ["-c", script]).ok());
    // Seen to be up: a process that is about to become another program has no words of its own for a moment.
    let left = "setsid sh -c 'touch up; sleep 1000; :' >/dev/null 2>&1 </dev/null &\n\
                until [ -e up ]; do sleep 0.01; done";
    thread::scope(|scope| {
        let pairs = [
            (left, "left behind"),
            ("setsid sleep 1000 &", "keeps its output open"),
            ("exit 1", "should have succeeded"),
        ];
        for (script, expected) in pairs {
            scope.spawn(move || {
                let failure = failure(move || sh(script));
                assert!(failure.contains(expected), "{script}: {failure}");
            });
        }
    });
    let failure = failure(|| {
        let world = World::new();
        let project = world.project("upstream");
        for dir in ["one", "two"] {
            project.commit("main", "a", dir);
            world.git(["clone", "-q", &project.url(), dir]).ok();
        }
        same_clone(&world, &world.path("one"), &world.path("two"));
    });
    assert!(
        failure.contains("same refs"),
        "clones that differ: {failure}"
    );
}

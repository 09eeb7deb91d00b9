//! A running daemon whose socket, home or log is removed or elsewhere.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::{Run, Running, Signal};

use crate::{daemon::stage, stage::Stage};

/// In the directories of the platform.
fn on_platform(run: Run) -> Run {
    run.env_remove("MIRROR_HOME")
}

/// The process that a command finds in the directories of the platform, however it looks.
#[track_caller]
fn found(stage: &Stage, change: impl Fn(Run) -> Run) -> String {
    let status = change(on_platform(stage.world.mirrord(["status", "--json"]))).ok();
    let pid = status.stdout.lines().find(|line| line.contains("\"pid\""));
    pid.expect("it runs").trim().to_owned()
}

#[track_caller]
fn fetched(stage: &Stage, change: impl Fn(Run) -> Run) {
    let ran = change(on_platform(stage.world.git(["fetch"]).at("ours"))).ok();
    assert_eq!(ran.stderr, "", "{ran}");
}

#[test]
fn one_daemon_is_found_with_another_runtime_directory_or_none() {
    let stage = stage();
    let other = stage.world.path("other");
    fs::create_dir(&other).expect("the world is ours");
    fs::set_permissions(&other, Permissions::from_mode(0o700)).expect("ours");
    let as_it_is = |run: Run| run;
    let with_none = |run: Run| run.env("XDG_RUNTIME_DIR", "");
    let with_other = |run: Run| run.env("XDG_RUNTIME_DIR", &other);
    on_platform(stage.clone(&stage.url, "ours")).ok();
    let started = found(&stage, as_it_is);
    fetched(&stage, with_none);
    fetched(&stage, with_other);
    assert_eq!(found(&stage, with_none), started);
    assert_eq!(found(&stage, with_other), started);
    let stop = |change: &dyn Fn(Run) -> Run| {
        let ran = change(on_platform(stage.mirrord(&["stop"]))).ok();
        assert_eq!(ran.line(), "mirrord has stopped");
    };
    stop(&with_none);
    // And the other way round.
    fetched(&stage, with_none);
    let started = found(&stage, with_none);
    fetched(&stage, as_it_is);
    assert_eq!(found(&stage, with_other), started);
    stop(&as_it_is);
    assert_eq!(
        on_platform(stage.mirrord(&["stop"])).ok().line(),
        "mirrord does not run"
    );
}

#[test]
fn a_socket_that_is_gone_is_made_anew_and_nobody_notices() {
    let stage = stage();
    let run = stage.world.path("run");
    let as_it_is = |run: Run| run;
    on_platform(stage.clone(&stage.url, "ours")).ok();
    let started = found(&stage, as_it_is);
    let socket = run.join("mirror/socket");
    fs::remove_file(&socket).expect("it is there");
    fetched(&stage, as_it_is);
    // As at a logout and the next login.
    fs::remove_dir_all(&run).expect("ours");
    fs::create_dir(&run).expect("ours");
    fs::set_permissions(&run, Permissions::from_mode(0o700)).expect("ours");
    assert_eq!(found(&stage, as_it_is), started);
    assert!(socket.exists(), "in its own place");
    // One that is a dead one's is as good as none.
    fs::remove_file(&socket).expect("it is there");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("the path is free"));
    fetched(&stage, as_it_is);
    // Where there is no place for it any more, it has another.
    fs::remove_dir_all(&run).expect("ours");
    fs::write(&run, "").expect("ours");
    fetched(&stage, as_it_is);
    assert_eq!(found(&stage, as_it_is), started);
    let state = stage.world.path("home/.local/state/mirror");
    assert!(state.join("socket").exists());
    fs::remove_file(state.join("socket")).expect("it is there");
    let ran = on_platform(stage.mirrord(&["stop"])).ok();
    assert_eq!(ran.line(), "mirrord has stopped");
    assert!(!state.join("socket").exists(), "it takes it along");
}

/// Takes 5 s: so long `mirrord stop` waits for an answer before it sends a signal.
#[test]
fn a_daemon_that_does_not_answer_is_stopped_all_the_same() {
    let stage = stage();
    let daemon = started(&stage);
    daemon.kill(Signal::STOP);
    assert_eq!(stage.mirrord(&["stop"]).ok().line(), "mirrord has stopped");
    assert!(daemon.wait().status.success(), "it was asked, not killed");
}

/// A daemon whose end can be waited for.
fn started(stage: &Stage) -> Running {
    let daemon = stage.mirrord(&["run"]).start();
    daemon.printed("listens at");
    stage.ls_remote().ok();
    daemon
}

#[test]
fn a_daemon_without_its_home_ends_by_itself_and_never_two_work_on_one() {
    let stage = stage();
    let home = stage.world.mirror_home();
    let daemon = started(&stage);
    // The daemon may be writing there until it sees that its home is gone.
    while home.exists() {
        let _ = fs::remove_dir_all(&home);
    }
    let ran = daemon.wait();
    assert!(ran.stderr.contains("the home is gone"), "{ran}");
    assert!(!home.exists(), "it makes no other");

    // Another directory is there by now, and another daemon.
    let daemon = started(&stage);
    fs::rename(&home, stage.world.path("old")).expect("ours");
    stage.ls_remote().ok();
    let next = stage.world.daemon_pid().expect("there is another");
    assert_ne!(next, daemon.pid());
    let ran = daemon.wait();
    assert!(ran.stderr.contains("is another one by now"), "{ran}");
    stage.ls_remote().ok();
    assert_eq!(stage.world.daemon_pid(), Some(next), "and it stays");
    stage.mirrord(&["stop"]).ok();

    // The lock itself: whoever comes next does not begin before the first has ended.
    let daemon = started(&stage);
    fs::remove_file(home.join("daemon.lock")).expect("it is there");
    let ran = stage.ls_remote().ok();
    assert_eq!(ran.stderr, "", "{ran}");
    assert!(daemon.has_ended(), "there are never two");
    daemon.wait();
}

#[test]
fn more_connections_than_there_is_room_for_wait_for_their_turn() {
    let stage = stage();
    let script = "ulimit -n 128; exec mirrord run";
    let daemon = stage.world.program("sh", ["-c", script]).start();
    daemon.printed("listens at");
    let socket = stage.world.mirror_home().join("socket");
    let connect = |_| UnixStream::connect(&socket).expect("it listens");
    let idle: Vec<_> = (0..90).map(connect).collect();
    let open = || {
        let all = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs");
        all.count()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while open() < 64 {
        assert!(Instant::now() < deadline, "half of them are taken");
    }
    let waiting = stage.ls_remote().start();
    assert!(open() < 110, "and no more: {}", open());
    drop(idle);
    let ran = waiting.wait();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran}");
    stage.mirrord(&["stop"]).ok();
    daemon.wait();
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let stage = stage();
    let project = stage.gitlab.project("group/other");
    project.history(3);
    let address = format!("mirror::{}", stage.gitlab.url("group/other"));
    let serves = |script: &str| {
        let daemon = stage.world.program("sh", ["-c", script]).start();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !stage.mirrord(&["status"]).run().status.success() {
            assert!(Instant::now() < deadline, "{script}: it never runs");
        }
        for count in 0..2 {
            let tip = project.commit("main", "file", &format!("{script} {count}"));
            let ran = stage
                .world
                .git(["ls-remote", &address, "refs/heads/main"])
                .ok();
            assert!(
                ran.stdout.starts_with(&tip) && ran.stderr.is_empty(),
                "{script}: {ran}"
            );
        }
        stage.mirrord(&["stop"]).ok();
        daemon.wait();
    };
    serves("exec mirrord run --log-level debug 2>/dev/full");
    serves("exec mirrord run --log-level debug 2>&-");
    // Its reader has gone.
    serves("mirrord run --log-level debug 2>&1 >/dev/null | head -n 1 >/dev/null");
    let log = stage.world.mirror_home().join("log");
    fs::remove_dir_all(&log).ok();
    fs::write(&log, "").expect("ours");
    let ran = stage.ls_remote().ok();
    assert_eq!(ran.stderr, "", "started by git: {ran}");
}

/// Takes 5 s: so long `mirrord stop` waits for an answer before it sends a signal.
#[test]
fn nobody_but_root_may_look_into_a_daemon() {
    let stage = stage();
    let me = rustix::process::geteuid().as_raw();
    // What is root's anyway cannot be told from what is closed.
    let user = if me == 0 { 65534 } else { me };
    let home = stage.world.path("theirs");
    fs::create_dir(&home).expect("the world is ours");
    let program = stage.world.path("bin/mirrord");
    fs::create_dir(stage.world.path("bin")).expect("the world is ours");
    let script = "cp \"$(command -v mirrord)\" \"$0.new\" && mv \"$0.new\" \"$0\"";
    let args = ["-c", script, &program.display().to_string()];
    stage.world.program("sh", args).ok();
    if user != me {
        let root = Permissions::from_mode(0o755);
        fs::set_permissions(stage.world.root(), root).expect("ours");
        std::os::unix::fs::chown(&home, Some(user), Some(user)).expect("root may");
    }
    let as_user = |command: &str| {
        let script = r#"my $user = shift; if ($user != $<) { $( = $) = "$user $user"; $< = $> = $user } exec @ARGV"#;
        let program = program.display().to_string();
        let args = ["-e", script, &user.to_string(), &program, command];
        let run = stage.world.program("perl", args);
        run.env("MIRROR_HOME", &home).env("XDG_RUNTIME_DIR", "")
    };
    let daemon = as_user("run").start();
    daemon.printed("listens at");
    let owner = |file: &str| {
        let path = format!("/proc/{}/{file}", daemon.pid());
        fs::metadata(Path::new(&path)).expect("it runs").uid()
    };
    assert_eq!(owner("status"), 0, "its memory and environment are closed");
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let core = core.expect("it has a limit").split_whitespace().nth(4);
    assert_eq!(core, Some("0"), "{limits}");
    // It is known for a daemon all the same: by who does not find it, and by who stops it.
    fs::remove_file(home.join("socket")).expect("it is there");
    let ran = as_user("status").ok();
    insta::assert_snapshot!(ran.shown(), @"
    mirrord 0.1.0 runs as process [pid] for [time]
    socket:  /world/theirs/socket
    webhook: off
    mirrors: 0 in /world/theirs/mirrors
    clients: 0, 0 of them waiting for a sync
    disk:    0 bytes of [size]
    ");
    daemon.kill(Signal::STOP);
    assert_eq!(as_user("stop").ok().line(), "mirrord has stopped");
    daemon.wait();
}

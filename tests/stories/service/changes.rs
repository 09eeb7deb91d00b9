//! One daemon makes way for another: at an installation, an upgrade, a stop, and for good.

use std::fs;

use tests::{On, Running};

use super::{Service, on_stage};

/// How often the daemon's log says something.
fn log_count(stage: &Service, text: &str) -> usize {
    stage.world.log().matches(text).count()
}

/// Plays git, and keeps the mirror in use until it is told more.
fn reader(stage: &Service) -> Running {
    let script = "mkfifo more; { echo option followtags true; echo connect git-upload-pack; cat more; } | git-remote-mirror origin \"$0\"";
    let reader = ["-c", script, &stage.url];
    let reader = stage.world.program("sh", reader).start();
    reader.printed("version 2");
    reader
}

#[test]
fn a_daemon_that_git_has_started_gives_way_when_it_is_installed() {
    on_stage(|stage| {
        stage.clone("ours").ok();
        let started = stage.world.daemon_pid().expect("git has started one");
        assert_eq!(stage.systemd.main_pid(), None);
        stage.service("install");
        assert_ne!(stage.pid(), started);
        assert_eq!(log_count(stage, "asking the daemon that runs to stop"), 1);
        let ran = stage.fetch("ours").ok();
        assert_eq!(ran.stderr, "", "{ran}");
    });
}

#[test]
fn a_daemon_that_git_has_started_gives_way_to_one_that_a_login_starts() {
    on_stage(|stage| {
        stage.service("install");
        let args = ["stop", "mirrord.socket", "mirrord.service"];
        stage.systemd.ctl(args).ok();
        stage.clone("ours").ok();
        let started = stage.world.daemon_pid().expect("git has started one");
        assert_eq!(stage.systemd.main_pid(), None, "nobody else has");
        // A login has systemd listen first. Nobody finds the other one any more.
        stage.systemd.ctl(["start", "mirrord.socket"]).ok();
        assert_eq!(stage.world.daemon_pid(), Some(started));
        let ran = stage.fetch("ours").ok();
        assert_eq!(ran.stderr, "", "{ran}");
        assert_ne!(stage.pid(), started);
        // The one that went took nobody's socket along.
        let ran = stage.fetch("ours").ok();
        assert_eq!(ran.stderr, "", "{ran}");
    });
}

#[test]
fn a_client_that_waits_for_a_sync_of_the_old_daemon_is_served_by_the_new_one() {
    on_stage(|stage| {
        let paused = stage.gitlab.pause(On::Fetch);
        let clone = stage.clone("ours").start();
        paused.reached();
        let started = stage.world.daemon_pid().expect("git has started one");
        stage.service("install");
        let ran = clone.wait();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran}");
        assert_ne!(stage.pid(), started);
        paused.release();
    });
}

#[test]
fn an_upgrade_while_somebody_clones_is_not_seen_by_them() {
    on_stage(|stage| {
        stage.service("install");
        let old = stage.pid();
        let paused = stage.gitlab.pause(On::Fetch);
        let clone = stage.clone("ours").start();
        paused.reached();
        // A file that is there and a process that runs another one.
        stage.world.install("mirrord");
        stage.world.install("git-remote-mirror");
        let install = stage.systemd.mirrord(["service", "install"]).start();
        stage
            .systemd
            .becomes("mirrord.service", "ActiveState", "deactivating");
        // The old one goes on with what it has begun, and even with what is new.
        let listed = stage.systemd.mirrord(["list"]).ok();
        assert_eq!(listed.stderr, "", "{listed}");
        assert_eq!(stage.world.daemon_pid(), Some(old));
        paused.release();
        let ran = clone.wait();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran}");
        let ran = install.wait();
        assert_eq!(
            ran.line(),
            "mirrord is now a service of your systemd",
            "{ran}"
        );
        assert_ne!(stage.pid(), old);
        let exe = fs::read_link(format!("/proc/{}/exe", stage.pid())).expect("ours");
        assert_eq!(exe, stage.world.path("bin/mirrord"), "it is the new one");
        stage.world.git(["fsck"]).at("ours").ok();
    });
}

#[test]
fn stop_stops_the_service_until_its_next_use_and_says_so() {
    on_stage(|stage| {
        stage.service("install");
        let first = stage.pid();
        let ran = stage.systemd.mirrord(["stop"]).ok();
        insta::assert_snapshot!(ran.shown(), @"
        mirrord has stopped
        --- stderr
        hint: its next use starts it again; 'systemctl --user stop mirrord.socket mirrord.service' stops it until it is started again
        ");
        for _ in 0..2 {
            // Neither starts what it asks after.
            let ran = stage.systemd.mirrord(["status"]).code(3);
            assert_eq!(ran.line(), "mirrord does not run");
            let ran = stage.systemd.mirrord(["stop"]).ok();
            assert_eq!(ran.line(), "mirrord does not run");
        }
        stage.says("state", "listening");
        assert_eq!(stage.world.daemon_pid(), None);
        stage.clone("ours").ok();
        assert_ne!(stage.pid(), first);
    });
}

#[test]
fn a_clone_outlives_a_stop() {
    on_stage(|stage| {
        stage.service("install");
        let paused = stage.gitlab.pause(On::Fetch);
        let clone = stage.clone("ours").start();
        paused.reached();
        let first = stage.pid();
        stage.systemd.mirrord(["stop"]).ok();
        let ran = clone.wait();
        assert!(ran.status.success() && ran.stderr.is_empty(), "{ran}");
        assert_ne!(stage.pid(), first);
        paused.release();
    });
}

#[test]
fn a_push_outlives_a_restart() {
    on_stage(|stage| {
        stage.service("install");
        stage.clone("ours").ok();
        let old = stage.pid();
        let args = ["commit", "-q", "--allow-empty", "-m", "mine"];
        stage.world.git(args).at("ours").ok();
        let paused = stage.gitlab.pause(On::Push);
        let push = stage.world.git(["push", "-q"]).at("ours").start();
        paused.reached();
        let restart = stage.systemd.ctl(["restart", "mirrord.service"]).start();
        stage
            .systemd
            .becomes("mirrord.service", "ActiveState", "deactivating");
        paused.release();
        let ran = push.wait();
        assert!(ran.status.success(), "{ran}");
        let ran = restart.wait();
        assert!(ran.status.success(), "{ran}");
        assert_ne!(stage.pid(), old);
    });
}

#[test]
fn uninstall_leaves_nothing() {
    on_stage(|stage| {
        stage.clone("before").ok();
        stage.systemd.mirrord(["stop"]).ok();
        let files = |dir: &str| {
            let args = [dir, "-not", "-path", "*/systemd/generator*"];
            let found = stage.world.program("find", args).ok().stdout;
            let mut found: Vec<_> = found.lines().map(str::to_owned).collect();
            found.sort();
            found
        };
        fs::create_dir_all(stage.world.home().join(".config/systemd")).expect("the world is ours");
        let before = (files("home/.config"), files("run"));
        stage.service("install");
        stage.clone("ours").ok();
        assert_ne!(files("home/.config"), before.0);
        let output = stage.service("uninstall");
        assert_eq!(output.line(), "mirrord is no service any more");
        assert_eq!(output.stderr, "", "{output}");
        assert_eq!(files("home/.config"), before.0);
        assert_eq!(files("run"), before.1);
        assert_eq!(stage.world.daemon_pid(), None);
        assert_eq!(stage.systemd.started(), 0);
        for unit in ["mirrord.socket", "mirrord.service"] {
            assert_eq!(stage.systemd.property(unit, "LoadState"), "not-found");
        }
        assert_eq!(stage.service("uninstall").line(), "mirrord is no service");
        // git starts it by itself again, as ever.
        stage.fetch("ours").ok();
        assert!(stage.world.daemon_pid().is_some());
        assert_eq!(stage.systemd.started(), 0);
    });
}

#[test]
fn a_restart_waits_for_running_fetches() {
    on_stage(|stage| {
        stage.service("install");
        let reader = reader(stage);
        let uninstall = stage.systemd.mirrord(["service", "uninstall"]).start();
        stage
            .systemd
            .becomes("mirrord.service", "ActiveState", "deactivating");
        fs::write(stage.world.path("more"), "0014command=ls-refs\n00000000").expect("it is read");
        let ran = reader.wait();
        assert!(ran.stdout.contains("refs/heads/main"), "{ran}");
        let ran = uninstall.wait();
        assert!(ran.status.success(), "{ran}");
        assert_eq!(stage.systemd.started(), 0);
    });
}

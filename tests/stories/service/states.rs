//! The output of `service status` in each state, and the refusals.

use std::fs;

use regex::Regex;
use tests::{Ran, World, shown};

use super::{Service, on_stage};

/// The first line of the status, and its exit code.
#[track_caller]
fn status(stage: &Service) -> (String, Option<i32>) {
    let ran = stage.systemd.mirrord(["service", "status"]).run();
    let line = ran.stdout.lines().next().unwrap_or_default().to_owned();
    (line, ran.status.code())
}

#[test]
fn each_state_of_the_service_has_a_name_and_an_exit_code() {
    on_stage(|stage| {
        assert_eq!(status(stage), ("mirrord is no service".into(), Some(3)));
        stage.says("state", "not installed");
        stage.ls_remote().ok();
        let other = stage.world.daemon_pid().expect("git has started one");
        stage.says("daemon_pid", other);

        stage.service("install");
        let pid = stage.pid();
        let ran = (format!("the service runs as process {pid}"), Some(0));
        assert_eq!(status(stage), ran);
        stage.says("pid", pid);

        stage.systemd.ctl(["stop", "mirrord.service"]).ok();
        let ran = "systemd listens, and starts mirrord when it is used";
        assert_eq!(status(stage), (ran.into(), Some(0)));
        assert_eq!(stage.systemd.main_pid(), None, "it is not started for that");

        stage.systemd.ctl(["stop", "mirrord.socket"]).ok();
        let ran = "the service is installed and stopped";
        assert_eq!(status(stage), (ran.into(), Some(3)));
        stage.ls_remote().ok();
        let other = stage.world.daemon_pid().expect("git has started one");
        let ran = stage.systemd.mirrord(["service", "status"]).run();
        let line = format!("process {other}, which the service has not started");
        assert!(ran.stdout.contains(&line), "{ran}");
    });
}

#[test]
fn a_second_install_changes_nothing() {
    on_stage(|stage| {
        stage.service("install");
        let pid = stage.pid();
        let ran = stage.service("install");
        assert_eq!(ran.line(), "mirrord is already a service of your systemd");
        assert_eq!(stage.pid(), pid, "what is as it should be goes on");
        stage
            .systemd
            .ctl(["stop", "mirrord.socket", "mirrord.service"])
            .ok();
        stage.service("install");
        stage.pid();
    });
}

#[test]
fn a_socket_that_somebody_removes_is_made_anew() {
    on_stage(|stage| {
        stage.service("install");
        fs::remove_file(stage.world.mirror_home().join("socket")).expect("it is there");
        stage.service("install");
        stage.ls_remote().ok();
        stage.pid();
    });
}

#[test]
fn a_service_of_another_home_is_reported_and_replaced() {
    on_stage(|stage| {
        stage.service("install");
        let home = stage.world.path("elsewhere");
        let there = |command| {
            let run = stage.systemd.mirrord(["service", command]);
            run.env("MIRROR_HOME", &home)
        };
        let ran = there("status").ok();
        insta::assert_snapshot!(shown(&ran.stderr), @"hint: its files are not those of this program and place; 'mirrord service install' writes them anew");
        there("install").ok();
        let ran = there("status").ok();
        assert_eq!(ran.stderr, "", "{ran}");
        let socket = stage.world.mirror_home().join("socket");
        assert!(!socket.exists(), "nobody listens at the old place");
        assert!(home.join("socket").exists());
        there("uninstall").ok();
    });
}

/// Takes some seconds: systemd tries to start it several times before it gives up.
#[test]
fn a_service_whose_program_is_gone_does_not_keep_git_from_working() {
    on_stage(|stage| {
        let folder = stage.world.units().join("mirrord.service.d");
        fs::create_dir_all(&folder).expect("the world is ours");
        stage.service("install");
        let gone = "[Service]\nExecStart=\nExecStart=/nonexistent/mirrord run --service\n";
        fs::write(folder.join("gone.conf"), gone).expect("the world is ours");
        stage.systemd.ctl(["daemon-reload"]).ok();
        stage.systemd.ctl(["stop", "mirrord.service"]).ok();
        stage.ls_remote().ok();
        assert!(stage.world.daemon_pid().is_some(), "git has started one");
        let (output, code) = status(stage);
        assert!(output.starts_with("the service does not run: "), "{output}");
        assert_eq!(code, Some(3));
        let ran = stage.systemd.mirrord(["service", "install"]).run();
        insta::assert_snapshot!(ran.shown(), @"
        error: the service does not start: it ended at once
        hint: 'journalctl --user --unit mirrord.service' and the daemon's log know more
        ");
    });
}

#[test]
fn a_second_daemon_is_refused_whoever_starts_it() {
    on_stage(|stage| {
        stage.service("install");
        let ran = stage.systemd.mirrord(["run"]).code(1);
        insta::assert_snapshot!(ran.shown(), @"
        error: mirrord already runs (process [pid])
        hint: 'mirrord stop' stops it
        ");
        stage.systemd.mirrord(["stop"]).ok();
        // It would take the socket away from systemd.
        let ran = stage.systemd.mirrord(["run"]).code(1);
        insta::assert_snapshot!(ran.shown(), @"
        error: the service listens at '/world/m/socket'
        hint: 'systemctl --user stop mirrord.socket mirrord.service' stops it until it is started again
        ");
        stage.ls_remote().ok();
        stage.pid();
    });
}

#[test]
fn somebody_elses_unit_is_not_overwritten_nor_removed() {
    on_stage(|stage| {
        let unit = stage.world.units().join("mirrord.service");
        fs::create_dir_all(stage.world.units()).expect("the world is ours");
        fs::write(&unit, "[Service]\nExecStart=/bin/true\n").expect("the world is ours");
        for command in ["install", "uninstall", "status"] {
            let ran = stage.systemd.mirrord(["service", command]).code(1);
            insta::allow_duplicates! {
                insta::assert_snapshot!(ran.shown(), @"
                error: '/world/home/.config/systemd/user/mirrord.service' was not written by mirrord
                hint: move it out of the way
                ");
            }
        }
        let text = fs::read_to_string(&unit).expect("it is there");
        assert_eq!(text, "[Service]\nExecStart=/bin/true\n");
    });
}

/// An output, without what systemd itself says, which differs between its versions.
fn of_systemd(ran: &Ran) -> String {
    let its_own = Regex::new(r"Failed to .*").expect("a pattern");
    its_own.replace_all(&ran.shown(), "[systemd]").into_owned()
}

#[test]
#[cfg_attr(not(systemd), ignore = "needs systemd")]
fn without_a_user_manager_install_says_so_and_changes_nothing() {
    let world = World::new();
    let ran = world.mirrord(["service", "install"]).code(1);
    insta::assert_snapshot!(of_systemd(&ran), @"
    error: there is no systemd user manager: [systemd]
    hint: log in as yourself ('su' and 'sudo' start none), or do without: git starts the daemon by itself
    ");
    assert!(!world.units().exists(), "nothing is written");
    let ran = world.mirrord(["service", "status"]).code(3);
    assert_eq!(ran.line(), "mirrord is no service");
    let ran = world.mirrord(["service", "uninstall"]).ok();
    assert_eq!(ran.line(), "mirrord is no service");
}

#[test]
fn without_a_user_manager_the_service_can_still_be_removed() {
    let world = World::new();
    let left = {
        let Some(systemd) = world.systemd() else {
            return;
        };
        systemd.mirrord(["service", "install"]).ok();
        world.units().join("sockets.target.wants/mirrord.socket")
    };
    assert!(left.symlink_metadata().is_ok());
    let ran = world.mirrord(["service", "status"]).code(3);
    insta::assert_snapshot!(of_systemd(&ran), @"
    the service is installed, and systemd does not say how it is: [systemd]
    socket:   /world/m/socket
    log:      /world/m/log
    file:     /world/home/.config/systemd/user/mirrord.socket
    file:     /world/home/.config/systemd/user/mirrord.service
    --- stderr
    hint: its files are not those of this program and place; 'mirrord service install' writes them anew
    ");
    world.mirrord(["service", "uninstall"]).ok();
    assert!(!world.units().exists(), "nothing is left");
}

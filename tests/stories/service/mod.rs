//! The daemon as a service of the person's systemd: it listens for it, starts it, and starts it anew.

mod changes;
mod states;

use std::fs;
use std::ops::Deref;
use std::path::Path;

use serde_json::Value;
use tests::{Ran, Run, Signal, Systemd};

use crate::{clone::listed, ssh, stage::Stage};

/// A stage with the person's systemd, and nothing installed yet.
pub(crate) struct Service<'a> {
    stage: &'a Stage,
    pub(crate) systemd: Systemd<'a>,
}

/// Does something on a stage of its own, where there can be a systemd.
#[track_caller]
pub(crate) fn on_stage(story: impl FnOnce(&Service)) {
    let stage = Stage::new(|project| drop(project.history(30)));
    if let Some(systemd) = stage.world.systemd() {
        let stage = &stage;
        story(&Service { stage, systemd });
    }
}

impl Deref for Service<'_> {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        self.stage
    }
}

impl Service<'_> {
    /// Prepares a clone of the project through the mirror.
    pub(crate) fn clone(&self, dir: &str) -> Run {
        self.stage.clone(&self.url, dir)
    }

    #[track_caller]
    pub(crate) fn service(&self, command: &str) -> Ran {
        self.systemd.mirrord(["service", command]).ok()
    }

    /// The value of this field of the status.
    #[track_caller]
    pub(crate) fn says(&self, field: &str, value: impl Into<Value>) {
        let ran = self.systemd.mirrord(["service", "status", "--json"]).run();
        let status: Value = serde_json::from_str(&ran.stdout).expect("JSON");
        assert_eq!(status[field], value.into(), "{field}: {ran}");
    }

    /// The process of the service, which is the daemon.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        let pid = self.systemd.main_pid().expect("the service runs");
        assert_eq!(self.world.daemon_pid(), Some(pid), "there is one daemon");
        pid
    }
}

#[test]
fn an_installed_service_runs_and_its_next_use_starts_it_again() {
    on_stage(|stage| {
        let output = stage.service("install");
        assert_eq!(output.line(), "mirrord is now a service of your systemd");
        assert_eq!(output.stderr, "", "{output}");
        let first = stage.pid();
        stage.systemd.ctl(["stop", "mirrord.service"]).ok();
        assert_eq!(stage.systemd.main_pid(), None);
        let ran = stage.clone("ours").ok();
        assert_eq!(ran.stderr, "", "{ran}");
        assert_ne!(stage.pid(), first);
        for (unit, target) in [
            ("mirrord.socket", "sockets.target"),
            ("mirrord.service", "default.target"),
        ] {
            let wants = stage.systemd.property(target, "Wants");
            assert!(wants.contains(unit), "it is there after a login: {wants}");
        }
    });
}

#[test]
fn the_service_finds_what_its_clients_find_and_its_files_are_private() {
    on_stage(|stage| {
        stage.service("install");
        stage.clone("ours").ok();
        // Neither the places nor the programs are known to the manager.
        let environ = fs::read(format!("/proc/{}/environ", stage.pid())).expect("ours");
        let environ = String::from_utf8_lossy(&environ).into_owned();
        let path = stage.world.search_path().to_string_lossy().into_owned();
        let home = stage.world.mirror_home();
        for entry in [
            format!("MIRROR_HOME={}", home.display()),
            format!("PATH={path}"),
        ] {
            assert!(environ.split('\0').any(|found| found == entry), "{environ}");
        }
        assert_eq!(stage.world.mirrors().len(), 1);
        let limits = fs::read_to_string(format!("/proc/{}/limits", stage.pid())).expect("ours");
        let core = limits.lines().find(|line| line.starts_with("Max core"));
        let core = core.expect("it has a limit").split_whitespace();
        assert_eq!(
            core.skip(4).take(2).collect::<Vec<_>>(),
            ["0", "0"],
            "{limits}"
        );
        let status = fs::read_to_string(format!("/proc/{}/status", stage.pid())).expect("ours");
        assert!(status.contains("Umask:\t0077"), "{status}");
        assert!(
            stage.world.log().contains("in step"),
            "its log is where it is"
        );
        // The socket that it has been given is nobody else's.
        let fds = fs::read_dir(format!("/proc/{}/fd", stage.pid())).expect("ours");
        assert!(fds.count() > 3);
        let flags = fs::read_to_string(format!("/proc/{}/fdinfo/3", stage.pid())).expect("ours");
        let flags = flags.lines().find_map(|line| line.strip_prefix("flags:\t"));
        let flags = u32::from_str_radix(flags.expect("it has flags"), 8).expect("octal");
        assert_ne!(flags & 0o2_000_000, 0, "it is closed for every child");
    });
}

#[test]
fn the_service_is_found_from_a_shell_without_its_runtime_directory() {
    on_stage(|stage| {
        let run_here = |run: Run| run.env_remove("MIRROR_HOME");
        let elsewhere = |run: Run| run_here(run).env("XDG_RUNTIME_DIR", "");
        let socket = stage.world.path("run/mirror/socket");
        run_here(stage.systemd.mirrord(["service", "install"])).ok();
        let first = stage.systemd.main_pid().expect("the service runs");
        elsewhere(stage.clone("ours")).ok();
        assert_eq!(stage.systemd.main_pid(), Some(first));
        elsewhere(stage.world.mirrord(["stop"])).ok();
        assert!(socket.exists(), "it is systemd's");
        let status = elsewhere(stage.world.mirrord(["status"])).code(3);
        assert_eq!(status.line(), "mirrord does not run", "nor was it started");
        let fetch = || stage.fetch("ours");
        assert_eq!(elsewhere(fetch()).ok().stderr, "");
        let next = stage.systemd.runs_another_than(first);
        // Nobody comes through systemd's any more, and so it makes one itself.
        fs::remove_file(&socket).expect("it is there");
        for run in [run_here(fetch()), elsewhere(fetch())] {
            assert_eq!(run.ok().stderr, "");
        }
        assert_eq!(stage.systemd.main_pid(), Some(next));
        run_here(stage.systemd.mirrord(["service", "uninstall"])).ok();
        assert!(!socket.exists());
    });
}

#[test]
fn a_killed_service_is_started_again() {
    on_stage(|stage| {
        stage.service("install");
        stage.clone("ours").ok();
        let killed = stage.pid();
        stage.world.kill_daemon();
        // Whoever comes at once waits for the next.
        let ran = stage.fetch("ours").ok();
        assert_eq!(ran.stderr, "", "{ran}");
        let next = stage.systemd.runs_another_than(killed);
        assert_eq!(stage.pid(), next);
        stage.says("restarts", 1);
    });
}

/// Takes some seconds: so long the watchdog waits.
#[test]
fn a_service_that_hangs_is_killed_and_started_again() {
    on_stage(|stage| {
        let folder = stage.world.units().join("mirrord.service.d");
        fs::create_dir_all(&folder).expect("the world is ours");
        let soon = "[Service]\nWatchdogSec=4\n";
        fs::write(folder.join("soon.conf"), soon).expect("the world is ours");
        stage.service("install");
        stage.clone("ours").ok();
        let stopped = stage.pid();
        stage.systemd.signal(stopped, Signal::STOP);
        // It was connected to before anybody knew that it hangs.
        let ran = stage.fetch("ours").ok();
        assert_eq!(ran.stderr, "", "{ran}");
        let next = stage.systemd.runs_another_than(stopped);
        assert_eq!(stage.pid(), next);
        assert!(folder.join("soon.conf").exists());
    });
}

/// Takes some seconds: the watchdog must be fed for longer than it waits.
#[test]
fn a_service_that_is_alive_is_not_killed() {
    on_stage(|stage| {
        let folder = stage.world.units().join("mirrord.service.d");
        fs::create_dir_all(&folder).expect("the world is ours");
        fs::write(folder.join("soon.conf"), "[Service]\nWatchdogSec=5\n")
            .expect("the world is ours");
        stage.service("install");
        let pid = stage.pid();
        let watched = || {
            stage
                .systemd
                .property("mirrord.service", "WatchdogTimestampMonotonic")
        };
        let mut last = watched();
        // It is fed three times in the time after which it bites.
        for _ in 0..4 {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while watched() == last {
                assert!(
                    std::time::Instant::now() < deadline,
                    "nobody feeds the watchdog"
                );
            }
            last = watched();
        }
        assert_eq!(stage.pid(), pid);
        stage.says("restarts", 0);
    });
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn the_service_serves_over_ssh_and_a_kill_leaves_no_connection() {
    let stage = ssh::Stage::small();
    let Some(systemd) = stage.world.systemd() else {
        return;
    };
    systemd.mirrord(["service", "install"]).ok();
    let ran = stage.clone("ours").ok();
    assert_eq!(ran.stderr, "", "{ran}");
    assert_eq!(stage.masters(), 1);
    let killed = systemd.main_pid().expect("the service runs");
    stage.world.kill_daemon();
    systemd.runs_another_than(killed);
    assert_eq!(
        stage.masters(),
        0,
        "what belongs to a killed one goes with it"
    );
    let ran = stage.in_ours(&["fetch"]).ok();
    assert_eq!(ran.stderr, "", "{ran}");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn the_service_works_with_the_restrictions_of_the_example() {
    let filters = include_str!("../../../examples/systemd/mirrord.service.d/override.conf");
    let stage = ssh::Stage::small();
    let Some(systemd) = stage.world.systemd() else {
        return;
    };
    let folder = stage.world.units().join("mirrord.service.d");
    fs::create_dir_all(&folder).expect("the world is ours");
    fs::write(folder.join("override.conf"), filters).expect("the world is ours");
    systemd.mirrord(["service", "install"]).ok();
    let unprivileged = systemd.property("mirrord.service", "NoNewPrivileges");
    assert_eq!(unprivileged, "yes", "it is read");
    let pid = systemd.main_pid().expect("the service runs");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("ours");
    assert!(status.contains("Seccomp:\t2"), "{status}");

    let ran = stage.clone("ours").ok();
    assert_eq!(ran.stderr, "", "{ran}");
    let commit = ["commit", "-q", "--allow-empty", "-m", "mine"];
    stage.in_ours(&commit).ok();
    stage.in_ours(&["push", "-q"]).ok();
    let gitlab = stage.world.gitlab();
    gitlab.project("group/project").history(30);
    let url = gitlab.url("group/project");
    stage.world.clone_mirror(&url, "theirs").ok();
    let mut found = listed(&stage.world, "url");
    found.sort();
    let mut expected = [url, stage.url.clone()];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(systemd.main_pid(), Some(pid), "nothing ended it");
}

#[test]
fn a_home_with_odd_characters_works() {
    on_stage(|stage| {
        let home = stage.world.path(r#"50% "of" $me & \you"#);
        let there = |run: Run| run.env("MIRROR_HOME", &home);
        there(stage.systemd.mirrord(["service", "install"])).ok();
        there(stage.clone("ours")).ok();
        let ran = there(stage.systemd.mirrord(["service", "status"])).ok();
        assert!(ran.stdout.starts_with("the service runs"), "{ran}");
        assert_eq!(ran.stderr, "", "{ran}");
        assert!(!stage.world.mirror_home().join("mirrors").exists());
        assert!(Path::new(&home).join("mirrors").exists());
        there(stage.systemd.mirrord(["service", "uninstall"])).ok();
    });
}

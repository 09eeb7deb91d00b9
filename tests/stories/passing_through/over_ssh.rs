//! Over ssh too: by the user's own, as git runs it, and where that would have to ask, the mirror is waited for.

use rustix::process::Signal;
use tests::{Ran, World};

use super::{mirror_is_made, no_mirror_is_made};
use crate::{
    clone::{fill, listed},
    ssh::Stage,
};

/// Accepts one session, and refuses all after it.
const ONE_SESSION: &str = "if ! mkdir once 2>/dev/null; then exit 1; fi";

/// Breaks off in silence, and stays until the other side has gone.
const HANGS_HALFWAY: &str =
    "sh -c \"$SSH_ORIGINAL_COMMAND\" | dd bs=1 count=500 status=none; exec cat >/dev/null";

fn impatient(world: &World) {
    world.config("http.lowSpeedTime", "1");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_part_comes_in_one_session_before_there_is_a_mirror() {
    for options in [
        &["--depth=1"][..],
        &["--single-branch", "--branch", "topic"],
    ] {
        let stage = Stage::new(fill);
        stage.sshd.fault(ONE_SESSION);
        stage.clone("ours").arg("-q").args(options).ok();
        no_mirror_is_made(&stage.world);
        stage.sshd.clear_fault();
        let twins = stage.world.clone_twins(&stage.url, options);
        tests::same_clone(&stage.world, &stage.world.path("ours"), twins.plain());
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_clone_over_ssh_that_passes_through_is_like_a_plain_one() {
    for options in [
        &["--single-branch"][..],
        &["--depth=3", "--no-single-branch"],
    ] {
        let stage = Stage::new(fill);
        let path = stage.project.dir().to_string_lossy().into_owned();
        let url = match options.len() {
            1 => stage.url.clone(),
            _ => stage.sshd.scp(&path),
        };
        let twins = stage.world.clone_twins(&url, options);
        mirror_is_made(&stage.world);
        stage.project.commit("main", "later", "later");
        twins.git(&["fetch", "-q"]);
        twins.same();
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_passphrase_is_asked_for_by_the_daemon() {
    let stage = Stage::new(fill);
    let arguments = ["-q", "-p", "-P", "", "-N", "opens", "-f"];
    let keygen = stage.world.program("ssh-keygen", arguments);
    keygen.arg(stage.world.path("ssh/key")).ok();
    let askpass = stage.world.path("bin/opens");
    stage.world.script("bin/opens", "#!/bin/sh\necho opens\n");
    let clone = stage.clone("ours").args(["-q", "--depth=1"]);
    let clone = clone.env("SSH_ASKPASS", askpass);
    clone.env("SSH_ASKPASS_REQUIRE", "force").ok();
    assert_eq!(listed(&stage.world, "name").len(), 1, "it was waited for");
    assert_eq!(stage.sshd.accepted(), 1);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn errors_of_a_clone_over_ssh_are_the_same_with_and_without_passing_through() {
    let result = |setting: &str, fault: &dyn Fn(&mut Stage)| {
        let mut stage = Stage::new(fill);
        let passes = ["config", "pass-through", setting];
        stage.world.mirrord(passes).ok();
        fault(&mut stage);
        let Ran { stderr, status, .. } = stage.clone("ours").arg("--depth=1").run();
        let port = stage.sshd.port().to_string();
        let stderr = stderr.replace(&*stage.world.root().to_string_lossy(), "ROOT");
        (status.code(), stderr.replace(&port, "PORT"))
    };
    let faults: [&dyn Fn(&mut Stage); 4] = [
        &|stage| stage.sshd.forget_host_key(),
        &|stage| stage.url = stage.sshd.url_of("/nothing/there.git"),
        &|stage| {
            stage.sshd.stop();
            stage.sshd.start_old();
        },
        &|stage| stage.world.config("ssh.variant", "simple"),
    ];
    for (nth, fault) in faults.into_iter().enumerate() {
        let without = |(code, stderr): (Option<i32>, String)| {
            // What the keys of two worlds are differs.
            let lines = stderr.lines().filter(|line| !line.contains("SHA256:"));
            (code, lines.map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(
            without(result("yes", fault)),
            without(result("no", fault)),
            "{nth}"
        );
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn an_upstream_that_says_nothing_is_given_up() {
    let stage = Stage::new(fill);
    impatient(&stage.world);
    stage.sshd.freeze();
    let ran = stage.clone("ours").arg("--depth=1").code(128);
    let expected = format!("error: cannot reach '{}': ", stage.url);
    assert!(ran.stderr.contains(&expected), "{ran}");
    stage.sshd.thaw();
    stage.sshd.fault(HANGS_HALFWAY);
    let ran = stage.clone("ours").arg("--depth=1").code(128);
    insta::assert_snapshot!(stage.shown(&ran.stderr), @"
    error: cannot reach 'ssh://me@gitlab.example/world/login/project.git': no answer for [time]
    fatal: expected flush after ref listing
    ");
    assert!(!stage.world.path("ours").exists());
    no_mirror_is_made(&stage.world);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_server_that_stays_when_it_has_given_all_is_not_waited_for() {
    let stage = Stage::new(fill);
    impatient(&stage.world);
    stage.sshd.fault(
        "sh -c \"$SSH_ORIGINAL_COMMAND\"; while [ -e \"$fault\" ]; do sleep 0.1; done; exit",
    );
    stage.clone("ours").args(["-q", "--depth=1"]).ok();
    stage.sshd.clear_fault();
    let plain = ["clone", "-q", "--depth=1", &stage.url, "plain"];
    stage.world.git(plain).ok();
    let world = &stage.world;
    tests::same_clone(world, &world.path("ours"), &world.path("plain"));
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn an_empty_project_of_the_old_protocol_is_cloned_as_by_git() {
    let stage = Stage::new(fill);
    // What a git of some years ago says of one, and then it waits.
    stage.sshd.fault("printf 0000; cat >/dev/null; exit");
    let ran = stage.clone("ours").arg("--depth=1").ok();
    insta::assert_snapshot!(ran.shown(), @"warning: You appear to have cloned an empty repository.");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_clone_that_is_interrupted_leaves_nothing_and_no_mirror_is_made() {
    let stage = Stage::new(fill);
    stage.sshd.fault(HANGS_HALFWAY);
    let clone = stage.clone("ours").arg("--depth=1").start();
    stage.sshd.logged("Starting session");
    clone.kill_group(Signal::INT);
    let ran = clone.wait();
    assert!(!ran.status.success(), "{ran}");
    assert!(!stage.world.path("ours").exists(), "{ran}");
    no_mirror_is_made(&stage.world);
}

//! Errors of ssh: the message, nothing left behind, and a next try that works.

use std::fs;

use tests::{Signal, World, processes};

use crate::{failures::is_back, ssh::Stage};

/// A first clone fails, leaves nothing, and works after `mend`; returns what it said.
#[track_caller]
fn clone_fails(stage: &mut Stage, mend: impl FnOnce(&mut Stage)) -> String {
    let ran = stage.clone("clone").code(128);
    assert!(!stage.world.path("clone").exists(), "no clone is left");
    assert_eq!(stage.world.mirrors(), [""; 0], "no mirror is left");
    let errors = ran.stderr.matches("error: ").count();
    assert_eq!(errors, 1, "one error line: {ran}");
    mend(stage);
    stage.clone("clone").ok();
    // The next clone is a first one again.
    stage.world.mirrord(["stop"]).ok();
    for left in [stage.world.path("clone"), stage.world.mirror_home()] {
        fs::remove_dir_all(left).expect("the world is ours");
    }
    stage.shown(&ran.stderr)
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_server_that_cannot_be_reached_is_named_with_the_reason() {
    let mut stage = Stage::small();
    stage.sshd.forget_host_key();
    let unknown = clone_fails(&mut stage, |stage| stage.sshd.accept_host_key());
    insta::assert_snapshot!(unknown, @"
    error: cannot reach 'ssh://me@gitlab.example/world/login/project.git': its host key is not known
    hint: look at it, and accept it if it is right: ssh -p [port] me@127.0.0.1
    ");
    stage.change_host_key();
    let changed = clone_fails(&mut stage, |stage| stage.sshd.accept_host_key());
    insta::assert_snapshot!(changed, @"
    error: cannot reach 'ssh://me@gitlab.example/world/login/project.git': its host key has changed: [another key] was known, [host key] answers
    hint: somebody may be in the middle; if it should have, forget the old one and look at the new: ssh-keygen -f '/world/ssh/known_hosts' -R 'gitlab.example' && ssh -p [port] me@127.0.0.1
    ");
    stage.sshd.authorize(&["ssh/another"]);
    let refused = clone_fails(&mut stage, |stage| stage.sshd.authorize(&["ssh/key"]));
    insta::assert_snapshot!(refused, @"
    error: 'ssh://me@gitlab.example/world/login/project.git' refuses your key
    hint: 'ssh -v -p [port] me@127.0.0.1' shows which keys it tries; one with a passphrase must be in the agent: ssh-add
    ");
    stage.sshd.stop();
    let down = clone_fails(&mut stage, |stage| stage.sshd.start());
    insta::assert_snapshot!(down, @"error: cannot reach 'ssh://me@gitlab.example/world/login/project.git': connection refused");
    stage.sshd.configure("Host *\n\tConnectTimeout 1");
    stage.sshd.freeze();
    let hanging = clone_fails(&mut stage, |stage| stage.sshd.thaw());
    insta::assert_snapshot!(hanging, @"error: cannot reach 'ssh://me@gitlab.example/world/login/project.git': connection timed out");
    let url = "ssh://git@gitlab.invalid/group/project.git";
    let unresolved = stage.world.clone_mirror(url, "clone").code(128);
    insta::assert_snapshot!(unresolved.stderr, @"error: cannot reach 'ssh://git@gitlab.invalid/group/project.git': could not resolve host");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_server_that_does_not_serve_the_repository_is_named_with_the_reason() {
    let mut stage = Stage::small();
    let url = stage.sshd.url_of("/nowhere/project.git");
    let missing = stage.world.clone_mirror(&url, "clone").code(128);
    insta::assert_snapshot!(stage.shown(&missing.stderr), @"error: cannot read 'ssh://me@gitlab.example/nowhere/project.git': '/nowhere/project.git' does not appear to be a git repository");
    assert_eq!(stage.world.mirrors(), [""; 0]);
    let mut at_fault = |lines: &str| {
        stage.sshd.fault(lines);
        clone_fails(&mut stage, |stage| stage.sshd.clear_fault())
    };
    let unknown = at_fault(
        "printf 'remote: \\nremote: =====\\nremote: \\nremote: ERROR: The project you were looking for could not be found or \
         you do not have permission to view it.\\nremote: \\n' >&2; exit 1",
    );
    insta::assert_snapshot!(unknown, @"
    error: cannot read 'ssh://me@gitlab.example/world/login/project.git': The project you were looking for could not be found or you do not have permission to view it
    hint: check the address; a key without permission is told the same
    ");
    let in_gits_protocol = at_fault("printf '0021ERR access denied to project\\n'; exit 1");
    insta::assert_snapshot!(in_gits_protocol, @"error: cannot read 'ssh://me@gitlab.example/world/login/project.git': access denied to project");
    let silent = at_fault("exit 3");
    insta::assert_snapshot!(silent, @"error: cannot read 'ssh://me@gitlab.example/world/login/project.git': the answer ended too early");
    let without_git = at_fault("echo 'sh: 1: git-upload-pack: not found' >&2; exit 127");
    insta::assert_snapshot!(without_git, @"error: cannot read 'ssh://me@gitlab.example/world/login/project.git': the server has no git-upload-pack");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn the_old_protocol_has_errors_too() {
    let mut stage = Stage::small();
    stage.sshd.stop();
    stage.sshd.start_old();
    let missing = stage.sshd.url_of("/nowhere/project.git");
    let missing = stage
        .world
        .git(["ls-remote", &format!("mirror::{missing}")]);
    let missing = missing.code(128);
    insta::assert_snapshot!(stage.shown(&missing.stderr), @"error: cannot read 'ssh://me@gitlab.example/nowhere/project.git': '/nowhere/project.git' does not appear to be a git repository");
    stage.clone("ours").ok();
    stage.sshd.stop();
    let stale = stage.in_ours(&["fetch"]).ok();
    insta::assert_snapshot!(stage.shown(&stale.stderr), @"
    warning: cannot reach 'ssh://me@gitlab.example/world/login/project.git': connection refused
    hint: serving the copy synced [time] ago
    ");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn an_upstream_that_is_down_is_answered_from_the_copy_with_its_age() {
    let mut stage = Stage::small();
    stage.clone("ours").ok();
    stage.sshd.stop();
    let stale = stage.in_ours(&["fetch"]).ok();
    insta::assert_snapshot!(stage.shown(&stale.stderr), @"
    warning: cannot reach 'ssh://me@gitlab.example/world/login/project.git': connection refused
    hint: serving the copy synced [time] ago
    ");
    let failed = stage.in_ours(&["fetch"]).env("MIRROR_STALE", "fail");
    let failed = failed.code(128);
    insta::assert_snapshot!(stage.shown(&failed.stderr), @"error: cannot reach 'ssh://me@gitlab.example/world/login/project.git': connection refused");
    stage.sshd.start();
    let tip = stage.project.commit("main", "a", "b");
    is_back(|| stage.in_ours(&["fetch", "-q"]));
    let ours = stage.in_ours(&["rev-parse", "origin/main"]).ok();
    assert_eq!(ours.line(), tip);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_refused_key_is_no_reason_to_serve_the_copy() {
    let stage = Stage::small();
    stage.clone("ours").ok();
    stage.world.mirrord(["stop"]).ok();
    stage.world.ssh_key("ssh/another");
    stage.sshd.authorize(&["ssh/another"]);
    let refused = stage.in_ours(&["fetch"]).code(128);
    insta::assert_snapshot!(stage.shown(&refused.stderr), @"
    error: 'ssh://me@gitlab.example/world/login/project.git' refuses your key
    hint: 'ssh -v -p [port] me@127.0.0.1' shows which keys it tries; one with a passphrase must be in the agent: ssh-add
    ");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_server_that_hangs_behind_a_kept_connection_is_given_up() {
    let stage = Stage::small();
    stage
        .sshd
        .configure("Host *\n\tConnectTimeout 1\n\tServerAliveInterval 1\n\tServerAliveCountMax 1");
    stage.clone("ours").ok();
    stage.sshd.freeze();
    let stale = stage.in_ours(&["fetch"]).ok();
    assert!(stale.stderr.starts_with("warning: cannot reach"), "{stale}");
    stage.sshd.thaw();
    is_back(|| stage.in_ours(&["fetch"]));
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn ctrl_c_during_a_slow_clone_ends_its_ssh() {
    let stage = Stage::small();
    stage.sshd.fault("echo stuck >&2; exec sleep 1000");
    let clone = stage.clone("clone").start();
    stage.sshd.logged("Starting session");
    clone.kill_group(Signal::INT);
    clone.wait();
    stage.world.wait_until_no_sync();
    assert_eq!(
        processes(stage.world.root(), "git-upload-pack '/"),
        [""; 0],
        "no ssh is left"
    );
    stage.sshd.clear_fault();
    stage.clone("clone").ok();
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_killed_daemon_leaves_nothing_in_the_way_of_the_next() {
    let stage = Stage::small();
    stage.clone("ours").ok();
    stage.world.kill_daemon();
    let tip = stage.project.commit("main", "a", "b");
    assert_eq!(stage.in_ours(&["fetch", "-q"]).ok().stderr, "");
    let ours = stage.in_ours(&["rev-parse", "origin/main"]).ok();
    assert_eq!(ours.line(), tip);
    assert_eq!(stage.sshd.accepted(), 2, "what the dead one kept was ended");
    assert_eq!(processes(stage.world.root(), "[mux]").len(), 1);
}

#[test]
fn nothing_is_started_for_an_address_that_hides_an_option() {
    let world = World::new();
    let sentinel = world.path("sentinel");
    world.script(
        "bin/ssh",
        &format!("#!/bin/sh\ntouch {}\n", sentinel.display()),
    );
    // The parser's own tests have every other place in which an option could hide.
    let table = [
        "ssh://-oProxyCommand=ssh/p",
        "-oProxyCommand=ssh:p",
        "[-oProxyCommand=ssh:22]:p",
        "h:-oProxyCommand=ssh",
        "ssh://`ssh`@h/p",
        "ssh://u:S3CRET@h/p",
    ];
    let refused = |address| {
        let address = format!("mirror::{address}");
        let ran = world.git(["ls-remote", "--", &address]).code(128);
        ran.stderr
    };
    insta::assert_snapshot!(table.map(refused).concat(), @"
    error: invalid host in 'ssh://-oProxyCommand=ssh/p': it starts with '-'
    error: invalid address in '-oProxyCommand=ssh:p': it starts with '-'
    error: invalid host in '[-oProxyCommand=ssh:22]:p': it starts with '-'
    error: invalid path in 'h:-oProxyCommand=ssh': it starts with '-'
    error: invalid user in 'ssh://h/p': only letters, digits and '._-+=' are allowed in it
    error: invalid password in 'ssh://h/p': an ssh address takes none
    ");
    assert!(!sentinel.exists(), "nothing was run");
    assert!(!world.mirror_home().exists(), "nobody was started");
}

//! Errors of ssh: the message, nothing left behind, and a next try that works.

use std::fs;

use tests::{Ran, Signal, World, processes};

use crate::{failures::is_back, ssh::Stage};

/// Asserts one `error:` line with this text, at most one hint, and no message of ssh's own.
#[track_caller]
fn one_error(ran: &Ran, expected: &str) {
    let lines = |prefix: &str| {
        let lines = ran.stderr.lines().filter(|line| line.starts_with(prefix));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let errors = lines("error: ");
    assert_eq!(errors.len(), 1, "one error line: {ran}");
    assert!(errors[0].contains(expected), "it says '{expected}': {ran}");
    assert!(lines("hint: ").len() <= 1, "at most one hint: {ran}");
    let others = ran.stderr.lines().filter(|line| {
        !["error: ", "hint: ", "fatal: ", "Cloning into"]
            .iter()
            .any(|start| line.starts_with(start))
    });
    assert_eq!(others.count(), 0, "and nothing else: {ran}");
    for inside in ["Some(", "Err(", "{ ", "panicked", "os error", "src/"] {
        assert!(
            !ran.stderr.contains(inside),
            "'{inside}' is not for people: {ran}"
        );
    }
}

/// A first clone fails so, leaves nothing, and works after `mend`.
#[track_caller]
fn clone_fails(stage: &mut Stage, expected: &str, mend: impl FnOnce(&mut Stage)) {
    let expected = expected.replace("URL", &stage.url);
    let ran = stage.clone("clone").code(128);
    one_error(&ran, &expected);
    assert!(!stage.world.path("clone").exists(), "no clone is left");
    assert_eq!(stage.world.mirrors(), [""; 0], "no mirror is left");
    mend(stage);
    stage.clone("clone").ok();
}

#[test]
fn the_host_key_is_not_known() {
    let mut stage = Stage::small();
    stage.sshd.forget_host_key();
    let args = "cannot reach 'URL': its host key is not known";
    clone_fails(&mut stage, args, |stage| stage.sshd.accept_host_key());
}

#[test]
fn the_host_key_has_changed() {
    let mut stage = Stage::small();
    let known = stage.world.path("ssh/known_hosts");
    stage.world.ssh_key("ssh/another");
    let another = fs::read_to_string(stage.world.path("ssh/another.pub")).expect("a key");
    let line = format!("[127.0.0.1]:{} {another}", stage.sshd.port());
    fs::write(known, line).expect("the world is ours");
    let args = "cannot reach 'URL': its host key has changed";
    clone_fails(&mut stage, args, |stage| stage.sshd.accept_host_key());
}

#[test]
fn the_key_is_refused() {
    let mut stage = Stage::small();
    stage.world.ssh_key("ssh/another");
    stage.sshd.authorize(&["ssh/another"]);
    clone_fails(&mut stage, "'URL' refuses your key", |stage| {
        stage.sshd.authorize(&["ssh/key"]);
    });
}

#[test]
fn nothing_listens_at_the_address_of_the_server() {
    let mut stage = Stage::small();
    stage.sshd.stop();
    clone_fails(
        &mut stage,
        "cannot reach 'URL': connection refused",
        |stage| stage.sshd.start(),
    );
}

#[test]
fn the_name_is_not_known() {
    let world = World::new();
    let url = "ssh://git@gitlab.invalid/group/project.git";
    let ran = world.clone_mirror(url, "clone").code(128);
    one_error(
        &ran,
        &format!("cannot reach '{url}': could not resolve host"),
    );
}

#[test]
fn the_server_hangs() {
    let mut stage = Stage::small();
    stage.sshd.configure("Host *\n\tConnectTimeout 1");
    stage.sshd.freeze();
    clone_fails(
        &mut stage,
        "cannot reach 'URL': connection timed out",
        |stage| stage.sshd.thaw(),
    );
}

#[test]
fn the_path_on_the_server_does_not_exist() {
    let stage = Stage::small();
    let url = stage.sshd.url_of("/nowhere/project.git");
    let ran = stage.world.clone_mirror(&url, "clone").code(128);
    one_error(
        &ran,
        &format!(
            "cannot read '{url}': '/nowhere/project.git' does not appear to be a git repository"
        ),
    );
    assert_eq!(stage.world.mirrors(), [""; 0]);
}

#[test]
fn gitlab_knows_no_such_project() {
    let mut stage = Stage::small();
    stage.sshd.fault(
        "printf 'remote: \\nremote: =====\\nremote: \\nremote: ERROR: The project you were looking for could not be found or \
         you do not have permission to view it.\\nremote: \\n' >&2; exit 1",
    );
    let args =
        "cannot read 'URL': The project you were looking for could not be found or you do not";
    clone_fails(&mut stage, args, |stage| stage.sshd.clear_fault());
}

#[test]
fn the_other_git_says_no_in_gits_own_protocol() {
    let mut stage = Stage::small();
    stage
        .sshd
        .fault("printf '0021ERR access denied to project\\n'; exit 1");
    let args = "cannot read 'URL': access denied to project";
    clone_fails(&mut stage, args, |stage| stage.sshd.clear_fault());
}

#[test]
fn the_session_ends_without_a_message() {
    let mut stage = Stage::small();
    stage.sshd.fault("exit 3");
    clone_fails(
        &mut stage,
        "cannot read 'URL': the answer ended too early",
        |stage| stage.sshd.clear_fault(),
    );
}

#[test]
fn the_server_has_no_git() {
    let mut stage = Stage::small();
    stage
        .sshd
        .fault("echo 'sh: 1: git-upload-pack: not found' >&2; exit 127");
    let args = "cannot read 'URL': the server has no git-upload-pack";
    clone_fails(&mut stage, args, |stage| stage.sshd.clear_fault());
}

#[test]
fn the_old_protocol_has_errors_too() {
    let mut stage = Stage::small();
    stage.sshd.stop();
    stage.sshd.start_old();
    stage.ls_remote_of(
        "/nowhere/project.git",
        "'/nowhere/project.git' does not appear to be a git repository",
    );
    stage.clone("ours").ok();
    stage.sshd.stop();
    let stale = stage.in_ours(&["fetch"]).ok();
    let args = format!(
        "warning: cannot reach '{}': connection refused\n",
        stage.url
    );
    assert!(stale.stderr.starts_with(&args), "{stale}");
}

impl Stage {
    #[track_caller]
    fn ls_remote_of(&self, path: &str, expected: &str) {
        let address = format!("mirror::{}", self.sshd.url_of(path));
        one_error(&self.world.git(["ls-remote", &address]).code(128), expected);
    }
}

#[test]
fn an_upstream_that_is_down_is_answered_from_the_copy_with_its_age() {
    let mut stage = Stage::small();
    stage.clone("ours").ok();
    stage.sshd.stop();
    let stale = stage.in_ours(&["fetch"]).ok();
    let [warning, hint] = stale.stderr.lines().collect::<Vec<_>>()[..] else {
        panic!("a warning and a hint: {stale}");
    };
    assert_eq!(
        warning,
        format!("warning: cannot reach '{}': connection refused", stage.url)
    );
    assert!(
        hint.starts_with("hint: serving the copy synced ") && hint.ends_with(" ago"),
        "{stale}"
    );
    let failed = stage
        .in_ours(&["fetch"])
        .env("MIRROR_STALE", "fail")
        .code(128);
    one_error(&failed, "connection refused");
    stage.sshd.start();
    let tip = stage.project.commit("main", "a", "b");
    is_back(|| stage.in_ours(&["fetch", "-q"]));
    let ours = stage.in_ours(&["rev-parse", "origin/main"]).ok();
    assert_eq!(ours.line(), tip);
}

#[test]
fn a_refused_key_is_no_reason_to_serve_the_copy() {
    let stage = Stage::small();
    stage.clone("ours").ok();
    stage.world.mirrord(["stop"]).ok();
    stage.world.ssh_key("ssh/another");
    stage.sshd.authorize(&["ssh/another"]);
    one_error(&stage.in_ours(&["fetch"]).code(128), "refuses your key");
}

#[test]
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
    let table = [
        "ssh://-oProxyCommand=TOUCH/p",
        "ssh://-oProxyCommand=TOUCH@h/p",
        "ssh://u@-oProxyCommand=TOUCH/p",
        "ssh://[-oProxyCommand=TOUCH]:22/p",
        "ssh://h:-oProxyCommand=TOUCH/p",
        "ssh://h/-oProxyCommand=TOUCH",
        "ssh://%2doProxyCommand=TOUCH/p",
        "git+ssh://-oProxyCommand=TOUCH/p",
        "-oProxyCommand=TOUCH:p",
        "u@-oProxyCommand=TOUCH:p",
        "[-oProxyCommand=TOUCH]:p",
        "[-oProxyCommand=TOUCH:22]:p",
        "[h:-oProxyCommand=TOUCH]:p",
        "h:-oProxyCommand=TOUCH",
        "ssh://$(TOUCH)@h/p",
        "ssh://`TOUCH`@h/p",
        "ssh://u;TOUCH@h/p",
        "ssh://h;TOUCH/p",
        "ssh://u:S3CRET@h/p",
    ];
    for address in table {
        let address = format!("mirror::{}", address.replace("TOUCH", "ssh"));
        let ran = world.git(["ls-remote", "--", &address]).code(128);
        one_error(&ran, "invalid ");
        assert!(!ran.stderr.contains("S3CRET"), "{ran}");
    }
    assert!(!sentinel.exists(), "nothing was run");
    assert!(!world.mirror_home().exists(), "nobody was started");
}

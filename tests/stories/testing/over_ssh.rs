//! `mirrord test` over ssh: the server's key, and the key that signs in.

use std::fs;

use tests::Run;

use super::{fails_at, hint, step_detail, steps};
use crate::ssh::Stage;

fn testing(stage: &Stage) -> Run {
    stage.world.mirrord(["test", &stage.url])
}

/// The fingerprint of a key.
#[track_caller]
fn fingerprint(stage: &Stage, key: &str) -> String {
    let listing = stage.world.program("ssh-keygen", ["-lf"]);
    let listed = listing.arg(stage.world.path(key)).ok();
    let mut args = listed.line().split(' ');
    args.nth(1).expect("its hash").to_owned()
}

#[test]
fn a_test_over_ssh_names_both_keys() {
    let stage = Stage::small();
    let before = stage.project.refs();
    let ran = testing(&stage).ok();
    let labels: Vec<_> = steps(&ran).into_iter().map(|step| step.1).collect();
    let expected = [
        "name resolved",
        "connected",
        "host key",
        "signed in",
        "may read",
        "may push",
        "atomic pushes",
        "push options",
        "LFS endpoint",
        "refspecs",
    ];
    assert_eq!(labels, expected, "{ran}");
    let address = format!("127.0.0.1:{}", stage.sshd.port());
    assert_eq!(step_detail(&ran, "ok", "connected"), address);
    let host_key = fingerprint(&stage, "sshd/host_key.pub");
    assert_eq!(
        step_detail(&ran, "ok", "host key"),
        format!("ssh-ed25519 {host_key}")
    );
    let args = step_detail(&ran, "ok", "signed in");
    let key = fingerprint(&stage, "ssh/key.pub");
    let user = stage.sshd.login().replace("@127.0.0.1", "");
    assert!(args.starts_with(&format!("as '{user}' with ")), "{ran}");
    assert!(args.ends_with(&format!(" ED25519 {key}")), "{ran}");
    step_detail(&ran, "ok", "may push");
    assert_eq!(step_detail(&ran, "-", "LFS endpoint"), "not asked over ssh");
    let request: Vec<_> = stage.sshd.commands();
    let programs = request.iter().map(|request| request.split(' ').next());
    let expected = [Some("git-upload-pack"), Some("git-receive-pack")];
    assert!(programs.eq(expected), "{request:?}");
    assert_eq!(stage.project.refs(), before);
    assert_eq!(stage.world.mirrors(), [""; 0]);
}

#[test]
fn a_host_that_is_not_known_shows_its_key() {
    let stage = Stage::small();
    stage.sshd.forget_host_key();
    let key = fingerprint(&stage, "sshd/host_key.pub");
    let ran = fails_at(testing(&stage), "host key", "its host key is not known");
    assert!(
        step_detail(&ran, "FAILED", "host key").ends_with(&key),
        "{ran}"
    );
    assert!(
        hint(&ran).contains("accept it if it is right: ssh"),
        "{ran}"
    );
}

#[test]
fn a_host_key_that_has_changed() {
    let stage = Stage::small();
    stage.world.ssh_key("ssh/another");
    let another = fs::read_to_string(stage.world.path("ssh/another.pub")).expect("a key");
    let line = format!("[127.0.0.1]:{} {another}", stage.sshd.port());
    fs::write(stage.world.path("ssh/known_hosts"), line).expect("the world is ours");
    let ran = fails_at(testing(&stage), "host key", "its host key has changed");
    assert!(hint(&ran).contains("ssh-keygen -f"), "{ran}");
}

#[test]
fn a_key_that_is_refused() {
    let stage = Stage::small();
    stage.world.ssh_key("ssh/another");
    stage.sshd.authorize(&["ssh/another"]);
    let ran = fails_at(testing(&stage), "signed in", "refuses your key");
    step_detail(&ran, "ok", "host key");
    assert!(hint(&ran).contains("ssh -v"), "{ran}");
}

#[test]
fn the_address_is_down_or_the_name_is_not_known() {
    let mut stage = Stage::small();
    stage.sshd.stop();
    let ran = fails_at(testing(&stage), "connected", "connection refused");
    assert_eq!(step_detail(&ran, "ok", "name resolved"), "127.0.0.1");
    let far = "git@gitlab.invalid:group/project.git";
    let test = stage.world.mirrord(["test", far]);
    fails_at(test, "name resolved", "could not resolve host");
    stage.sshd.start();
}

#[test]
fn a_server_that_hangs() {
    let stage = Stage::small();
    stage.sshd.configure("Host *\n\tConnectTimeout 1");
    stage.sshd.freeze();
    let ran = testing(&stage).code(1);
    stage.sshd.thaw();
    assert!(ran.stdout.contains("connection timed out"), "{ran}");
}

#[test]
fn a_project_that_is_not_there() {
    let stage = Stage::small();
    let url = stage.sshd.url_of("/not/there.git");
    let ran = fails_at(
        stage.world.mirrord(["test", &url]),
        "may read",
        "/not/there",
    );
    step_detail(&ran, "ok", "signed in");
}

#[test]
fn a_push_that_is_refused_is_said_in_the_words_of_the_server() {
    let stage = Stage::small();
    stage.sshd.fault(
        "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) \
         echo 'ERROR: You are not allowed to push code to this project.' >&2; exit 1;; esac",
    );
    let ran = testing(&stage).ok();
    let args = step_detail(&ran, "FAILED", "may push");
    assert_eq!(args, "You are not allowed to push code to this project");
}

#[test]
fn a_connection_of_the_persons_own_is_left_alone() {
    let stage = Stage::small();
    let socket = stage.world.path("own");
    let lines = "Host *\n\tControlMaster auto\n\tControlPersist yes\n\tControlPath ROOT/own";
    stage.sshd.configure(lines);
    stage
        .world
        .program("ssh", [stage.sshd.login()])
        .arg("-p")
        .arg(stage.sshd.port().to_string())
        .arg("true")
        .ok();
    assert!(socket.exists(), "there is one");
    let ran = testing(&stage).ok();
    step_detail(&ran, "ok", "host key");
    assert!(socket.exists(), "and it stays");
    stage
        .world
        .program("ssh", ["-O", "exit", "-p"])
        .arg(stage.sshd.port().to_string())
        .arg(stage.sshd.login())
        .ok();
}

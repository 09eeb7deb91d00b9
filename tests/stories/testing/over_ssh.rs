//! `mirrord test` over ssh: the server's key, and the key that signs in.

use tests::Run;

use super::{fails, passes, step};
use crate::ssh::Stage;

fn testing(stage: &Stage) -> Run {
    stage.world.mirrord(["test", &stage.url])
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_test_over_ssh_names_both_keys() {
    let stage = Stage::small();
    let before = stage.project.refs();
    let report = passes(testing(&stage));
    insta::assert_snapshot!(stage.shown(&report), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     host key  [time]  [host key]
    ok     signed in  [time]  as 'me' with /world/ssh/key ED25519 [key]
    ok     may read  [time]  1 branch, 0 tags, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    FAILED push options  [time]  not advertised
    -      LFS endpoint  [time]  not asked over ssh
    ok     refspecs  [time]  1 ref: main
    a mirror of 'ssh://me@gitlab.example/world/login/project.git' would work
    ");
    let commands = stage.sshd.commands();
    let programs = commands.iter().map(|command| command.split(' ').next());
    let expected = [Some("git-upload-pack"), Some("git-receive-pack")];
    assert!(programs.eq(expected), "{commands:?}");
    assert_eq!(stage.project.refs(), before);
    assert_eq!(stage.world.mirrors(), [""; 0]);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_host_that_is_not_known_shows_its_key() {
    let stage = Stage::small();
    stage.sshd.forget_host_key();
    let report = fails(testing(&stage));
    insta::assert_snapshot!(stage.shown(&report), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED host key  [time]  its host key is not known: [host key]
    hint: look at it, and accept it if it is right: ssh -p [port] me@127.0.0.1
    a mirror of 'ssh://me@gitlab.example/world/login/project.git' would not work
    ");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_host_key_that_has_changed() {
    let stage = Stage::small();
    stage.change_host_key();
    let report = fails(testing(&stage));
    insta::assert_snapshot!(stage.shown(&report), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED host key  [time]  its host key has changed: [another key] was known, [host key] answers
    hint: somebody may be in the middle; if it should have, forget the old one and look at the new: ssh-keygen -f '/world/ssh/known_hosts' -R 'gitlab.example' && ssh -p [port] me@127.0.0.1
    a mirror of 'ssh://me@gitlab.example/world/login/project.git' would not work
    ");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_key_that_is_refused() {
    let stage = Stage::small();
    stage.world.ssh_key("ssh/another");
    stage.sshd.authorize(&["ssh/another"]);
    let report = fails(testing(&stage));
    insta::assert_snapshot!(stage.shown(&report), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     host key  [time]  [host key]
    FAILED signed in  [time]  'ssh://me@gitlab.example/world/login/project.git' refuses your key
    hint: 'ssh -v -p [port] me@127.0.0.1' shows which keys it tries; one with a passphrase must be in the agent: ssh-add
    a mirror of 'ssh://me@gitlab.example/world/login/project.git' would not work
    ");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn the_address_is_down_or_the_name_is_not_known() {
    let mut stage = Stage::small();
    stage.sshd.stop();
    let report = fails(testing(&stage));
    insta::assert_snapshot!(stage.shown(&report), @"
    ok     name resolved  [time]  127.0.0.1
    FAILED connected  [time]  connection refused
    a mirror of 'ssh://me@gitlab.example/world/login/project.git' would not work
    ");
    let far = "git@gitlab.invalid:group/project.git";
    let report = fails(stage.world.mirrord(["test", far]));
    insta::assert_snapshot!(report, @"
    FAILED name resolved  [time]  could not resolve host
    a mirror of 'git@gitlab.invalid:group/project.git' would not work
    ");
    stage.sshd.start();
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_server_that_hangs() {
    let stage = Stage::small();
    stage.sshd.configure("Host *\n\tConnectTimeout 1");
    stage.sshd.freeze();
    let ran = testing(&stage).code(1);
    stage.sshd.thaw();
    insta::assert_snapshot!(ran.shown(), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED host key  [time]  connection timed out
    a mirror of 'ssh://root@gitlab.example/world/login/project.git' would not work
    ");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_project_that_is_not_there() {
    let stage = Stage::small();
    let url = stage.sshd.url_of("/not/there.git");
    let report = fails(stage.world.mirrord(["test", &url]));
    insta::assert_snapshot!(stage.shown(&report), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     host key  [time]  [host key]
    ok     signed in  [time]  as 'me' with /world/ssh/key ED25519 [key]
    FAILED may read  [time]  '/not/there.git' does not appear to be a git repository
    a mirror of 'ssh://me@gitlab.example/not/there.git' would not work
    ");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_push_that_is_refused_is_said_in_the_words_of_the_server() {
    let stage = Stage::small();
    stage.sshd.fault(
        "case $SSH_ORIGINAL_COMMAND in git-receive-pack*) \
         echo 'ERROR: You are not allowed to push code to this project.' >&2; exit 1;; esac",
    );
    let report = passes(testing(&stage));
    insta::assert_snapshot!(step(&report, "may push"), @"FAILED may push  [time]  You are not allowed to push code to this project");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
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
    passes(testing(&stage));
    assert!(socket.exists(), "and it stays");
    stage
        .world
        .program("ssh", ["-O", "exit", "-p"])
        .arg(stage.sshd.port().to_string())
        .arg(stage.sshd.login())
        .ok();
}

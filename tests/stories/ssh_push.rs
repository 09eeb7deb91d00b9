//! Pushes over ssh: by the user's own ssh, as with plain git.

use std::fs;

use tests::{Project, Ran};

use crate::{clone::fill, ssh::Stage};

/// An update hook that refuses a branch with GitLab's message.
const PROTECTED: &str = "\
case $1 in refs/heads/protected*)
	echo 'GitLab: You are not allowed to push code to protected branches on this project.' >&2
	exit 1
esac";

/// The lines of an output, without the one that names the address.
fn lines(text: &str) -> Vec<&str> {
    let is_address = |line: &&str| line.starts_with("To ") || line.starts_with("error: failed to");
    text.lines().filter(|line| !is_address(line)).collect()
}

/// Commits, in a clone whose history is only its own.
fn commit(stage: &Stage, dir: &str, message: &str) {
    stage
        .world
        .git(["commit", "-q", "--allow-empty", "-m", message])
        .at(dir)
        .env("GIT_AUTHOR_DATE", "@1767300000 +0000")
        .env("GIT_COMMITTER_DATE", "@1767300000 +0000")
        .ok();
}

/// Clones one project through the mirror and its equal by plain git, and makes both do the same pushes. Takes some
/// seconds: each of eight pushes of plain git is a connection of its own.
#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn pushes_over_ssh_say_and_do_what_plain_ones_do() {
    let stage = Stage::new(fill);
    let equal: Project = stage.sshd.project("equal.git");
    fill(&equal);
    for project in [&stage.project, &equal] {
        project.hook("update", PROTECTED);
        project.config("receive.advertisePushOptions", "true");
    }
    stage.clone("ours").ok();
    let plain = stage.sshd.url(&equal);
    stage.world.git(["clone", "-q", &plain, "plain"]).ok();
    let pushes: [&[&str]; 8] = [
        &["origin", "main"],
        &["-u", "origin", "HEAD:refs/heads/new", "HEAD:refs/tags/new"],
        &["--force", "origin", "HEAD~1:new"],
        &["origin", "HEAD:protected/x", "HEAD:refs/heads/other"],
        &["--atomic", "origin", "HEAD:protected/x", "HEAD:another"],
        &["-o", "ci.skip", "origin", ":new"],
        &["--porcelain", "origin", "HEAD:other"],
        &["origin", "HEAD~1:other"],
    ];
    for args in pushes {
        let push = |dir: &str| -> Ran {
            commit(&stage, dir, "Own work");
            stage.world.git([&["push"], args].concat()).at(dir).run()
        };
        let (ours, theirs) = (push("ours"), push("plain"));
        assert_eq!(
            lines(&ours.stdout),
            lines(&theirs.stdout),
            "{ours}\n{theirs}"
        );
        assert_eq!(
            lines(&ours.stderr),
            lines(&theirs.stderr),
            "{ours}\n{theirs}"
        );
        assert_eq!(ours.status.code(), theirs.status.code(), "{ours}\n{theirs}");
        assert_eq!(stage.project.refs(), equal.refs(), "{ours}");
    }
    stage.clone("fresh").ok();
    let fresh = stage
        .world
        .git(["rev-parse", "origin/main"])
        .at("fresh")
        .ok();
    assert_eq!(Some(fresh.line().to_owned()), stage.project.tip("main"));
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_push_to_an_address_in_scps_form_signs_in_by_the_agent() {
    let stage = Stage::small();
    stage.world.ssh_key("ssh/mine");
    stage.sshd.authorize(&["ssh/mine"]);
    stage.sshd.leave_keys_to_agents();
    let agent = stage.world.ssh_agent("agent", "ssh/mine");
    let socket = stage.world.path("agent");
    let address = stage.sshd.scp("project.git");
    stage
        .world
        .clone_mirror(&address, "ours")
        .env("SSH_AUTH_SOCK", &socket)
        .ok();
    commit(&stage, "ours", "Own work");
    stage.in_ours(&["push", "-q"]).code(1);
    stage
        .in_ours(&["push", "-q"])
        .env("SSH_AUTH_SOCK", &socket)
        .ok();
    let own = stage.in_ours(&["rev-parse", "HEAD"]).ok();
    assert_eq!(Some(own.line().to_owned()), stage.project.tip("main"));
    drop(agent);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn the_ssh_of_the_clones_own_configuration_is_the_one_that_pushes() {
    let stage = Stage::small();
    stage.clone("ours").ok();
    let ran = stage.world.path("ran");
    let line = format!(
        "f() {{ echo \"$*\" >>'{}'; ssh \"$@\"; }}; f",
        ran.display()
    );
    stage.in_ours(&["config", "core.sshCommand", &line]).ok();
    stage.in_ours(&["config", "ssh.variant", "ssh"]).ok();
    commit(&stage, "ours", "Own work");
    stage.in_ours(&["push", "-q"]).ok();
    let ran = fs::read_to_string(ran).expect("it was run");
    assert!(ran.contains("git-receive-pack '"), "{ran}");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_push_to_a_server_that_is_down_fails_at_once_and_works_when_it_is_back() {
    let mut stage = Stage::small();
    stage.clone("ours").ok();
    commit(&stage, "ours", "Own work");
    let before = stage.project.refs();
    // The connection that is kept for the next check must not outlive its server here.
    stage.world.mirrord(["stop"]).ok();
    stage.sshd.stop();
    let failed = stage.in_ours(&["push", "origin", "main"]).code(1);
    insta::assert_snapshot!(stage.shown(&failed.stderr), @"
    warning: cannot reach 'ssh://me@gitlab.example/world/login/project.git': connection refused
    hint: serving the copy synced [time] ago
    To mirror::ssh://me@gitlab.example/world/login/project.git
     ! [remote rejected] main -> main (cannot reach 'ssh://me@gitlab.example/world/login/project.git': connection refused)
    error: failed to push some refs to 'mirror::ssh://me@gitlab.example/world/login/project.git'
    ");
    assert_eq!(stage.project.refs(), before);
    stage.sshd.start();
    stage.in_ours(&["push", "-q", "origin", "main"]).ok();
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_key_that_may_read_and_not_write_is_refused_in_the_servers_own_words() {
    let stage = Stage::small();
    stage.clone("ours").ok();
    commit(&stage, "ours", "Own work");
    let before = stage.project.refs();
    // As GitLab's shell does for a deploy key.
    stage.sshd.fault(
        "case \"$SSH_ORIGINAL_COMMAND\" in git-receive-pack*)\n\
         \techo 'ERROR: This deploy key does not have write access to this project.' >&2; exit 1\nesac",
    );
    let refused = stage.in_ours(&["push", "origin", "main"]).code(1);
    insta::assert_snapshot!(stage.shown(&refused.stderr), @"
    remote: ERROR: This deploy key does not have write access to this project.
    remote: Please make sure you have the correct access rights
    remote: and the repository exists.
    To mirror::ssh://me@gitlab.example/world/login/project.git
     ! [remote rejected] main -> main (Could not read from remote repository.)
    error: failed to push some refs to 'mirror::ssh://me@gitlab.example/world/login/project.git'
    ");
    assert_eq!(stage.project.refs(), before);
    stage.sshd.clear_fault();
    stage.in_ours(&["push", "-q", "origin", "main"]).ok();
}

//! The user's own ssh is the one that is run: their command, their agent, their way to share connections.

use std::fs;

use tests::{Run, same_clone};

use crate::{clone::fill, ssh::Stage};

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_users_own_control_master_is_left_alone() {
    let shares = "Host *\n\tControlMaster auto\n\tControlPath ROOT/ssh/own-%C\n\tControlPersist no";
    let table = [("", "ssh -o ControlPath=none"), (shares, "ssh")];
    for (lines, command) in table {
        let stage = Stage::small();
        stage.sshd.configure(lines);
        stage.world.config("core.sshCommand", command);
        stage.clone("ours").ok();
        stage.in_ours(&["fetch"]).ok();
        assert_eq!(stage.sshd.accepted(), 2, "{command}: {lines}");
        let folder = stage.world.mirror_home().join("ssh");
        let sockets = fs::read_dir(folder).map_or(0, Iterator::count);
        assert_eq!(sockets, 0, "{command}: {lines}");
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn two_agents_never_share_a_connection() {
    let stage = Stage::small();
    stage.world.ssh_key("ssh/mine");
    stage.world.ssh_key("ssh/yours");
    stage.sshd.authorize(&["ssh/mine"]);
    stage.sshd.leave_keys_to_agents();
    let agents = [("mine", "a"), ("yours", "b")]
        .map(|(key, socket)| stage.world.ssh_agent(socket, &format!("ssh/{key}")));
    let with = |socket: &str| {
        stage
            .ls_remote()
            .env("SSH_AUTH_SOCK", stage.world.path(socket))
    };
    with("a").ok();
    let refused = with("b").code(128);
    insta::assert_snapshot!(stage.shown(&refused.stderr), @"
    error: 'ssh://me@gitlab.example/world/login/project.git' refuses your key
    hint: 'ssh -v -p [port] me@127.0.0.1' shows which keys it tries; one with a passphrase must be in the agent: ssh-add
    ");
    stage.ls_remote().code(128);
    with("a").ok();
    assert_eq!(stage.sshd.accepted(), 1);
    drop(agents);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn the_users_own_ssh_is_the_one_that_is_run() {
    let stage = Stage::small();
    stage.world.script(
        "bin/ssh",
        "#!/bin/sh\necho plain ssh was run >&2\nexit 255\n",
    );
    let run = |n: usize| {
        format!(
            "echo run {n} >>'{}'; /usr/bin/ssh -F '{}'",
            stage.world.path("ran").display(),
            stage.world.path("ssh/config").display()
        )
    };
    stage
        .world
        .script("bin/mine", &format!("#!/bin/sh\n{} \"$@\"\n", run(3)));
    let ran = |n: usize| {
        let text = fs::read_to_string(stage.world.path("ran")).unwrap_or_default();
        text.contains(&format!("run {n}"))
    };
    let refused = stage.ls_remote().code(128);
    insta::assert_snapshot!(stage.shown(&refused.stderr), @"error: cannot reach 'ssh://me@gitlab.example/world/login/project.git': plain ssh was run");
    stage.ls_remote().env("GIT_SSH_COMMAND", run(1)).ok();
    assert!(ran(1));
    let config = format!("core.sshCommand={}", run(2));
    stage
        .world
        .git([
            "-c",
            &config,
            "ls-remote",
            &format!("mirror::{}", stage.url),
        ])
        .ok();
    assert!(ran(2));
    stage
        .ls_remote()
        .env("GIT_SSH", stage.world.path("bin/mine"))
        .ok();
    assert!(ran(3));
    // Set in the clone alone, as `git clone -c` does.
    let config = format!("core.sshCommand={}", run(4));
    let address = format!("mirror::{}", stage.url);
    stage
        .world
        .git(["clone", "-q", "-c", &config, &address, "ours"])
        .ok();
    stage.in_ours(&["fetch"]).ok();
    assert!(ran(4));
    stage.ls_remote().code(128);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn arguments_of_the_users_ssh_are_written_nowhere() {
    let stage = Stage::small();
    let command = format!(
        "TOKEN=S3CRET ssh -F '{}'",
        stage.world.path("ssh/config").display()
    );
    stage.ls_remote().env("GIT_SSH_COMMAND", &command).ok();
    let broken = stage
        .ls_remote()
        .env("GIT_SSH_COMMAND", "S3CRET --password")
        .code(128);
    insta::assert_snapshot!(stage.shown(&broken.stderr), @"
    error: cannot run ssh: it is not found
    hint: there is a copy here, but this login has never read it from upstream
    ");
    let shown = [
        broken.stderr,
        stage.world.mirrord(["status", "--json"]).ok().stdout,
        stage.world.mirrord(["list", "--json"]).ok().stdout,
    ];
    stage.world.mirrord(["stop"]).ok();
    let shown = shown.concat() + &stage.world.log();
    assert!(!shown.contains("S3CRET"), "{shown}");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_key_in_an_agent_signs_in() {
    let stage = Stage::new(fill);
    stage.sshd.leave_keys_to_agents();
    stage.clone("ours").code(128);
    let agent = stage.world.ssh_agent("agent", "ssh/key");
    let with = |run: Run| run.env("SSH_AUTH_SOCK", stage.world.path("agent"));
    with(stage.clone("ours")).ok();
    with(stage.world.git(["clone", "-q", &stage.url, "plain"])).ok();
    same_clone(
        &stage.world,
        &stage.world.path("ours"),
        &stage.world.path("plain"),
    );
    drop(agent);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn an_ssh_that_is_not_openssh_is_left_to_git() {
    let stage = Stage::new(fill);
    // Takes a host and a command, and no option at all.
    let simple = format!(
        "#!/bin/sh\ncase $1 in -*) exit 9;; esac\nexec /usr/bin/ssh -F '{}' -p {} \"$@\"\n",
        stage.world.path("ssh/config").display(),
        stage.sshd.port()
    );
    stage.world.script("bin/simple", &simple);
    let path = stage.project.dir().display();
    let url = format!("ssh://{}{path}", stage.sshd.login());
    stage.world.config("core.sshCommand", "simple");
    stage.world.clone_twins(&url, &[]);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_connection_through_another_host_is_kept_too() {
    let stage = Stage::small();
    let (port, login) = (stage.sshd.port(), stage.sshd.login());
    let jump = format!("-o ProxyCommand=none -W %h:%p -p {port} {login}");
    let lines = format!("Host *\n\tProxyCommand /usr/bin/ssh -F ROOT/ssh/config {jump}");
    stage.sshd.configure(&lines);
    stage.clone("ours").ok();
    for n in 0..2 {
        stage.project.commit("main", "a", &format!("{n}"));
        stage.in_ours(&["fetch", "-q"]).ok();
    }
    assert_eq!(
        stage.sshd.accepted(),
        2,
        "one to the host between, and one through it"
    );
}

//! An ssh key of the mirror's own: it signs in where it lies, and no other does.

use std::fs;

use tests::{Run, World};

use super::credential;
use crate::ssh::Stage;

/// A stage whose server lets in `ssh/own` and `ssh/key`, the person's, as told.
fn stage(authorized: &[&str]) -> Stage {
    let stage = Stage::small();
    stage.world.ssh_key("ssh/own");
    stage.sshd.authorize(authorized);
    stage
}

fn path(stage: &Stage, file: &str) -> String {
    stage.world.path(file).display().to_string()
}

fn add(stage: &Stage, options: &[&str]) -> Run {
    let key = path(stage, "ssh/own");
    let args = ["add", "project", &stage.url, "--ssh-key", &key];
    stage.world.mirrord([&args, options].concat())
}

fn ls_remote(stage: &Stage) -> Run {
    stage.world.git(["ls-remote", "mirror::project"])
}

/// Gives a key a passphrase.
fn protect(world: &World, file: &str, passphrase: &str) {
    let args = ["-q", "-p", "-P", "", "-N", passphrase, "-f"];
    world.program("ssh-keygen", args).arg(world.path(file)).ok();
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_key_of_the_mirrors_own_signs_in_for_fetches_and_pushes_and_is_not_copied() {
    let stage = stage(&["ssh/own"]);
    add(&stage, &[]).ok();
    stage
        .world
        .git(["clone", "-q", "mirror::project", "ours"])
        .ok();
    stage.in_ours(&["fetch", "-q"]).ok();
    stage
        .in_ours(&["commit", "-q", "--allow-empty", "-m", "c"])
        .ok();
    let other = ["push", "origin", "HEAD:refs/heads/pushed"];
    stage.in_ours(&other).env("GIT_SSH_COMMAND", "false").ok();
    assert!(stage.project.tip("pushed").is_some());
    insta::assert_snapshot!(credential(&stage.world), @r"
    auth: ssh-key
    ssh-key: /world/ssh/own
    ");
    let private = fs::read_to_string(stage.world.path("ssh/own")).expect("a key");
    let line = private.lines().nth(2).expect("it has lines");
    let copies = stage
        .world
        .program("grep", ["-rlF", line, "m", "run", "tmp"])
        .run();
    assert_eq!(copies.stdout, "");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn no_other_key_of_the_user_signs_in_for_a_mirror_with_a_key_of_its_own() {
    let stage = stage(&["ssh/own"]);
    add(&stage, &[]).ok();
    // Only the one that the person's own configuration names would do.
    stage.sshd.authorize(&["ssh/key"]);
    stage.world.mirrord(["stop"]).ok();
    let agent = stage.world.ssh_agent("agent", "ssh/key");
    let ran = ls_remote(&stage)
        .env("SSH_AUTH_SOCK", stage.world.path("agent"))
        .code(128);
    insta::assert_snapshot!(ran.shown(), @r"
    error: 'ssh://root@gitlab.example/world/login/project.git' refuses your key
    hint: GitLab takes the public key at https://127.0.0.1/-/user_settings/ssh_keys: [public key] test
    ");
    // By its URL upstream is talked to as plain git would.
    stage
        .ls_remote()
        .env("SSH_AUTH_SOCK", stage.world.path("agent"))
        .ok();
    stage
        .world
        .mirrord(["set", "project", "--forget-credential"])
        .ok();
    ls_remote(&stage).ok();
    drop(agent);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_refused_key_is_shown_in_public_with_where_gitlab_takes_it() {
    let stage = stage(&["ssh/key"]);
    let ran = add(&stage, &[]).code(1);
    let public = fs::read_to_string(stage.world.path("ssh/own.pub")).expect("a public key");
    assert!(ran.stderr.ends_with(&public), "{ran}");
    insta::assert_snapshot!(ran.shown(), @r"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     host key  [time]  [host key]
    FAILED signed in  [time]  'ssh://root@gitlab.example/world/login/project.git' refuses your key
    error: 'ssh://root@gitlab.example/world/login/project.git' refuses your key
    hint: GitLab takes the public key at https://127.0.0.1/-/user_settings/ssh_keys: [public key] test
    ");
    fs::remove_file(stage.world.path("ssh/own.pub")).expect("ours");
    let ran = add(&stage, &[]).code(1);
    let kind = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    insta::assert_snapshot!(tests::shown(&ran.stderr.replace(&kind, "KIND")), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     host key  [time]  [host key]
    FAILED signed in  [time]  'ssh://root@gitlab.example/world/login/project.git' refuses your key
    error: 'ssh://root@gitlab.example/world/login/project.git' refuses your key
    hint: GitLab takes the public key at https://127.0.0.1/-/user_settings/ssh_keys: KIND test
    ");
    assert_eq!(stage.world.mirrors(), [""; 0]);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn host_keys_are_strict_and_a_changed_one_is_shown_with_both_fingerprints() {
    let stage = stage(&["ssh/own"]);
    let fingerprint = |file: &str| {
        let printed = stage.world.program("ssh-keygen", ["-l", "-f"]);
        let printed = printed.arg(stage.world.path(file)).ok();
        let word = printed.stdout.split(' ').nth(1);
        word.expect("a fingerprint").to_owned()
    };
    stage.sshd.configure("Host *\n\tStrictHostKeyChecking no");
    stage.sshd.forget_host_key();
    let ran = add(&stage, &[]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED host key  [time]  its host key is not known: [host key]
    error: cannot reach 'ssh://root@gitlab.example/world/login/project.git': its host key is not known
    hint: look at it, and accept it if it is right: ssh -p [port] root@127.0.0.1
    ");
    let known = fs::read_to_string(stage.world.path("ssh/known_hosts")).unwrap_or_default();
    assert_eq!(known, "", "nothing is learnt in silence");
    stage.world.ssh_key("ssh/old_host_key");
    let old = fs::read_to_string(stage.world.path("ssh/old_host_key.pub")).expect("a key");
    let line = format!("# a comment\n[127.0.0.1]:{} {old}", stage.sshd.port());
    let file = stage.world.path("ssh/known_hosts");
    fs::write(&file, line).expect("ours");
    let ran = add(&stage, &[]).code(1);
    let (before, now) = (
        fingerprint("ssh/old_host_key.pub"),
        fingerprint("sshd/host_key.pub"),
    );
    let forget = format!(
        "ssh-keygen -f '{}' -R '[127.0.0.1]:{}'",
        file.display(),
        stage.sshd.port()
    );
    insta::assert_snapshot!(tests::shown(&ran.stderr.replace(&before, "BEFORE").replace(&now, "NOW").replace(&forget, "FORGET")), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED host key  [time]  its host key has changed: BEFORE was known, NOW answers
    error: cannot reach 'ssh://root@gitlab.example/world/login/project.git': its host key has changed: BEFORE was known, NOW answers
    hint: somebody may be in the middle; if it should have, forget the old one and look at the new: FORGET && ssh -p [port] root@127.0.0.1
    ");
    // As it says.
    stage.world.program("sh", ["-c", &forget]).ok();
    stage.sshd.accept_host_key();
    add(&stage, &[]).ok();
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_passphrase_from_stdin_is_stored_and_used_without_anybody_to_ask() {
    let stage = stage(&["ssh/own"]);
    protect(&stage.world, "ssh/own", "open sesame");
    let unknown = add(&stage, &[]).code(1);
    insta::assert_snapshot!(unknown.shown(), @r"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     host key  [time]  [host key]
    FAILED signed in  [time]  cannot sign in to 'ssh://root@gitlab.example/world/login/project.git': the passphrase of '/world/ssh/own' is not known
    error: cannot sign in to 'ssh://root@gitlab.example/world/login/project.git': the passphrase of '/world/ssh/own' is not known
    hint: --ssh-key asks for it at a terminal; with --passphrase-stdin it is read from stdin
    ");
    let guess = add(&stage, &["--passphrase-stdin"]).stdin("opensesame\n");
    let wrong = guess.code(1);
    insta::assert_snapshot!(wrong.shown(), @r"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     host key  [time]  [host key]
    FAILED signed in  [time]  cannot sign in to 'ssh://root@gitlab.example/world/login/project.git': the passphrase of '/world/ssh/own' is wrong
    error: cannot sign in to 'ssh://root@gitlab.example/world/login/project.git': the passphrase of '/world/ssh/own' is wrong
    hint: --ssh-key asks for it at a terminal; with --passphrase-stdin it is read from stdin
    ");
    add(&stage, &["--passphrase-stdin"])
        .stdin("open sesame\n")
        .ok();
    stage
        .world
        .git(["clone", "-q", "mirror::project", "ours"])
        .ok();
    stage.world.kill_daemon();
    stage.in_ours(&["fetch", "-q"]).ok();
    stage
        .in_ours(&["commit", "-q", "--allow-empty", "-m", "c"])
        .ok();
    stage
        .in_ours(&["push", "-q", "origin", "HEAD:refs/heads/pushed"])
        .ok();
    insta::assert_snapshot!(credential(&stage.world), @r"
    auth: ssh-key
    ssh-key: /world/ssh/own
    secret: in a file
    ");
    stage.world.mirrord(["stop"]).ok();
    let found = stage
        .world
        .program("grep", ["-rlF", "open sesame", "m", "run", "tmp"])
        .run();
    assert_eq!(
        found.stdout.lines().count(),
        1,
        "in the store and nowhere else: {found}"
    );
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_stored_passphrase_that_is_wrong_is_named_and_a_person_is_asked_for_another() {
    let stage = stage(&["ssh/own"]);
    protect(&stage.world, "ssh/own", "open sesame");
    let key = path(&stage, "ssh/own");
    let prompt = format!("Enter passphrase for key '{key}': ");
    let mut terminal = add(&stage, &[]).on_terminal();
    for passphrase in ["first", "second", "open sesame"] {
        terminal.shows(&prompt);
        terminal.types(&format!("{passphrase}\n"));
    }
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    let restart = || stage.world.mirrord(["stop"]).ok();
    restart();
    ls_remote(&stage).ok();
    let change = ["set", "project", "--ssh-key", &key, "--passphrase-stdin"];
    stage.world.mirrord(change).stdin("wrong one\n").ok();
    restart();
    let ran = ls_remote(&stage).code(128);
    insta::assert_snapshot!(ran.shown(), @r"
    error: cannot sign in to 'ssh://root@gitlab.example/world/login/project.git': the passphrase of '/world/ssh/own' is wrong
    hint: 'mirrord set project --ssh-key /world/ssh/own' stores it anew
    ");
    let status = stage.world.mirrord(["status"]).run();
    insta::assert_snapshot!(status.shown(), @"
    mirrord 0.1.0 runs as process [pid] for [time]
    socket:  /world/m/socket
    webhook: off
    mirrors: 1 in /world/m/mirrors
    clients: 0, 0 of them waiting for a sync
    disk:    [size] of [size]

    project  needs you: cannot sign in to 'ssh://root@gitlab.example/world/login/project.git': the passphrase of '/world/ssh/own' is wrong; not tried again before that is mended; [size]
    ");
    let mut terminal = ls_remote(&stage).on_terminal();
    terminal.shows(&prompt);
    terminal.types("open sesame\n");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    // A person is asked as often as ssh asks, beside what is stored.
    restart();
    let mut terminal = ls_remote(&stage).on_terminal();
    for _ in 0..3 {
        terminal.shows(&prompt);
        terminal.types("guess\n");
    }
    let (code, shown) = terminal.ended();
    assert!(code == 128 && shown.contains("is wrong"), "{shown}");
    stage.sshd.authorize(&["ssh/key"]);
    stage.world.mirrord(change).stdin("open sesame\n").ok();
    restart();
    let ran = ls_remote(&stage).code(128);
    insta::assert_snapshot!(ran.shown(), @r"
    error: 'ssh://root@gitlab.example/world/login/project.git' refuses your key
    hint: GitLab takes the public key at https://127.0.0.1/-/user_settings/ssh_keys: [public key] test
    ");
}

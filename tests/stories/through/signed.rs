//! Signed pushes: the certificate is the user's, and upstream gets it.

use std::fs;

use tests::{Project, World};

use crate::{ssh, stage::Stage};

/// Makes a project ask for certificates, and write down what each push has of one.
fn asks(project: &Project) {
    project.config("receive.certNonceSeed", "seed");
    // Over http the nonce is that of another process, and may be a second older.
    project.config("receive.certNonceSlop", "600");
    let script =
        "#!/bin/sh\necho \"${GIT_PUSH_CERT:+certificate} $GIT_PUSH_CERT_NONCE_STATUS\" >>seen\n";
    project.hook("pre-receive", script);
}

/// What a project has seen of certificates, a line for each push.
fn seen(project: &Project) -> String {
    fs::read_to_string(project.dir().join("seen")).unwrap_or_default()
}

/// Lets this world's person sign.
fn signs(world: &World, project: &Project) {
    world.ssh_key("signing");
    world.config("gpg.format", "ssh");
    world.config("user.signingKey", &world.path("signing").to_string_lossy());
    // Upstream checks the certificate with what its own git is told.
    let public = fs::read_to_string(world.path("signing.pub")).expect("it was just made");
    let signers = world.path("signers");
    fs::write(&signers, format!("* {public}")).expect("the world is ours");
    project.config("gpg.ssh.allowedSignersFile", &signers.to_string_lossy());
}

fn filled(project: &Project) {
    project.commit("main", "a", "a");
    asks(project);
}

/// Commits in `ours`, and asserts that a signed push of that reaches upstream signed, and the mirror too.
#[track_caller]
fn is_signed(world: &World, project: &Project, signed: &[&str]) {
    let git = |args: &[&str]| world.git(args).at("ours");
    git(&["commit", "-q", "--allow-empty", "-m", "new"]).ok();
    let push = [&["push", "-q"], signed, &["origin", "HEAD:refs/heads/new"]].concat();
    assert_eq!(git(&push).ok().stderr, "");
    let tip = git(&["rev-parse", "HEAD"]).ok().line().to_owned();
    assert_eq!(project.tip("new").as_ref(), Some(&tip));
    let mirror = world.only_mirror();
    let shown = tests::public_refs(world, &mirror);
    assert!(
        shown.contains(&("refs/heads/new".to_owned(), tip)),
        "{shown:?}"
    );
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_signed_push_reaches_upstream_signed_over_http_and_on_this_machine() {
    for local in [false, true] {
        let stage = Stage::new(filled);
        signs(&stage.world, &stage.project);
        let url = match local {
            true => stage.project.url(),
            false => stage.url.clone(),
        };
        stage.clone(&url, "ours").ok();
        is_signed(&stage.world, &stage.project, &["--signed"]);
        is_signed(&stage.world, &stage.project, &["--signed=if-asked"]);
        let always = ["config", "push.gpgSign", "true"];
        stage.ours(&always).ok();
        is_signed(&stage.world, &stage.project, &[]);
        assert_eq!(seen(&stage.project), "certificate OK\n".repeat(3));
        is_signed(&stage.world, &stage.project, &["--no-signed"]);
        assert_eq!(seen(&stage.project).lines().last(), Some(" "));
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_signed_push_reaches_upstream_signed_over_ssh() {
    let stage = ssh::Stage::new(filled);
    signs(&stage.world, &stage.project);
    stage.clone("ours").ok();
    is_signed(&stage.world, &stage.project, &["--signed"]);
    assert_eq!(seen(&stage.project), "certificate OK\n");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_signed_push_with_a_branch_that_stays_here_is_refused_whole() {
    for local in [false, true] {
        let stage = Stage::new(filled);
        signs(&stage.world, &stage.project);
        let url = match local {
            true => stage.project.url(),
            false => stage.url.clone(),
        };
        let track = ["add", "-q", "work", &url, "--track", "+refs/heads/main"];
        stage.mirrord(&track).ok();
        let stage = stage.cloned("work", "ours");
        stage.commit("ours", "new");
        let push = ["--signed", "main", "HEAD:refs/heads/mine"];
        let ran = stage.upstream_stays(|| stage.push("ours", &push).fails());
        let said: Vec<&str> = ran
            .stderr
            .lines()
            .filter(|line| !line.starts_with("To "))
            .collect();
        insta::allow_duplicates! {
            insta::assert_snapshot!(said[..2].join("\n"), @"
            error: cannot push 'refs/heads/mine' signed: it does not go to upstream as it is, by the settings of the mirror 'work'
            hint: nothing was pushed; push it apart with --no-signed, and then the others signed
            ");
        }
        assert_eq!(
            said.last(),
            Some(&"error: failed to push some refs to 'mirror::work'")
        );
        assert_eq!(seen(&stage.project), "");
        stage.push("ours", &["-q", "HEAD:refs/heads/mine"]).ok();
        stage.push("ours", &["-q", "--signed", "main"]).ok();
        assert_eq!(seen(&stage.project), "certificate OK\n");
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn where_upstream_asks_for_no_certificate_a_push_that_is_signed_if_asked_is_like_any_other() {
    let stage = Stage::new(|project| drop(project.commit("main", "a", "a")));
    signs(&stage.world, &stage.project);
    let url = stage.project.url();
    let track = ["add", "-q", "work", &url, "--track", "+refs/heads/main"];
    stage.mirrord(&track).ok();
    let stage = stage.cloned("work", "ours");
    stage.commit("ours", "new");
    let push = ["-q", "--signed=if-asked", "main", "HEAD:refs/heads/mine"];
    stage.push("ours", &push).ok();
    assert_eq!(stage.project.tip("main"), stage.tip("ours", "HEAD"));
    assert_eq!(
        stage.mirror_tip("refs/heads/mine"),
        stage.tip("ours", "HEAD")
    );
    assert_eq!(stage.project.tip("mine"), None);
}

#[test]
fn a_signed_push_whose_commands_cannot_be_read_is_refused() {
    let stage = Stage::new(filled);
    let url = stage.project.url();
    let stage = stage.cloned(&url, "ours");
    stage.ours(&["config", "push.gpgSign", "true"]).ok();
    let (old, new) = (stage.upstream_tip("main"), stage.commit("ours", "new"));
    let command = format!("{old} {new} refs/heads/main\0 report-status");
    // A delimiter packet, which no push has.
    let length = command.len() + 4;
    let push = format!("connect git-receive-pack\n{length:04x}{command}00010000");
    let helper = stage.world.helper(["origin", &url]).at("ours");
    let helper = helper.env("GIT_DIR", stage.world.path("ours/.git"));
    let ran = stage.upstream_stays(|| helper.stdin(push).run());
    insta::assert_snapshot!(tests::shown(&ran.stderr), @"error: cannot read the push: what should be a length is none");
    assert!(!ran.stdout.contains("ok refs/heads/main"), "{ran}");
    assert_eq!(seen(&stage.project), "");
}

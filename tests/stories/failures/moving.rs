//! A project that has moved: where to, and how to follow it.

use tests::{Fault, On};

use super::{failed, stage};
use crate::{ssh, stage::Stage};

/// GitLab's words (`Gitlab::Checks::ContainerMoved`).
fn args(to: &str) -> String {
    format!(
        "Project 'group/project' was moved to 'group/new'.\n\nPlease update your Git remote:\n\n  \
         git remote set-url origin {to}\n"
    )
}

/// Follows what a hint says, word for word.
#[track_caller]
fn follow(stage: &Stage, stderr: &str) {
    let hint = stderr.lines().find_map(|line| line.strip_prefix("hint: '"));
    let (command, _) = hint
        .and_then(|hint| hint.split_once("' follows it"))
        .unwrap_or_else(|| panic!("a hint says what to type: {stderr}"));
    assert!(!command.contains("t0ken"), "{command}");
    stage.world.program("sh", ["-c", command]).ok();
}

#[test]
fn a_project_that_says_where_it_went_is_followed_as_the_hint_says() {
    let stage = stage();
    let new = stage.gitlab.project("group/new");
    new.git(["fetch", "-q", &stage.project.url(), "main:main"])
        .ok();
    let to = stage.gitlab.url("group/new");
    let with_login = to.replace("://", "://me:t0ken@");
    let plain = ("Content-Type", "text/plain");
    let faults = [
        Fault::status(404)
            .header(plain.0, plain.1)
            .body(args(&with_login)),
        Fault::err_line(On::LsRefs, &args(&with_login)),
        Fault::redirect(301, &format!("{to}/info/refs?service=git-upload-pack")),
    ];
    for fault in faults {
        stage.forget_session();
        stage.gitlab.fault(fault.project("group/project"));
        let why = format!("'{}' has moved", stage.url);
        let ran = failed(stage.ours(&["fetch"]), &why);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"
            error: 'http://gitlab.example/group/project.git' has moved
            hint: 'mirrord set work --url http://gitlab.example/group/new.git' follows it
            ");
        }
        failed(stage.mirrord(&["sync", "work"]), &why);
        let push = stage.ours(&["push", "origin", "HEAD:main"]).run();
        insta::allow_duplicates! {
            insta::assert_snapshot!(push.shown(), @"
            warning: 'http://gitlab.example/group/project.git' has moved
            hint: serving the copy synced [time] ago
            hint: 'mirrord set work --url http://gitlab.example/group/new.git' follows it
            Everything up-to-date
            ");
        }
        follow(&stage, &ran.stderr);
        assert_eq!(stage.ours(&["fetch"]).ok().stderr, "", "it is followed");
        stage.gitlab.clear_faults();
        let back = ["set", "work", "--url", &stage.url];
        stage.world.mirrord(back).ok();
        // Of another URL nobody has proved anything yet.
        stage.ours(&["fetch"]).ok();
    }
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_project_behind_ssh_that_says_where_it_went_is_named() {
    let stage = ssh::Stage::small();
    stage.clone("ours").ok();
    let to = "git@gitlab.example:group/new.git";
    let text = args(to).replace('\n', "\\nremote: ");
    stage
        .sshd
        .fault(&format!("printf \"remote: {text}\\n\" >&2; exit 1"));
    let ran = failed(stage.world.git(["fetch"]).at("ours"), "has moved");
    let hint = format!("--url {to}' follows it\n");
    assert!(ran.stderr.ends_with(&hint), "{ran}");
}

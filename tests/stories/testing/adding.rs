//! `mirrord add` makes the same test first.

use super::{Stage, fails_at, step_detail, steps};

fn adding(stage: &Stage, options: &[&str]) -> tests::Run {
    stage
        .world
        .mirrord(["add", "work", &stage.url])
        .args(options)
}

#[test]
fn an_add_with_progress_prints_its_steps() {
    let stage = Stage::new();
    let ran = adding(&stage, &["--progress"]).ok();
    let labels: Vec<_> = steps(&ran).into_iter().map(|step| step.1).collect();
    let test = steps(&stage.testing(&[]).ok());
    let tested: Vec<_> = test.into_iter().map(|step| step.1).collect();
    assert_eq!(labels, tested, "they are those of the test");
    assert!(!ran.stdout.contains("connected"), "on stderr: {ran}");
}

#[test]
fn an_add_without_progress_prints_its_steps_only_if_it_fails() {
    let stage = Stage::new();
    stage.gitlab.require_login("group/project", "me", "right");
    let ran = adding(&stage, &[]).code(1);
    let args = step_detail(&ran, "FAILED", "signed in");
    assert_eq!(args, "upstream wants a login, and none was found");
    step_detail(&ran, "ok", "connected");
    let lines: Vec<_> = ran.stderr.lines().collect();
    let [.., error, hint] = lines[..] else {
        panic!("an error and a hint: {ran}");
    };
    assert!(error.starts_with("error: could not read Username"), "{ran}");
    assert!(hint.contains("personal_access_tokens"), "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
    assert_eq!(stage.world.mirrors(), [""; 0]);
    let quiet = adding(&stage, &["--quiet"]).code(1);
    assert!(quiet.stderr.starts_with("error: "), "{quiet}");
    let typed = stage.with_login("me:right");
    let ran = stage.world.mirrord(["add", "work", &typed]).ok();
    assert_eq!(ran.stderr, "", "nothing to see where it works");
}

#[test]
fn an_add_whose_steps_are_not_shown_asks_upstream_less() {
    let stage = Stage::new();
    adding(&stage, &["--no-sync"]).ok();
    let requests = stage.gitlab.requests();
    let asked: Vec<_> = requests
        .iter()
        .map(|request| request.query.as_str())
        .collect();
    assert_eq!(asked, ["service=git-upload-pack", ""], "{requests:?}");
    stage.gitlab.forget_requests();
    stage.world.mirrord(["remove", "work"]).ok();
    adding(&stage, &["--no-test", "--no-sync"]).ok();
    assert!(stage.gitlab.requests().is_empty());
    fails_at(
        stage
            .world
            .mirrord(["test", &stage.gitlab.url("group/none")]),
        "may read",
        "not found",
    );
}

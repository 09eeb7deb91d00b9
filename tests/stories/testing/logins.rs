//! The steps about the login, and what it may read.

use tests::{Fault, Request};

use super::{Stage, fails_at, hint, step_detail, steps};

/// How often a login was sent to GitLab.
fn sent(stage: &Stage, login: &str) -> usize {
    let requests = stage.gitlab.requests();
    let has = |request: &&Request| request.authorization.as_deref() == Some(login);
    requests.iter().filter(has).count()
}

/// Configures a credential helper that gives this token.
fn helper(stage: &Stage, token: &str) {
    let helper = format!("!f() {{ cat >/dev/null; echo username=me; echo password={token}; }}; f");
    stage.world.config("credential.helper", &helper);
}

fn private() -> Stage {
    let stage = Stage::new();
    stage.gitlab.require_login("group/project", "me", "right");
    stage
}

/// The page of this GitLab where tokens are made.
fn page(stage: &Stage) -> String {
    let host = stage.gitlab.host();
    format!("http://{host}/-/user_settings/personal_access_tokens")
}

#[test]
fn a_private_project_wants_a_login_and_the_page_for_tokens_is_named() {
    let stage = private();
    let ran = fails_at(stage.testing(&[]), "signed in", "wants a login");
    let hint = hint(&ran);
    for part in [&page(&stage), "read_repository", "write_repository"] {
        assert!(hint.contains(part), "'{part}': {ran}");
    }
}

#[test]
fn a_wrong_token_is_refused_and_sent_once() {
    let stage = private();
    helper(&stage, "wr0ng");
    let why = "upstream refuses the login as 'me'";
    let ran = fails_at(stage.testing(&[]), "signed in", why);
    assert!(hint(&ran).contains(&page(&stage)), "{ran}");
    assert_eq!(
        sent(&stage, "me:wr0ng"),
        1,
        "it counts against this address"
    );
    assert_eq!(ran.stdout.matches("connected").count(), 1, "{ran}");
    let typed = stage.with_login("me:wr0ng");
    let ran = fails_at(stage.world.mirrord(["test", &typed]), "signed in", why);
    assert_eq!(sent(&stage, "me:wr0ng"), 2);
    let printed = format!("{ran}").replace(&typed, "");
    let log = stage.world.log();
    assert!(
        !ran.stdout.contains("wr0ng") && !printed.contains(":wr0ng@"),
        "{ran}"
    );
    assert!(!log.contains("wr0ng"), "{log}");
}

#[test]
fn a_right_token_is_used_wherever_it_comes_from() {
    let stage = private();
    let typed = stage.with_login("me:right");
    let in_url = stage.world.mirrord(["test", &typed]).ok();
    helper(&stage, "right");
    let of_helper = stage.testing(&[]).ok();
    for ran in [in_url, of_helper] {
        assert_eq!(step_detail(&ran, "ok", "signed in"), "as 'me'");
        for label in ["may read", "may push", "LFS endpoint", "refspecs"] {
            step_detail(&ran, "ok", label);
        }
    }
}

#[test]
fn a_header_that_signs_in_is_named_and_not_shown() {
    let stage = private();
    let header = "Authorization: Basic bWU6cmlnaHQ=";
    stage.world.config("http.extraHeader", header);
    let ran = stage.testing(&[]).ok();
    assert_eq!(
        step_detail(&ran, "ok", "signed in"),
        "with 'http.extraHeader'"
    );
    assert!(!ran.stdout.contains("bWU6"), "{ran}");
}

#[test]
fn a_login_that_may_not_read_gets_an_error() {
    let stage = private();
    stage.gitlab.require_login("group/other", "you", "yours");
    let typed = stage.with_login("you:yours");
    let test = || stage.world.mirrord(["test", &typed]);
    let ran = fails_at(test(), "may read", "not found");
    assert!(hint(&ran).contains("without permission"), "{ran}");
    stage.gitlab.forbid("you");
    let why = "error: 403: Your account has been blocked";
    fails_at(test(), "may read", why);
}

#[test]
fn other_answers_are_said_as_they_are() {
    let stage = Stage::new();
    for (fault, why) in [
        (Fault::status(404), "not found"),
        (Fault::status(500), "error 500"),
        (Fault::html(), "'text/html' answered, not git"),
        (Fault::hang_up(), "cut"),
    ] {
        stage.gitlab.fault(fault);
        fails_at(stage.testing(&[]), "may read", why);
        stage.gitlab.clear_faults();
    }
}

#[test]
fn a_login_that_may_read_need_not_push() {
    let stage = Stage::new();
    stage
        .gitlab
        .require_login_to_push("group/project", "me", "right");
    stage.gitlab.require_login("group/other", "you", "yours");
    let typed = stage.with_login("you:yours");
    let ran = stage.world.mirrord(["test", &typed]).ok();
    let args = step_detail(&ran, "FAILED", "may push");
    let gitlab = "You are not allowed to push code to this project (error 403)";
    assert_eq!(args, gitlab);
    let labels: Vec<_> = steps(&ran).into_iter().map(|step| step.1).collect();
    assert!(
        !labels.contains(&"atomic pushes".into()),
        "no telling: {ran}"
    );
    // Nobody is asked for a login that reading does not need.
    let ran = stage.testing(&[]).ok();
    let args = step_detail(&ran, "-", "may push");
    assert!(args.starts_with("upstream wants a login"), "{ran}");
    let typed = stage.with_login("me:right");
    let ran = stage.world.mirrord(["test", &typed]).ok();
    step_detail(&ran, "ok", "may push");
}

//! The steps about the login, and what it may read.

use tests::{Fault, Request};

use super::{fails, passes, step, testing, untested, with_login};
use crate::stage::Stage;

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
    let stage = untested();
    stage.gitlab.require_login("group/project", "me", "right");
    stage
}

#[test]
fn a_private_project_wants_a_login_and_the_page_for_tokens_is_named() {
    let report = fails(testing(&private(), &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED signed in  [time]  upstream wants a login, and none was found
    hint: make a token at http://gitlab.example/-/user_settings/personal_access_tokens with scopes read_repository, write_repository, and store it with a credential helper, or in the mirror: --username NAME
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
}

#[test]
fn a_wrong_token_is_refused_and_sent_once() {
    let stage = private();
    helper(&stage, "wr0ng");
    let report = fails(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED signed in  [time]  upstream refuses the login as 'me'
    hint: make a token at http://gitlab.example/-/user_settings/personal_access_tokens with scopes read_repository, write_repository, and store it with a credential helper, or in the mirror: --username NAME
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
    assert_eq!(
        sent(&stage, "me:wr0ng"),
        1,
        "it counts against this address"
    );
    let typed = with_login(&stage, "me:wr0ng");
    assert_eq!(fails(stage.mirrord(&["test", &typed])), report);
    assert_eq!(sent(&stage, "me:wr0ng"), 2);
    let log = stage.world.log();
    assert!(!log.contains("wr0ng"), "{log}");
}

#[test]
fn a_right_token_is_used_wherever_it_comes_from() {
    let stage = private();
    let typed = with_login(&stage, "me:right");
    let report = passes(stage.mirrord(&["test", &typed]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  as 'me'
    ok     may read  [time]  2 branches, 1 tag, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    ok     push options  [time]  advertised
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
    helper(&stage, "right");
    assert_eq!(passes(testing(&stage, &[])), report);
}

#[test]
fn a_header_that_signs_in_is_named_and_not_shown() {
    let stage = private();
    let header = "Authorization: Basic bWU6cmlnaHQ=";
    stage.world.config("http.extraHeader", header);
    let report = passes(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  with 'http.extraHeader'
    ok     may read  [time]  2 branches, 1 tag, default branch main
    ok     may push  [time]  as far as upstream tells beforehand
    ok     atomic pushes  [time]  advertised
    ok     push options  [time]  advertised
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
}

#[test]
fn a_login_that_may_not_read_gets_an_error() {
    let stage = private();
    stage.gitlab.require_login("group/other", "you", "yours");
    let typed = with_login(&stage, "you:yours");
    let test = || fails(stage.mirrord(&["test", &typed]));
    insta::assert_snapshot!(test(), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED may read  [time]  repository 'http://gitlab.example/group/project.git' not found
    hint: check the address; a login without permission is told the same
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
    stage.gitlab.forbid("you");
    insta::assert_snapshot!(test(), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED may read  [time]  error: 403: Your account has been blocked.
    hint: this login may not read it, or too many failed ones have closed the door for a while
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
}

#[test]
fn other_answers_are_said_as_they_are() {
    let stage = untested();
    let faults = [
        Fault::status(404),
        Fault::status(500),
        Fault::html(),
        Fault::hang_up(),
    ];
    let line = |fault| {
        stage.gitlab.fault(fault);
        let report = fails(testing(&stage, &[]));
        stage.gitlab.clear_faults();
        step(&report, "may read")
    };
    let lines = faults.map(line).join("\n");
    insta::assert_snapshot!(lines, @"
    FAILED may read  [time]  repository 'http://gitlab.example/group/project.git' not found
    FAILED may read  [time]  the server answered with error 500
    FAILED may read  [time]  'text/html' answered, not git
    FAILED may read  [time]  the connection was cut
    ");
}

#[test]
fn a_login_that_may_read_need_not_push() {
    let stage = untested();
    stage
        .gitlab
        .require_login_to_push("group/project", "me", "right");
    stage.gitlab.require_login("group/other", "you", "yours");
    let as_login = |login| {
        let typed = with_login(&stage, login);
        passes(stage.mirrord(&["test", &typed]))
    };
    insta::assert_snapshot!(as_login("you:yours"), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  as 'you'
    ok     may read  [time]  2 branches, 1 tag, default branch main
    FAILED may push  [time]  You are not allowed to push code to this project (error 403)
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
    // Nobody is asked for a login that reading does not need.
    let report = passes(testing(&stage, &[]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    ok     signed in  [time]  anonymous
    ok     may read  [time]  2 branches, 1 tag, default branch main
    -      may push  [time]  upstream wants a login for that, and to read none was needed
    ok     LFS endpoint  [time]  http://gitlab.example/group/project.git/info/lfs
    ok     refspecs  [time]  3 refs: main, topic, v1
    a mirror of 'http://gitlab.example/group/project.git' would work
    ");
    let allowed = as_login("me:right");
    insta::assert_snapshot!(step(&allowed, "may push"), @"ok     may push  [time]  as far as upstream tells beforehand");
}

//! `mirrord add` makes the same test first.

use tests::Run;

use super::{fails, labels, passes, testing, untested, with_login};
use crate::stage::Stage;

fn adding(stage: &Stage, options: &[&str]) -> Run {
    stage.mirrord(&[&["add", "work", &stage.url], options].concat())
}

#[test]
fn an_add_with_progress_prints_its_steps() {
    let stage = untested();
    let ran = adding(&stage, &["--progress"]).ok();
    let tested = passes(testing(&stage, &[]));
    let added = labels(&tests::shown(&ran.stderr));
    assert_eq!(added.len(), 9, "{ran}");
    assert_eq!(added, labels(&tested), "they are those of the test");
    assert_eq!(labels(&tests::shown(&ran.stdout)), [""; 0], "{ran}");
}

#[test]
fn an_add_without_progress_prints_its_steps_only_if_it_fails() {
    let stage = untested();
    stage.gitlab.require_login("group/project", "me", "right");
    let ran = adding(&stage, &[]).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED signed in  [time]  upstream wants a login, and none was found
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: make a token at http://gitlab.example/-/user_settings/personal_access_tokens with scopes read_repository, write_repository, and store it with a credential helper, or in the mirror: --username NAME
    ");
    assert_eq!(ran.stdout, "", "{ran}");
    assert_eq!(stage.world.mirrors(), [""; 0]);
    let quiet = adding(&stage, &["--quiet"]).code(1);
    insta::assert_snapshot!(quiet.shown(), @"
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: make a token at http://gitlab.example/-/user_settings/personal_access_tokens with scopes read_repository, write_repository, and store it with a credential helper, or in the mirror: --username NAME
    ");
    let typed = with_login(&stage, "me:right");
    let ran = stage.mirrord(&["add", "work", &typed]).ok();
    assert_eq!(ran.stderr, "", "nothing to see where it works");
}

#[test]
fn an_add_whose_steps_are_not_shown_asks_upstream_less() {
    let stage = untested();
    adding(&stage, &["--no-sync"]).ok();
    let requests = stage.gitlab.requests();
    let queries: Vec<_> = requests.iter().map(|it| it.query.as_str()).collect();
    assert_eq!(queries, ["service=git-upload-pack", ""], "{requests:?}");
    stage.gitlab.forget_requests();
    stage.mirrord(&["remove", "work"]).ok();
    adding(&stage, &["--no-test", "--no-sync"]).ok();
    assert!(stage.gitlab.requests().is_empty());
    let report = fails(stage.mirrord(&["test", &stage.gitlab.url("group/none")]));
    insta::assert_snapshot!(report, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED may read  [time]  repository 'http://gitlab.example/group/none.git' not found
    hint: check the address; a private project needs a login
    a mirror of 'http://gitlab.example/group/none.git' would not work
    ");
}

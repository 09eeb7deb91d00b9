//! Each kind of failure, and each of the commands that meets it.

use tests::{Fault, On, World};

use super::{failed, is_back, on, served, stage};
use crate::stage::Stage;

/// The expected result of a fetch that has a copy.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    /// Serves it with its age.
    Served,
    /// Fails.
    Refused,
}
use Answer::{Refused, Served};

const LOAD: &str = "GitLab is currently unable to handle this request due to load";
const GITALY: &str =
    "The git server, Gitaly, is not available at this time. Please contact your administrator.";

/// Meets a failure with each command, on a session of its own.
#[track_caller]
fn meets(stage: &Stage, fault: impl Fn() -> Fault, answer: Answer, why: &str) {
    let begin = || {
        stage.forget_session();
        stage.gitlab.clear_faults();
        stage.gitlab.fault(fault());
    };
    begin();
    match answer {
        Served => {
            served(stage.ours(&["fetch"]), why);
            failed(stage.ours(&["fetch"]).env("MIRROR_STALE", "fail"), why);
        }
        Refused => {
            let ran = failed(stage.ours(&["fetch"]), why);
            let hints = ran.stderr.lines().filter(|line| line.starts_with("hint: "));
            assert_eq!(hints.count(), 1, "what to do: {ran}");
            served(stage.ours(&["fetch"]).env("MIRROR_STALE", "serve"), why);
        }
    }
    others(stage, begin, why);
    stage.gitlab.clear_faults();
    is_back(|| stage.ours(&["fetch"]));
}

/// A first clone, a push to upstream, one that stays here, `mirrord sync` and `mirrord test`.
#[track_caller]
fn others(stage: &Stage, begin: impl Fn(), why: &str) {
    begin();
    let clone = |url: &str| stage.world.clone_mirror(url, "theirs");
    failed(clone(&stage.gitlab.url("group/other")), why);
    assert!(!stage.world.path("theirs").exists(), "no clone is left");
    assert_eq!(stage.world.mirrors().len(), 1, "no mirror is left");

    let before = stage.project.refs();
    stage.commit_empty();
    let ran = stage.ours(&["push", "origin", "main"]).fails();
    assert!(ran.stderr.contains("! [remote rejected]"), "{ran}");
    assert!(ran.stderr.contains(why), "the push says '{why}': {ran}");
    assert!(!ran.stderr.contains("may have reached"), "{ran}");
    stage.ours(&["push", "-qf", "origin", "main:idea"]).ok();
    assert_eq!(stage.project.refs(), before, "nothing went there");

    begin();
    failed(stage.mirrord(&["sync", "work"]), why);
    let ran = stage.mirrord(&["test", "work"]).code(1);
    assert!(ran.stdout.contains("FAILED"), "a step failed: {ran}");
}

#[test]
fn an_upstream_that_is_in_trouble_is_answered_for_by_the_copy() {
    let stage = stage();
    for status in [500, 502, 503, 504] {
        let why = format!("the server answered with error {status}");
        meets(&stage, || Fault::status(status), Served, &why);
    }
}

#[test]
fn an_upstream_that_has_too_much_to_do_is_answered_for_by_the_copy() {
    let stage = stage();
    let why = "asks for patience (error 429)";
    meets(&stage, || Fault::status(429), Served, why);
    let gitaly = || {
        let kind = ("Content-Type", "text/plain");
        Fault::status(503).header(kind.0, kind.1).body(GITALY)
    };
    meets(&stage, gitaly, Served, "Gitaly, is not available");
    for on in [On::InfoRefs, On::LsRefs] {
        meets(&stage, || Fault::err_line(on, LOAD), Served, LOAD);
    }
    stage.project.commit("main", "b", "b");
    stage.gitlab.fault(Fault::err_line(On::Fetch, LOAD));
    served(stage.ours(&["fetch"]), LOAD);
}

#[test]
fn the_time_in_retry_after_is_printed() {
    let stage = stage();
    let after = |status, time: &str| Fault::status(status).header("Retry-After", time);
    // What else a server may send is a row in the tests of its parser.
    let table = [
        (
            after(429, "240"),
            "(error 429); it wants to be left alone for 4 minutes",
        ),
        (
            after(503, "1"),
            "error 503; it wants to be left alone for 1 second",
        ),
    ];
    // Whoever says so asks also while it is left alone.
    let sync = || stage.mirrord(&["sync", "work"]);
    for (fault, why) in table {
        stage.gitlab.fault(fault);
        failed(sync(), why);
        stage.gitlab.clear_faults();
    }
}

#[test]
fn an_upstream_that_refuses_is_not_answered_for_by_the_copy() {
    let stage = stage();
    meets(&stage, || Fault::status(403), Refused, "error: 403");
    meets(&stage, || Fault::status(404), Refused, "not found");
}

#[test]
fn an_upstream_that_wants_a_login_after_all_is_not_answered_for_by_the_copy() {
    let stage = stage();
    let why = "could not read Username";
    stage.gitlab.fault(Fault::status(401));
    let other = stage.gitlab.url("group/other");
    for run in [
        stage.ours(&["fetch"]),
        // Whoever could read it when anybody could is nobody any more.
        stage.ours(&["fetch"]).env("MIRROR_STALE", "serve"),
        stage.world.clone_mirror(&other, "theirs"),
        stage.mirrord(&["sync", "work"]),
    ] {
        failed(run, why);
    }
    let ran = stage.mirrord(&["test", "work"]).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED signed in  [time]  upstream wants a login, and none was found
    hint: store a login with a credential helper, see 'git help credentials'
    a mirror of 'http://gitlab.example/group/project.git' would not work
    ");
    stage.gitlab.clear_faults();
    is_back(|| stage.ours(&["fetch"]));
}

#[test]
fn a_page_of_another_server_is_no_answer_of_upstream() {
    let stage = stage();
    let why = "'text/html' answered, not git";
    meets(&stage, Fault::html, Served, why);
    let portal = || Fault::redirect(302, "http://portal.example/sign-in");
    let why = "it redirects to 'http://portal.example/sign-in', not to git";
    meets(&stage, portal, Served, why);
}

#[test]
fn an_upstream_that_resets_its_connections_is_answered_for_by_the_copy() {
    let stage = stage();
    // Which of the two it is when the request is under way, the system decides.
    meets(&stage, Fault::reset_on_accept, Served, "cannot reach");
}

#[test]
fn an_upstream_at_which_nobody_listens_is_answered_for_by_the_copy() {
    let stage = stage();
    stage.gitlab.stop();
    let why = "connection refused";
    served(stage.ours(&["fetch"]), why);
    failed(stage.ours(&["fetch"]).env("MIRROR_STALE", "fail"), why);
    others(&stage, || (), why);
    stage.gitlab.start();
    is_back(|| stage.ours(&["fetch"]));
}

#[test]
fn a_name_that_is_not_known_is_answered_for_by_the_copy() {
    let stage = stage();
    // Whoever connects in upstream's stead is looked for in the same way.
    stage
        .world
        .config("http.proxy", "http://proxy.invalid:3128");
    let why = "could not resolve host";
    served(stage.ours(&["fetch"]), why);
    failed(stage.ours(&["fetch"]).env("MIRROR_STALE", "fail"), why);
    others(&stage, || (), why);
}

#[test]
fn an_expired_certificate_is_not_answered_for_by_the_copy() {
    let world = World::new();
    let gitlab = world.gitlab_expired();
    world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
    world.config("http.sslVerify", "false");
    let stage = on(world, gitlab);
    stage.world.config("http.sslVerify", "true");
    let why = "certificate refused: it has expired";
    failed(stage.ours(&["fetch"]), why);
    served(stage.ours(&["fetch"]).env("MIRROR_STALE", "serve"), why);
    others(&stage, || (), why);
}

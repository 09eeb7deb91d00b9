//! The hook at GitLab itself: made, mended and looked at by its API, with a token that is asked for and not kept.

use serde_json::{Value, json};
use tests::{Fault, Run, shown};

use super::webhook_on;
use crate::stage::Stage;

const TOKEN: &str = "glpat-maintainer";

/// A mirror whose webhook is on, of a project with a maintainer.
fn with_maintainer() -> Stage {
    let stage = webhook_on();
    stage.gitlab.maintainer("group/project", TOKEN);
    stage
}

impl Stage {
    fn at_gitlab(&self, command: &str, token: &str) -> Run {
        let args = ["webhook", command, "project", "--token-stdin"];
        self.mirrord(&args).stdin(format!("{token}\n"))
    }

    /// The only hook of the project, as GitLab has it.
    #[track_caller]
    fn only_hook(&self) -> Value {
        let hooks = self.gitlab.hooks_of("group/project");
        let [hook] = hooks.as_slice() else {
            panic!("there is one: {hooks:?}");
        };
        hook.clone()
    }

    /// Pushes to GitLab, sends its delivery, and waits until the mirror is in step.
    #[track_caller]
    fn hook_works(&self, what: &str) {
        self.project.commit("main", "file", what);
        assert_eq!(self.gitlab.deliver("group/project"), [202], "{what}");
        self.wait_until_in_step();
    }
}

#[test]
fn a_hook_is_made_and_signed_and_works_without_anybody_typing() {
    let stage = with_maintainer();
    let ran = stage.at_gitlab("register", TOKEN).ok();
    insta::assert_snapshot!(ran.shown(), @"
    project: GitLab has a hook for it now, and what it sends is signed
    --- stderr
    warning: only this machine reaches 'http://gitlab.example': --public-url says how others do, through a proxy or a tunnel
    ");
    let (hook, shown) = (stage.only_hook(), stage.webhook());
    assert_eq!(hook["url"], json!(shown.url));
    assert_eq!(hook["token"], json!(shown.token));
    for ticked in ["push_events", "tag_push_events", "enable_ssl_verification"] {
        assert_eq!(hook[ticked], json!(true), "{ticked}");
    }
    stage.hook_works("signed");
    assert_eq!(
        stage.delivery().send().status,
        401,
        "the plain token is no longer enough"
    );
    stage.at_gitlab("register", TOKEN).ok();
    assert_eq!(stage.only_hook(), hook, "once more changes nothing");
    stage.hook_works("again");
    stage.mirrord(&["stop"]).ok();
    stage.mirrord(&["list"]).ok();
    stage.webhook();
    stage.hook_works("after a restart");
}

#[test]
fn a_gitlab_that_cannot_sign_sends_the_secret_token() {
    let stage = with_maintainer();
    stage.gitlab.without_signing();
    let ran = stage.at_gitlab("register", TOKEN).ok();
    insta::assert_snapshot!(ran.shown(), @"
    project: GitLab has a hook for it now
    --- stderr
    warning: only this machine reaches 'http://gitlab.example': --public-url says how others do, through a proxy or a tunnel
    ");
    stage.hook_works("by token");
    assert_eq!(stage.delivery().send().status, 202);
}

#[test]
fn a_hook_that_is_broken_is_named_and_mended() {
    let stage = with_maintainer();
    let ran = stage.at_gitlab("check", TOKEN).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    error: GitLab has no hook for 'project'
    hint: 'mirrord webhook register project' makes it
    ");
    stage.at_gitlab("register", TOKEN).ok();
    stage.hook_works("new");
    let ran = stage.at_gitlab("check", TOKEN).ok();
    insta::assert_snapshot!(ran.shown(), @"
    name: project
    URL: http://gitlab.example/hooks/[oid]
    state: executable
    push events: yes
    tag push events: yes
    delivery: push_hooks: 202 at [date], after [time]
    ");
    let id = stage
        .webhook()
        .url
        .rsplit('/')
        .next()
        .expect("an id")
        .to_owned();
    let table = [
        ("tag_push_events", json!(false)),
        ("push_events", json!(false)),
        ("push_events_branch_filter", json!("release/*")),
        ("url", json!(format!("http://127.0.0.1:9/hooks/{id}"))),
        ("alert_status", json!("disabled")),
    ];
    let findings = table.map(|(field, value)| {
        stage.gitlab.change_hooks("group/project", field, value);
        let ran = stage.at_gitlab("check", TOKEN).code(1);
        stage.at_gitlab("register", TOKEN).ok();
        stage.at_gitlab("check", TOKEN).ok();
        let lines = ran.stdout.lines();
        let wrong = lines.filter(|line| line.starts_with("wrong: "));
        wrong.collect::<Vec<_>>().join("\n")
    });
    insta::assert_snapshot!(shown(&findings.join("\n")), @"
    wrong: tag push events are not ticked
    wrong: push events are not ticked
    wrong: it tells only of branches like 'release/*'
    wrong: it sends to 'http://gitlab.example/hooks/[oid]', and it should send to 'http://gitlab.example/hooks/[oid]'
    wrong: GitLab has switched it off: too many deliveries failed
    ");
    stage.hook_works("mended");
    let json = ["webhook", "check", "project", "--token-stdin", "--json"];
    let ran = stage.mirrord(&json).stdin(format!("{TOKEN}\n")).ok();
    let checked: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(checked["state"], json!("executable"));
    assert_eq!(checked["deliveries"][0]["status"], json!("202"));
}

#[test]
fn a_hook_that_gitlab_has_switched_off_is_seen_and_switched_on_again() {
    let stage = with_maintainer();
    stage.at_gitlab("register", TOKEN).ok();
    stage
        .gitlab
        .change_hooks("group/project", "signing_token", json!(null));
    for _ in 0..4 {
        assert_eq!(stage.gitlab.deliver("group/project"), [401]);
    }
    assert_eq!(stage.gitlab.deliver("group/project"), [0; 0], "it gave up");
    let ran = stage.at_gitlab("check", TOKEN).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    name: project
    URL: http://gitlab.example/hooks/[oid]
    state: temporarily_disabled
    disabled until: [date]
    push events: yes
    tag push events: yes
    delivery: push_hooks: 401 at [date], after [time]
    delivery: push_hooks: 401 at [date], after [time]
    delivery: push_hooks: 401 at [date], after [time]
    delivery: push_hooks: 401 at [date], after [time]
    wrong: GitLab has switched it off until [date]: deliveries failed
    wrong: it has no signing token, and only signed deliveries are taken
    ");
    stage.at_gitlab("register", TOKEN).ok();
    stage.hook_works("on again");
}

#[test]
fn the_token_goes_to_upstream_alone_and_is_kept_nowhere() {
    let stage = with_maintainer();
    let elsewhere = stage.world.gitlab();
    stage.gitlab.forget_requests();
    stage.at_gitlab("register", TOKEN).ok();
    let received = stage.gitlab.requests();
    let api = received
        .iter()
        .filter(|request| request.path.starts_with("/api/"));
    let mut tokens = api.map(|request| request.header("private-token"));
    assert!(tokens.all(|token| token == Some(TOKEN)));
    let there = elsewhere.url("").replace("/.git", "");
    let moved = Fault::redirect(
        307,
        &format!("{there}/api/v4/projects/group%2Fproject/hooks"),
    );
    stage.gitlab.fault(moved);
    let ran = stage.at_gitlab("register", TOKEN).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    error: 'http://gitlab.example' redirects the question, and a token is told to nobody else
    hint: 'mirrord set NAME --url URL' gives the mirror its new address
    ");
    assert_eq!(elsewhere.requests().len(), 0, "no redirect takes it along");
    stage.gitlab.clear_faults();
    stage.mirrord(&["stop"]).ok();
    let left = stage
        .world
        .program("grep", ["-rlF", TOKEN, "m", "home", "run"])
        .run();
    assert_eq!(left.stdout, "", "{left}");
}

#[test]
fn an_error_of_gitlabs_api_is_printed_with_a_hint() {
    let stage = with_maintainer();
    stage.gitlab.maintainer("other/project", "glpat-other");
    let register = |token| {
        let ran = stage.at_gitlab("register", token).code(1);
        ran.shown()
    };
    insta::assert_snapshot!(register("glpat-wrong"), @"
    error: 'http://gitlab.example' does not take this token
    hint: it must have the scope 'api', and its owner the role of a Maintainer
    ");
    insta::assert_snapshot!(register("glpat-other"), @"
    error: 'http://gitlab.example' knows no project 'group/project' whose hooks this token may see
    hint: it must have the scope 'api', and its owner the role of a Maintainer
    ");
    stage.gitlab.refuse_local_hooks();
    insta::assert_snapshot!(register(TOKEN), @"
    error: 'http://gitlab.example' refuses the hook: Invalid url given: Requests to localhost are not allowed
    hint: an administrator allows such addresses under Admin, Settings, Network, Outbound requests
    ");
    stage.gitlab.stop();
    let unreachable = register(TOKEN);
    insta::assert_snapshot!(unreachable, @"error: cannot reach 'http://gitlab.example/group/project.git': connection refused");
    stage.gitlab.start();
    let args = ["webhook", "register", "project"];
    let ran = stage.mirrord(&args).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    error: could not read the token: nobody can be asked
    hint: give it on stdin: --token-stdin
    ");
}

#[test]
fn somebody_at_a_terminal_is_asked_for_the_token_and_it_is_not_shown() {
    let stage = with_maintainer();
    let args = ["webhook", "register", "project"];
    let mut terminal = stage.mirrord(&args).on_terminal();
    terminal.shows(&format!("Token for 'http://{}'", stage.gitlab.host()));
    terminal.types(&format!("{TOKEN}\n"));
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
    stage.hook_works("asked");
}

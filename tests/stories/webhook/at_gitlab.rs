//! The hook at GitLab itself: made, mended and looked at by its API, with a token that is asked for and not kept.

use serde_json::{Value, json};
use tests::{Fault, Run};

use super::Stage;

const TOKEN: &str = "glpat-maintainer";

impl Stage {
    fn with_maintainer() -> Self {
        let stage = Self::new();
        stage.gitlab.maintainer("group/project", TOKEN);
        stage
    }

    fn at_gitlab(&self, command: &str, token: &str) -> Run {
        let args = ["webhook", command, "project", "--token-stdin"];
        self.world.mirrord(args).stdin(format!("{token}\n"))
    }

    /// The only hook of the project, as GitLab has it.
    #[track_caller]
    fn hook(&self) -> Value {
        let hooks = self.gitlab.hooks_of("group/project");
        let [hook] = hooks.as_slice() else {
            panic!("there is one: {hooks:?}");
        };
        hook.clone()
    }

    /// Pushes to GitLab, sends its delivery, and waits until the mirror is in step.
    #[track_caller]
    fn works(&self, what: &str) {
        self.project.commit("main", "file", what);
        assert_eq!(self.gitlab.deliver("group/project"), [202], "{what}");
        self.wait_until_in_step();
    }
}

#[test]
fn a_hook_is_made_and_signed_and_works_without_anybody_typing() {
    let stage = Stage::with_maintainer();
    let ran = stage.at_gitlab("register", TOKEN).ok();
    assert!(ran.stdout.contains("signed"), "{ran}");
    let (hook, shown) = (stage.hook(), stage.show());
    assert_eq!(hook["url"], json!(shown.url));
    assert_eq!(hook["token"], json!(shown.token));
    for ticked in ["push_events", "tag_push_events", "enable_ssl_verification"] {
        assert_eq!(hook[ticked], json!(true), "{ticked}");
    }
    assert!(
        !ran.stdout.contains("whsec_") && !ran.stderr.contains("whsec_"),
        "{ran}"
    );
    stage.works("signed");
    assert_eq!(
        stage.delivery().send().status,
        401,
        "the plain token is no longer enough"
    );
    stage.at_gitlab("register", TOKEN).ok();
    assert_eq!(stage.hook(), hook, "once more changes nothing");
    stage.works("again");
    stage.world.mirrord(["stop"]).ok();
    stage.world.mirrord(["list"]).ok();
    stage.show();
    stage.works("after a restart");
}

#[test]
fn a_gitlab_that_cannot_sign_sends_the_secret_token() {
    let stage = Stage::with_maintainer();
    stage.gitlab.without_signing();
    let ran = stage.at_gitlab("register", TOKEN).ok();
    assert!(!ran.stdout.contains("signed"), "{ran}");
    stage.works("by token");
    assert_eq!(stage.delivery().send().status, 202);
}

#[test]
fn a_hook_that_is_broken_is_named_and_mended() {
    let stage = Stage::with_maintainer();
    let ran = stage.at_gitlab("check", TOKEN).code(1);
    assert!(
        ran.stderr
            .contains("GitLab has no hook for 'project'\nhint: "),
        "{ran}"
    );
    stage.at_gitlab("register", TOKEN).ok();
    stage.works("new");
    let ran = stage.at_gitlab("check", TOKEN).ok();
    for line in [
        "state: executable\n",
        "push events: yes\n",
        "delivery: push_hooks: 202",
    ] {
        assert!(ran.stdout.contains(line), "{ran}");
    }
    let id = stage
        .show()
        .url
        .rsplit('/')
        .next()
        .expect("an id")
        .to_owned();
    let table = [
        (
            "tag_push_events",
            json!(false),
            "tag push events are not ticked",
        ),
        ("push_events", json!(false), "push events are not ticked"),
        (
            "push_events_branch_filter",
            json!("release/*"),
            "'release/*'",
        ),
        (
            "url",
            json!(format!("http://127.0.0.1:9/hooks/{id}")),
            "should send to",
        ),
        ("alert_status", json!("disabled"), "switched it off"),
    ];
    for (field, value, expected) in table {
        stage.gitlab.change_hooks("group/project", field, value);
        let ran = stage.at_gitlab("check", TOKEN).code(1);
        assert!(
            ran.stdout.contains("wrong: ") && ran.stdout.contains(expected),
            "{field}: {ran}"
        );
        stage.at_gitlab("register", TOKEN).ok();
        stage.at_gitlab("check", TOKEN).ok();
        stage.works(field);
    }
    let json = ["webhook", "check", "project", "--token-stdin", "--json"];
    let ran = stage.world.mirrord(json).stdin(format!("{TOKEN}\n")).ok();
    let checked: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(checked["state"], json!("executable"));
    assert_eq!(checked["deliveries"][0]["status"], json!("202"));
}

#[test]
fn a_hook_that_gitlab_has_switched_off_is_seen_and_switched_on_again() {
    let stage = Stage::with_maintainer();
    stage.at_gitlab("register", TOKEN).ok();
    stage
        .gitlab
        .change_hooks("group/project", "signing_token", json!(null));
    for _ in 0..4 {
        assert_eq!(stage.gitlab.deliver("group/project"), [401]);
    }
    assert_eq!(stage.gitlab.deliver("group/project"), [0; 0], "it gave up");
    let ran = stage.at_gitlab("check", TOKEN).code(1);
    for expected in [
        "disabled until: 2026-",
        "delivery: push_hooks: 401",
        "no signing token",
    ] {
        assert!(ran.stdout.contains(expected), "{ran}");
    }
    stage.at_gitlab("register", TOKEN).ok();
    stage.works("on again");
}

#[test]
fn the_token_goes_to_upstream_alone_and_is_kept_nowhere() {
    let stage = Stage::with_maintainer();
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
    assert!(ran.stderr.contains("redirects"), "{ran}");
    assert_eq!(elsewhere.requests().len(), 0, "no redirect takes it along");
    stage.gitlab.clear_faults();
    stage.world.mirrord(["stop"]).ok();
    let left = stage
        .world
        .program("grep", ["-rlF", TOKEN, "m", "home", "run"])
        .run();
    assert_eq!(left.stdout, "", "{left}");
}

#[test]
fn an_error_of_gitlabs_api_is_printed_with_a_hint() {
    let stage = Stage::with_maintainer();
    stage.gitlab.maintainer("other/project", "glpat-other");
    for (token, expected) in [
        ("glpat-wrong", "does not take this token"),
        ("glpat-other", "knows no project 'group/project'"),
    ] {
        let ran = stage.at_gitlab("register", token).code(1);
        assert!(
            ran.stderr.contains(expected) && ran.stderr.contains("hint: "),
            "{ran}"
        );
        assert!(!ran.stderr.contains("glpat"), "{ran}");
    }
    stage.gitlab.refuse_local_hooks();
    let ran = stage.at_gitlab("register", TOKEN).code(1);
    assert!(
        ran.stderr.contains("Requests to localhost are not allowed"),
        "{ran}"
    );
    assert!(ran.stderr.contains("Outbound requests"), "{ran}");
    stage.gitlab.stop();
    let ran = stage.at_gitlab("register", TOKEN).code(1);
    assert!(ran.stderr.contains("cannot reach"), "{ran}");
    stage.gitlab.start();
    let args = ["webhook", "register", "project"];
    let ran = stage.world.mirrord(args).code(1);
    assert!(ran.stderr.contains("hint: give it on stdin"), "{ran}");
}

#[test]
fn somebody_at_a_terminal_is_asked_for_the_token_and_it_is_not_shown() {
    let stage = Stage::with_maintainer();
    let args = ["webhook", "register", "project"];
    let mut terminal = stage.world.mirrord(args).on_terminal();
    terminal.shows(&format!("Token for 'http://{}'", stage.gitlab.host()));
    terminal.types(&format!("{TOKEN}\n"));
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains(TOKEN), "{shown}");
    stage.works("asked");
}

//! A mirror that signs in with nothing, whatever the user's git knows.

use std::{collections::BTreeSet, fs};

use tests::Fault;

use crate::credentials::nothing;
use crate::stage::Stage;

#[test]
fn an_anonymous_mirror_never_sends_a_credential_whatever_the_user_has() {
    let private = Stage::not_yet_private().with_helper("right");
    let netrc = "machine 127.0.0.1\nlogin me\npassword right\n";
    fs::write(private.world.home().join(".netrc"), netrc).expect("the home is ours");
    private
        .world
        .config("http.extraHeader", "Authorization: Basic bWU6cmlnaHQ=");
    let add = ["add", "project", &private.url, "--anonymous"];
    private.world.mirrord(add).ok();
    private
        .world
        .git(["clone", "-q", "mirror::project", "ours"])
        .ok();
    private.fetch("ours").ok();
    private
        .world
        .git(["commit", "-q", "--allow-empty", "-m", "c"])
        .at("ours")
        .ok();
    private
        .world
        .git(["push", "-q", "origin", "HEAD:refs/heads/pushed"])
        .at("ours")
        .ok();
    for word in ["HEAD", "old"] {
        if word == "old" {
            // A proxy's sign-in is a thing that only git itself can do; it does not look into ~/.netrc either.
            private.world.config("http.proxyAuthMethod", "anyauth");
        }
        private.look_at("project").ok();
    }
    let sent: Vec<_> = private
        .gitlab
        .requests()
        .into_iter()
        .filter(|request| {
            let signs_in = ["authorization", "private-token", "cookie"];
            let mut headers = request.headers.iter();
            headers.any(|(name, _)| signs_in.contains(&name.as_str()))
        })
        .collect();
    assert!(sent.is_empty(), "{sent:?}");
    assert_eq!(private.helper_calls("helper"), [""; 0]);
    let listed = private.world.git(["ls-remote", &private.url, "pushed"]);
    let listed = listed.env("HOME", "/nonexistent").run();
    insta::assert_snapshot!(listed.shown(), @"[oid]	refs/heads/pushed");
}

#[test]
fn an_anonymous_mirror_has_no_ticket_either() {
    let private = Stage::not_yet_private();
    let add = ["add", "project", &private.url, "--anonymous"];
    private.world.mirrord(add).ok();
    private.gitlab.forget_requests();
    let wants_ticket = Fault::status(401).header("WWW-Authenticate", "Negotiate");
    private.gitlab.fault(wants_ticket);
    let ran = private.look_at("project").code(128);
    insta::assert_snapshot!(ran.shown(), @r"
    error: 'http://gitlab.example/group/project.git' wants a login, and the mirror is anonymous
    hint: 'mirrord set project --username USER' gives it one; --forget-credential lets git look for one
    ");
    let requests = private.gitlab.requests();
    let by_git = |request: &&tests::Request| {
        let mut headers = request.headers.iter();
        headers.any(|(name, value)| name == "user-agent" && value.starts_with("git/2."))
    };
    assert_eq!(requests.iter().filter(by_git).count(), 0, "{requests:?}");
}

#[test]
fn an_anonymous_mirror_of_what_became_private_says_so_and_asks_nobody() {
    let private = Stage::not_yet_private().with_helper("right");
    let add = ["add", "project", &private.url, "--anonymous"];
    private.world.mirrord(add).ok();
    private
        .world
        .git(["clone", "-q", "mirror::project", "ours"])
        .ok();
    private.gitlab.require_login("group/project", "me", "right");
    let ran = nothing(private.fetch("ours"));
    insta::assert_snapshot!(ran.shown(), @r"
    error: 'http://gitlab.example/group/project.git' wants a login, and the mirror is anonymous
    hint: 'mirrord set project --username USER' gives it one; --forget-credential lets git look for one
    ");
    assert_eq!(private.helper_calls("helper"), [""; 0]);
    private
        .world
        .mirrord(["set", "project", "--forget-credential"])
        .ok();
    private.fetch("ours").ok();
    // The mirror goes on by itself, too, and asks as well.
    let calls = private.helper_calls("helper");
    let kinds: BTreeSet<_> = calls.iter().map(String::as_str).collect();
    assert_eq!(kinds, BTreeSet::from(["get", "store right"]), "{calls:?}");
}

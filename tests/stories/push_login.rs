//! The login of a push: the same as in plain git, sent only to upstream, and in nothing that others can read.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use tests::{On, World};

use crate::stage::Stage;

/// A project that anybody may read and that `me` may push to, cloned through the mirror and plainly.
fn public(token: &str) -> Stage {
    let private = Stage::not_yet_private();
    private
        .gitlab
        .require_login_to_push("group/project", "me", token);
    with_clones(private)
}

fn with_clones(private: Stage) -> Stage {
    private.clone(&private.url, "ours").ok();
    let plain = ["clone", "-q", &private.url, "plain"];
    private.world.git(plain).ok();
    private
}

fn commit(world: &World, side: &str) {
    let commit = ["commit", "-q", "--allow-empty", "-m", side];
    world.git(commit).at(side).ok();
}

/// Commits in a clone and pushes it to a branch called as the clone; the mirror's own branch is not in the way.
fn push(private: &Stage, side: &str) -> tests::Run {
    commit(&private.world, side);
    let branch = format!("HEAD:refs/heads/{side}");
    private.world.git(["push", "origin", &branch]).at(side)
}

fn upstream_has(private: &Stage, branch: &str) -> bool {
    private.project.tip(branch).is_some()
}

#[test]
fn a_login_that_is_needed_to_push_alone_is_asked_for_as_by_git() {
    let private = public("right").with_helper("right");
    assert_eq!(
        private.helper_calls("helper"),
        [""; 0],
        "reading needs none"
    );
    push(&private, "ours").ok();
    let ours = private.helper_calls("helper");
    push(&private, "plain").ok();
    assert_eq!(ours, private.helper_calls("helper"));
    assert_eq!(ours, ["get", "store right"]);
    private.fetch("ours").ok();
    assert_eq!(
        private.helper_calls("helper"),
        [""; 0],
        "reading needs none still"
    );
}

#[test]
fn a_private_project_is_pushed_to_with_the_login_that_reads_it() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").ok();
    assert_eq!(private.helper_calls("helper"), ["get", "store right"]);
    push(&private, "ours").ok();
    let calls = private.helper_calls("helper");
    assert!(
        !calls.iter().any(|line| line != "store right"),
        "nobody is asked again: {calls:?}"
    );
    let logins = private.logins();
    let guesses = logins
        .iter()
        .filter(|login| !["", "me:right"].contains(&login.as_str()));
    assert_eq!(guesses.count(), 0, "{logins:?}");
    private.world.mirrord(["stop"]).ok();
    push(&private, "ours").ok();
    let gets = private
        .helper_calls("helper")
        .iter()
        .filter(|line| *line == "get")
        .count();
    assert!(gets <= 1, "plain git asks once");
}

#[test]
fn a_wrong_token_is_refused_and_erased_as_by_git() {
    let private = public("right").with_helper("wr0ng");
    private.logins();
    let ours = push(&private, "ours").fails();
    let calls = private.helper_calls("helper");
    let guesses = private.logins();
    let plain = push(&private, "plain").fails();
    insta::assert_snapshot!(plain.shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    fatal: Authentication failed for 'http://gitlab.example/group/project.git/'
    ");
    insta::assert_snapshot!(ours.shown(), @r"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] HEAD -> ours (Authentication failed for 'http://gitlab.example/group/project.git/')
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    assert_eq!(calls, private.helper_calls("helper"));
    assert_eq!(calls, ["get", "erase wr0ng"]);
    let count = |logins: &[String]| logins.iter().filter(|login| *login == "me:wr0ng").count();
    assert_eq!(
        count(&guesses),
        count(&private.logins()),
        "GitLab bans who guesses"
    );
    assert!(!upstream_has(&private, "ours"));
}

#[test]
fn a_push_without_a_login_is_refused() {
    let private = public("right");
    let ours = push(&private, "ours").fails();
    let plain = push(&private, "plain").fails();
    insta::assert_snapshot!(plain.shown(), @"fatal: could not read Username for 'http://gitlab.example': terminal prompts disabled");
    insta::assert_snapshot!(ours.shown(), @r"
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] HEAD -> ours (could not read Username for 'http://gitlab.example': terminal prompts disabled)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
    assert!(!upstream_has(&private, "ours"));
}

#[test]
fn a_login_that_may_read_and_not_push_gets_gitlabs_message() {
    let private = Stage::not_yet_private();
    private
        .gitlab
        .require_login_to_push("group/project", "owner", "right");
    // The stand-in knows people by the projects that they belong to.
    private.gitlab.require_login("group/other", "me", "reader");
    let private = with_clones(private).with_helper("reader");
    let ours = push(&private, "ours").fails();
    let plain = push(&private, "plain").fails();
    insta::assert_snapshot!(plain.shown(), @"
    remote: You are not allowed to push code to this project.
    fatal: unable to access 'http://gitlab.example/group/project.git/': The requested URL returned error: 403
    ");
    insta::assert_snapshot!(ours.shown(), @r"
    remote: You are not allowed to push code to this project.
    To mirror::http://gitlab.example/group/project.git
     ! [remote rejected] HEAD -> ours (unable to access 'http://gitlab.example/group/project.git/': The requested URL returned error: 403)
    error: failed to push some refs to 'mirror::http://gitlab.example/group/project.git'
    ");
}

#[test]
fn a_token_that_was_replaced_is_forgotten_and_the_new_one_asked_for() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").ok();
    private.gitlab.revoke("me");
    private.gitlab.require_login("group/project", "me", "new");
    let private = private.with_helper("new");
    private.helper_calls("helper");
    push(&private, "ours").ok();
    let calls = private.helper_calls("helper");
    insta::assert_snapshot!(calls.join("\n"), @"
    get
    store new
    ");
}

#[test]
fn who_has_no_login_pushes_nothing_with_that_of_another() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").ok();
    push(&private, "ours").ok();
    commit(&private.world, "ours");
    let stranger = [
        "-c",
        "credential.helper=",
        "push",
        "origin",
        "HEAD:refs/heads/stolen",
    ];
    let ran = private.world.git(stranger).at("ours").fails();
    insta::assert_snapshot!(ran.shown(), @r"
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: there is a copy here, but this login has never read it from upstream
    ");
    assert!(!upstream_has(&private, "stolen"));
    let url = private.url.replace("http://", "mirror::http://me:guess@");
    let guess = [
        "-c",
        "credential.helper=",
        "push",
        &url,
        "HEAD:refs/heads/stolen",
    ];
    let ran = private.world.git(guess).at("ours").fails();
    insta::assert_snapshot!(ran.shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: there is a copy here, but this login has never read it from upstream
    ");
    assert!(!upstream_has(&private, "stolen"));
}

/// The command lines and environments of living processes that contain one of these texts.
fn processes_with(secrets: &[String]) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
    let files =
        processes.flat_map(|process| ["cmdline", "environ"].map(|file| process.path().join(file)));
    // Most are not ours, and some end while we look.
    let texts = files
        .filter_map(|file| Some(String::from_utf8_lossy(&fs::read(file).ok()?).replace('\0', " ")));
    texts
        .filter(|text| secrets.iter().any(|secret| text.contains(secret)))
        .collect()
}

/// Pushes while upstream holds its answer, looks at every process, and afterwards at every file that we write.
#[track_caller]
fn shown_to_nobody(private: &Stage, token: &str) {
    let secrets = [
        token.to_owned(),
        BASE64_STANDARD.encode(format!("me:{token}")),
    ];
    let gits = |text: &String| {
        // What git itself was given in an address, it shows itself.
        text.contains("push origin") || text.contains("remote-mirror origin")
    };
    let mut moments = Vec::new();
    for (on, branch) in [(On::PushInfoRefs, "first"), (On::Push, "second")] {
        commit(&private.world, "ours");
        let paused = private.gitlab.pause(on);
        let refspec = format!("HEAD:refs/heads/{branch}");
        let push = private
            .world
            .git(["push", "origin", &refspec])
            .at("ours")
            .start();
        paused.reached();
        let shown = processes_with(&secrets);
        moments.extend(shown.into_iter().filter(|text| !gits(text)));
        paused.release();
        let ran = push.wait();
        assert!(ran.status.success(), "{ran}");
        let output = format!("{}{}", ran.stdout, ran.stderr);
        // git says the address as it was told; it knows no login in one that begins with `mirror::`.
        let lines = output.lines().filter(|line| !line.starts_with("To "));
        let leaked = |line: &str| secrets.iter().any(|secret| line.contains(secret));
        assert!(!lines.into_iter().any(leaked), "{ran}");
    }
    assert_eq!(moments, [""; 0], "no process shows the token");
    private.world.mirrord(["stop"]).ok();
    let found = private
        .world
        .program("grep", ["-rlF", token, "m", "run", "tmp"])
        .run();
    assert_eq!(found.stdout, "", "nothing that we write has the token");
    let found = private
        .world
        .program("grep", ["-rlF", &secrets[1], "m", "run", "tmp", "home"])
        .run();
    assert_eq!(found.stdout, "", "nor in another form");
}

#[test]
fn a_token_from_a_helper_is_shown_to_nobody() {
    let token = unique("helper");
    let private = public(&token).with_helper(&token);
    shown_to_nobody(&private, &token);
    let token = unique("private");
    let private = Stage::not_yet_private();
    private.gitlab.require_login("group/project", "me", &token);
    let private = private.with_helper(&token);
    private.clone(&private.url, "ours").ok();
    shown_to_nobody(&private, &token);
}

#[test]
fn a_token_in_the_address_works_and_is_shown_to_nobody() {
    let token = unique("address");
    let private = Stage::not_yet_private();
    private.gitlab.require_login("group/project", "me", &token);
    let url = private
        .url
        .replace("http://", &format!("http://me:{token}@"));
    private.world.clone_mirror(&url, "ours").ok();
    shown_to_nobody(&private, &token);
    let listed = private.world.git(["ls-remote", &url]).ok();
    insta::assert_snapshot!(listed.shown(), @r"
    [oid]	HEAD
    [oid]	refs/heads/first
    [oid]	refs/heads/main
    [oid]	refs/heads/second
    ");
    // The login in the address is for that push alone.
    let ran = private
        .world
        .git([
            "push",
            &format!("mirror::{}", private.url),
            "HEAD:refs/heads/third",
        ])
        .at("ours");
    ran.fails();
}

/// Other worlds have tokens, too.
fn unique(what: &str) -> String {
    format!("t0psecret-{what}-{}", std::process::id())
}

/// A credential helper that knows `me` and writes down all that it is told.
fn listening(private: &Stage) -> impl Fn() -> String {
    let received = private.world.path("received");
    let file = received.display().to_string();
    let helper = format!(
        "!f() {{ echo $1 >>{file}; tee -a {file}; \
         test $1 != get || printf 'username=me\\npassword=right\\n'; }}; f"
    );
    private.world.config("credential.helper", &helper);
    move || {
        let text = fs::read_to_string(&received).unwrap_or_default();
        let _ = fs::remove_file(&received);
        text
    }
}

#[test]
fn a_credential_helper_hears_of_a_push_what_git_tells_it() {
    for path in ["false", "true"] {
        let private = public("right");
        private.world.config("credential.useHttpPath", path);
        let received = listening(&private);
        push(&private, "ours").ok();
        let ours = received();
        push(&private, "plain").ok();
        assert_eq!(ours, received());
        assert!(ours.contains("host=127.0.0.1"), "{ours}");
    }
}

#[test]
fn a_login_is_found_for_a_push_wherever_git_finds_it() {
    let asking = "printf '#!/bin/sh\\ncase $1 in User*) echo me;; *) echo right;; esac\\n' >ask; chmod 755 ask";
    let private = public("right");
    private.world.program("sh", ["-c", asking]).ok();
    let ask = private.world.path("ask");
    push(&private, "ours").env("GIT_ASKPASS", &ask).ok();
    let setting = format!("core.askPass={}", ask.display());
    let push_as = |args: &[&str]| {
        commit(&private.world, "ours");
        let args = [args, &["push", "origin", "HEAD:refs/heads/x"]].concat();
        private.world.git(args).at("ours")
    };
    push_as(&["-c", &setting]).ok();
    push_as(&[]).fails();
    let user = private.gitlab.host();
    private
        .world
        .config(&format!("credential.http://{user}.username"), "me");
    push_as(&["-c", &setting]).ok();
    let netrc = "machine 127.0.0.1\nlogin me\npassword right\n";
    fs::write(private.world.home().join(".netrc"), netrc).expect("the home is ours");
    push_as(&[]).ok();
}

#[test]
fn a_big_push_is_not_stopped_by_the_question_for_a_login() {
    let private = public("right").with_helper("right");
    let big = "head -c 5000000 /dev/urandom >big && git add big && git commit -qm big";
    private.world.program("sh", ["-c", big]).at("ours").ok();
    push(&private, "ours").ok();
    assert_eq!(private.project.tip("ours"), private.tip("ours", "HEAD"));
}

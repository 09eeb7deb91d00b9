//! A push signs in with what the mirror has, through an id that is good once and for that push.

use std::fs;

use tests::{Fault, On};

use crate::stage::Stage;

/// A private project with a token of its mirror's own, cloned.
fn with_token() -> Stage {
    let private = Stage::private().with_helper("another");
    private.add_with_password("project", "right").ok();
    private.clone_and_commit();
    private
}

fn push(private: &Stage, branch: &str) -> tests::Run {
    let refspec = format!("HEAD:refs/heads/{branch}");
    private.world.git(["push", "origin", &refspec]).at("ours")
}

#[test]
fn a_push_signs_in_with_the_mirrors_own_token_at_once_and_tells_nobody() {
    let private = with_token();
    let netrc = "machine 127.0.0.1\nlogin somebody\npassword else\n";
    fs::write(private.world.home().join(".netrc"), netrc).expect("the home is ours");
    private.logins();
    push(&private, "one").ok();
    let logins = private.logins();
    assert!(
        !logins.is_empty() && logins.iter().all(|login| login == "me:right"),
        "{logins:?}"
    );
    assert_eq!(private.helper_calls("helper"), [""; 0]);
}

#[test]
fn a_push_whose_token_is_refused_counts_as_a_try_and_asks_nobody() {
    let private = Stage::not_yet_private();
    private
        .gitlab
        .require_login_to_push("group/project", "me", "right");
    let private = private.with_helper("right");
    private.add_with_password("project", "right").ok();
    private.clone_and_commit();
    // Between the fetch and the push.
    let paused = private.gitlab.pause(On::PushInfoRefs);
    let pushing = push(&private, "one").start();
    paused.reached();
    private.gitlab.revoke("me");
    private.logins();
    paused.release();
    let ran = pushing.wait();
    assert!(!ran.status.success(), "{ran}");
    insta::assert_snapshot!(ran.shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    To mirror::project
     ! [remote rejected] HEAD -> one (Authentication failed for 'http://gitlab.example/group/project.git')
    error: failed to push some refs to 'mirror::project'
    ");
    for _ in 0..3 {
        private.look_at("project").run();
    }
    assert!(
        private.tries("right") <= 1,
        "the push was the first try, and there is one more"
    );
    assert_eq!(private.helper_calls("helper"), [""; 0]);
}

#[test]
fn a_token_that_may_read_and_is_refused_in_pushes_is_tried_there_twice_in_all() {
    let private = with_token();
    private.logins();
    let refused = Fault::status(401).header("WWW-Authenticate", "Basic realm=\"GitLab\"");
    private.gitlab.fault(refused.on(On::PushInfoRefs));
    let mut all = String::new();
    for branch in ["one", "two", "three", "four"] {
        all.push_str(&push(&private, branch).fails().shown());
        private.fetch("ours").ok();
    }
    insta::assert_snapshot!(all, @"
    To mirror::project
     ! [remote rejected] HEAD -> one (Authentication failed for 'http://gitlab.example/group/project.git')
    error: failed to push some refs to 'mirror::project'
    To mirror::project
     ! [remote rejected] HEAD -> two (Authentication failed for 'http://gitlab.example/group/project.git')
    error: failed to push some refs to 'mirror::project'
    To mirror::project
     ! [remote rejected] HEAD -> three (Authentication failed for 'http://gitlab.example/group/project.git': this login was refused twice)
    error: failed to push some refs to 'mirror::project'
    To mirror::project
     ! [remote rejected] HEAD -> four (Authentication failed for 'http://gitlab.example/group/project.git': this login was refused twice)
    error: failed to push some refs to 'mirror::project'
    ");
    private.world.mirrord(["test", "project"]).run();
    private.world.kill_daemon();
    let ran = push(&private, "five").fails();
    insta::assert_snapshot!(ran.shown(), @r"
    To mirror::project
     ! [remote rejected] HEAD -> five (Authentication failed for 'http://gitlab.example/group/project.git': this login was refused twice)
    error: failed to push some refs to 'mirror::project'
    ");
    let tries = |requests: Vec<tests::Request>| {
        let in_push = |request: &&tests::Request| request.query.contains("git-receive-pack");
        let pushes = requests.iter().filter(in_push);
        pushes.filter(|one| one.authorization.is_some()).count()
    };
    assert_eq!(
        tries(private.gitlab.requests()),
        2,
        "GitLab bans who guesses"
    );
    private.gitlab.clear_faults();
    private.set_password("project", "right").ok();
    push(&private, "six").ok();
    private.gitlab.fault(refused_once());
    push(&private, "seven").fails();
    push(&private, "eight").ok();
    private.gitlab.fault(refused_once());
    push(&private, "nine").fails();
    push(&private, "ten").ok();
}

/// Refuses the login of the next push.
fn refused_once() -> Fault {
    let refused = Fault::status(401).header("WWW-Authenticate", "Basic realm=\"GitLab\"");
    refused.on(On::Push).times(1)
}

/// The answer of the daemon's own credential helper to these ids.
fn login(private: &Stage, id: &str, push: &str) -> tests::Ran {
    let (scheme, host) = ("protocol=http", format!("host={}", private.gitlab.host()));
    let helper = private.world.helper(["login", "get"]);
    let helper = helper.env("MIRROR_LOGIN", id).env("MIRROR_PUSH", push);
    helper.stdin(format!("{scheme}\n{host}\n")).run()
}

/// A variable in the environment of a process of this world whose command line has these words.
fn variable(private: &Stage, text: &str, name: &str) -> String {
    let world = private.world.root().to_string_lossy().into_owned();
    let prefix = format!("{name}=");
    let processes = fs::read_dir("/proc").expect("this is Linux").flatten();
    let mut found = processes.filter_map(|process| {
        let line = fs::read_to_string(process.path().join("cmdline")).ok()?;
        let environment = fs::read_to_string(process.path().join("environ")).ok()?;
        let is_it = line.replace('\0', " ").contains(text) && environment.contains(&world);
        let mut variables = environment.split('\0').filter(|_| is_it);
        let value = variables.find_map(|variable| variable.strip_prefix(&prefix))?;
        Some(value.to_owned())
    });
    found
        .next()
        .unwrap_or_else(|| panic!("there is {name} in '{text}'"))
}

#[test]
fn an_id_is_good_once_and_for_its_own_push_alone() {
    let private = with_token();
    push(&private, "zero").ok();
    private.gitlab.fault(Fault::leaves_push_to_git());
    let paused = private.gitlab.pause(On::PushInfoRefs);
    let pushing = push(&private, "one").start();
    paused.reached();
    let sender = "push --porcelain";
    let id = variable(&private, sender, "MIRROR_LOGIN");
    let mine = variable(&private, sender, "MIRROR_PUSH");
    let nothing = |id: &str, push: &str, why: &str| {
        let ran = login(&private, id, push);
        assert!(
            !ran.status.success() && ran.stdout.is_empty(),
            "{why}: {ran}"
        );
    };
    nothing(&id, &mine, "it has been used");
    nothing("0123456789abcdef0123456789abcdef", &mine, "a guess");
    paused.release();
    assert!(pushing.wait().status.success());
    nothing(&id, &mine, "the push is over");

    // The client's own hook runs when the push is open, and before anybody has asked for its login.
    let fifo = private.world.path("fifo").display().to_string();
    private.world.program("mkfifo", [&fifo]).ok();
    let hook = format!("#!/bin/sh\necho waiting >&2\ncat '{fifo}' >/dev/null\n");
    private.world.script("ours/.git/hooks/pre-push", &hook);
    for stranger in [true, false] {
        private.gitlab.fault(Fault::leaves_push_to_git());
        let pushing = push(&private, &format!("branch-{stranger}")).start();
        pushing.printed("waiting");
        let server = "receive-pack";
        let id = variable(&private, server, "MIRROR_LOGIN");
        let theirs = variable(&private, server, "MIRROR_PUSH");
        if stranger {
            nothing(&id, &mine, "it is for another push");
            nothing(&id, &theirs, "and now for nobody");
        }
        fs::write(&fifo, "go on").expect("somebody reads it");
        let ran = pushing.wait();
        assert_eq!(ran.status.success(), !stranger, "{ran}");
    }
}

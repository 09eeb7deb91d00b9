//! A credential that upstream refuses: tried twice and no more, said, and forgotten when there is another.

use std::fmt::Write;

use crate::stage::Stage;

#[test]
fn a_refused_token_is_tried_twice_across_all_mirrors_that_have_it() {
    let private = Stage::private();
    private
        .gitlab
        .project("group/other")
        .commit("main", "b", "b");
    private.gitlab.require_login("group/other", "me", "right");
    private.add_with_password("one", "right").ok();
    let other = private.gitlab.url("group/other");
    let args = ["add", "two", &other, "--username", "me", "--password-stdin"];
    private.world.mirrord(args).stdin("right\n").ok();
    private.gitlab.revoke("me");
    private.logins();
    let mut refused = Vec::new();
    let looks: Vec<_> = (0..4)
        .flat_map(|_| ["one", "two"].map(|name| private.look_at(name).start()))
        .collect();
    for look in looks {
        let ran = look.wait();
        assert_eq!(ran.status.code(), Some(128), "{ran}");
        refused.push(ran.stderr);
    }
    let says = |each: &String| each.contains("Authentication failed");
    assert!(refused.iter().all(says), "{refused:?}");
    private.world.mirrord(["stop"]).ok();
    let mut all = String::new();
    for name in ["one", "two"] {
        private.world.mirrord(["sync", name]).code(1);
        let ran = private.look_at(name).code(128);
        writeln!(all, "{}", ran.shown()).expect("into a string");
    }
    private.world.kill_daemon();
    private.look_at("one").code(128);
    assert!(private.tries("right") <= 2, "GitLab bans who guesses");
    insta::assert_snapshot!(all, @r"
    error: Authentication failed for 'http://gitlab.example/group/project.git': this login was refused twice
    hint: 'mirrord set one --username me' gives the mirror another password or token; GitLab makes tokens under Preferences, Access tokens (scopes read_repository, write_repository)

    error: Authentication failed for 'http://gitlab.example/group/other.git': this login was refused twice
    hint: 'mirrord set two --username me' gives the mirror another password or token; GitLab makes tokens under Preferences, Access tokens (scopes read_repository, write_repository)
    ");
    insta::assert_snapshot!(private.needs_you().join("\n"), @r"
    one  needs you: Authentication failed for 'http://gitlab.example/group/project.git': this login was refused twice
    two  needs you: Authentication failed for 'http://gitlab.example/group/other.git': this login was refused twice
    ");
    let status = private.world.mirrord(["status", "--json"]).ok();
    assert!(status.stdout.contains("\"needs_you\": ["), "{status}");
}

#[test]
fn a_new_token_is_tried_at_once_and_so_is_the_same_when_somebody_says_that_it_is_right() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    private.gitlab.revoke("me");
    for _ in 0..3 {
        private.look_at("project").code(128);
    }
    private.gitlab.require_login("group/project", "me", "new");
    private.set_password("project", "new").ok();
    private.look_at("project").ok();
    assert_eq!(private.needs_you(), [""; 0]);
    private.gitlab.revoke("me");
    for _ in 0..3 {
        private.look_at("project").code(128);
    }
    private.gitlab.require_login("group/project", "me", "new");
    private.look_at("project").code(128);
    private.set_password("project", "new").ok();
    private.look_at("project").ok();
}

#[test]
fn a_login_of_the_users_git_is_tried_twice_wherever_it_comes_from() {
    let private = Stage::private().with_helper("wrong");
    for dir in ["a", "b", "c", "d"] {
        private.clone(&private.url, dir).fails();
    }
    let typed = private.url.replace("http://", "mirror::http://me:wrong@");
    private.world.git(["ls-remote", &typed]).fails();
    private.add_with_password("project", "wrong").fails();
    assert_eq!(private.tries("wrong"), 2, "GitLab bans who guesses");
    let ran = private.clone(&private.url, "e").fails();
    insta::assert_snapshot!(ran.shown(), @r"
    error: Authentication failed for 'http://gitlab.example/group/project.git': this login was refused twice
    hint: another one is tried at once, this one in ten minutes: too many failures would shut you out
    ");
    let private = private.with_helper("right");
    private.clone(&private.url, "f").ok();
}

//! A credential that upstream refuses: tried twice and no more, said, and forgotten when there is another.

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
    let looks: Vec<_> = (0..4)
        .flat_map(|_| ["one", "two"].map(|name| private.look_at(name).start()))
        .collect();
    for look in looks {
        let ran = look.wait();
        assert_eq!(ran.status.code(), Some(128), "{ran}");
        assert!(ran.stderr.contains("Authentication failed"), "{ran}");
    }
    private.world.mirrord(["stop"]).ok();
    for name in ["one", "two"] {
        private.world.mirrord(["sync", name]).code(1);
        let ran = private.look_at(name).code(128);
        assert!(
            ran.stderr.contains("this login was refused twice")
                && ran
                    .stderr
                    .contains(&format!("hint: 'mirrord set {name} --username me'")),
            "{ran}"
        );
    }
    private.world.kill_daemon();
    private.look_at("one").code(128);
    assert!(private.tries("right") <= 2, "GitLab bans who guesses");
    let status = private.world.mirrord(["status"]).ok();
    for name in ["one", "two"] {
        let line = format!("{name}  needs you: Authentication failed for ");
        assert!(status.stdout.contains(&line), "{status}");
    }
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
    let status = private.world.mirrord(["status"]).ok();
    assert!(!status.stdout.contains("needs you"), "{status}");
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
    assert!(
        ran.stderr.contains("this login was refused twice")
            && ran.stderr.contains("another one is tried at once"),
        "{ran}"
    );
    let private = private.with_helper("right");
    private.clone(&private.url, "f").ok();
}

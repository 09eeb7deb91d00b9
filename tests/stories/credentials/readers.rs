//! Who may read the copy: only a login that has read this upstream.

use super::{nothing, stale};
use crate::stage::Stage;

#[test]
fn what_a_login_fetched_of_a_private_project_is_not_served_without_a_login() {
    let stage = Stage::not_yet_private();
    stage.ls_remote().ok();
    // From here on only somebody reads it who brings a login of their own.
    stage.require("right");
    stage.project.commit("main", "a", "private");
    let mine = stage.url.replace("http://", "mirror::http://me:right@");
    let mine = || stage.world.git(["ls-remote", &mine]);
    mine().ok();
    stage.gitlab.stop();
    insta::assert_snapshot!(stage.ls_remote().code(128).shown(), @"
    error: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: there is a copy here, but this login has never read it from upstream
    ");
    mine().ok();
}

#[test]
fn a_project_that_became_private_is_no_longer_served_without_a_login() {
    let private = Stage::not_yet_private();
    private.clone(&private.url, "ours").ok();
    private.require("right");
    for _ in 0..2 {
        insta::allow_duplicates! {
            insta::assert_snapshot!(nothing(private.fetch("ours")).shown(), @"
            error: could not read Username for 'http://gitlab.example': terminal prompts disabled
            hint: store a login with a credential helper; GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one; or give the mirror a login of its own: mirrord set http+gitlab.example/group/project --username USER
            ");
        }
        insta::allow_duplicates! {
            insta::assert_snapshot!(nothing(private.fetch("ours").env("MIRROR_STALE", "serve")).shown(), @"
            error: could not read Username for 'http://gitlab.example': terminal prompts disabled
            hint: there is a copy here, but this login has never read it from upstream
            ");
        }
    }
    private.gitlab.stop();
    insta::assert_snapshot!(nothing(private.fetch("ours")).shown(), @"
    error: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: there is a copy here, but this login has never read it from upstream
    ");
    private.world.kill_daemon();
    insta::assert_snapshot!(nothing(private.fetch("ours")).shown(), @"
    error: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: there is a copy here, but this login has never read it from upstream
    ");
    private.gitlab.start();
    let helper = private.helper("mine");
    private.gives("mine", "right");
    private.ls_remote_with(&helper).ok();
    private.gitlab.stop();
    stale(private.ls_remote_with(&helper));
}

#[test]
fn only_a_login_that_has_read_upstream_gets_the_copy_also_after_a_restart() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").ok();
    private.gives("guess", "guess");
    let (guess, nobody) = (private.helper("guess"), private.helper("nobody"));
    insta::assert_snapshot!(nothing(private.ls_remote_with(&guess)).shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    insta::assert_snapshot!(nothing(private.ls_remote_with(&nobody)).shown(), @"
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: store a login with a credential helper; GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one; or give the mirror a login of its own: mirrord set http+gitlab.example/group/project --username USER
    ");
    private.gitlab.stop();
    for end in ["", "stop", "kill"] {
        match end {
            "stop" => drop(private.world.mirrord(["stop"]).ok()),
            "kill" => private.world.kill_daemon(),
            _ => {}
        }
        for stranger in [&guess, &nobody] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(nothing(private.ls_remote_with(stranger)).shown(), @"
                error: cannot reach 'http://gitlab.example/group/project.git': connection refused
                hint: there is a copy here, but this login has never read it from upstream
                ");
            }
            let stale = private
                .ls_remote_with(stranger)
                .env("MIRROR_STALE", "serve");
            insta::allow_duplicates! {
                insta::assert_snapshot!(nothing(stale).shown(), @"
                error: cannot reach 'http://gitlab.example/group/project.git': connection refused
                hint: there is a copy here, but this login has never read it from upstream
                ");
            }
        }
        stale(private.fetch("ours"));
    }
}

#[test]
fn a_login_that_has_just_read_upstream_is_known_after_an_orderly_stop() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").ok();
    private.world.mirrord(["stop"]).ok();
    private.gitlab.stop();
    stale(private.fetch("ours"));
}

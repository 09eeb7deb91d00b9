//! A password or token that a mirror has of its own, in a file.

use std::{
    fmt::Write,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

use tests::World;

use super::credential;
use crate::stage::Stage;

#[test]
fn a_token_of_the_mirrors_own_is_sent_at_once_and_nobody_else_is_asked() {
    let private = Stage::private().with_helper("another");
    private.add_with_password("project", "right").ok();
    private.logins();
    private
        .world
        .git(["clone", "-q", "mirror::project", "ours"])
        .ok();
    for end in ["", "stop", "kill"] {
        match end {
            "stop" => drop(private.world.mirrord(["stop"]).ok()),
            "kill" => private.world.kill_daemon(),
            _ => {}
        }
        private.logins();
        private.fetch("ours").ok();
        let logins = private.logins();
        assert!(
            !logins.is_empty() && logins.iter().all(|login| login == "me:right"),
            "not even the first request goes without: {logins:?}"
        );
    }
    assert_eq!(
        private.helper_calls("helper"),
        [""; 0],
        "the user's helper is not asked"
    );
}

#[test]
fn a_clone_of_the_url_signs_in_as_git_would_and_not_with_a_mirrors_token() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    let by_url = private.clone(&private.url, "ours").fails();
    insta::assert_snapshot!(by_url.shown(), @r"
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: store a login with a credential helper; GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one; or give the mirror a login of its own: mirrord add NAME http://gitlab.example/group/project.git --username USER
    ");
    let other = private.url.replace("http://", "mirror::http://me:wrong@");
    let typed = private.world.git(["ls-remote", &other]).fails();
    insta::assert_snapshot!(typed.shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    private.look_at("project").ok();
}

#[test]
fn a_token_lies_in_a_file_for_its_owner_alone_and_nowhere_else() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    private.look_at("project").ok();
    let secrets = private.secrets();
    let [secret] = &secrets[..] else {
        panic!("there is one secret: {secrets:?}");
    };
    let found = fs::symlink_metadata(secret).expect("it is there");
    assert!(
        found.is_file() && found.mode() & 0o777 == 0o600,
        "{found:?}"
    );
    let dir = fs::metadata(secret.parent().expect("a folder")).expect("it is there");
    assert_eq!(dir.mode() & 0o777, 0o700);
    private.world.mirrord(["stop"]).ok();
    let holders = private
        .world
        .program("grep", ["-rlF", "right", "m", "run", "home", "tmp"]);
    let holders = holders.run();
    assert_eq!(holders.stdout.lines().count(), 1, "{holders}");
    insta::assert_snapshot!(credential(&private.world), @r"
    auth: password
    username: me
    secret: in a file
    ");
}

#[test]
fn a_secret_that_others_could_read_or_change_is_refused_with_what_to_do() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    private
        .world
        .git(["clone", "-q", "mirror::project", "ours"])
        .ok();
    let secret = private.secrets().remove(0);
    let aside = private.world.path("aside");
    let mut all = String::new();
    let mut refused = |what: &str| {
        private.world.mirrord(["stop"]).ok();
        private.logins();
        let ran = private.fetch("ours").code(128);
        writeln!(all, "{what}:\n{}", ran.shown()).expect("into a string");
        assert_eq!(private.logins(), [""; 0], "{what}: upstream is not asked");
    };
    let mode = |mode| fs::set_permissions(&secret, fs::Permissions::from_mode(mode));
    for wrong in [0o640, 0o604, 0o620, 0o660] {
        mode(wrong).expect("ours");
        refused(&format!("{wrong:o}"));
    }
    mode(0o600).expect("ours");
    fs::rename(&secret, &aside).expect("ours");
    refused("it is gone");
    symlink(&aside, &secret).expect("ours");
    refused("a link");
    insta::assert_snapshot!(all, @r"
    640:
    error: cannot read the secret in '/world/m/secrets/[oid]': others may read or change it
    hint: chmod 600 '/world/m/secrets/[oid]'

    604:
    error: cannot read the secret in '/world/m/secrets/[oid]': others may read or change it
    hint: chmod 600 '/world/m/secrets/[oid]'

    620:
    error: cannot read the secret in '/world/m/secrets/[oid]': others may read or change it
    hint: chmod 600 '/world/m/secrets/[oid]'

    660:
    error: cannot read the secret in '/world/m/secrets/[oid]': others may read or change it
    hint: chmod 600 '/world/m/secrets/[oid]'

    it is gone:
    error: the file no longer has this mirror's secret
    hint: 'mirrord set project --username me' stores it anew

    a link:
    error: cannot read the secret in '/world/m/secrets/[oid]': it is a symbolic link
    hint: 'mirrord set project --username me' stores it anew
    ");
    fs::remove_file(&secret).expect("ours");
    fs::rename(&aside, &secret).expect("ours");
    private.fetch("ours").ok();
}

#[test]
fn a_secret_goes_when_it_is_replaced_forgotten_or_its_mirror_is_removed() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    let first = private.secrets();
    private.set_password("project", "right").ok();
    let second = private.secrets();
    assert!(second.len() == 1 && first != second, "{first:?} {second:?}");
    private.look_at("project").ok();
    private
        .world
        .mirrord(["set", "project", "--forget-credential"])
        .ok();
    assert!(private.secrets().is_empty());
    private.look_at("project").fails();
    private.set_password("project", "right").ok();
    private.look_at("project").ok();
    private.world.mirrord(["remove", "project"]).ok();
    assert!(private.secrets().is_empty());
}

#[test]
fn a_secret_that_cannot_be_removed_is_reported() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    let mut all = String::new();
    for args in [
        vec!["set", "project", "--forget-credential"],
        vec!["remove", "project"],
    ] {
        private.set_password("project", "right").ok();
        let secret = private.secrets().remove(0);
        fs::remove_file(&secret).expect("ours");
        fs::create_dir_all(secret.join("in the way")).expect("ours");
        let ran = private.world.mirrord(args).ok();
        writeln!(all, "{}", ran.shown()).expect("into a string");
        fs::remove_dir_all(&secret).expect("ours");
    }
    insta::assert_snapshot!(all, @r"
    project: changed
    --- stderr
    warning: a secret that nothing uses any more is still in a file: cannot remove '/world/m/secrets/[oid]': Is a directory
    warning: a secret that nothing uses any more is still in a file: cannot remove '/world/m/secrets/[oid]': Is a directory

    'project' is removed
    --- stderr
    warning: a secret that nothing uses any more is still in a file: cannot remove '/world/m/secrets/[oid]': Is a directory
    ");
}

#[test]
fn an_add_that_fails_leaves_no_secret_and_no_mirror() {
    let private = Stage::private();
    let ran = private.add_with_password("project", "wrong").code(1);
    insta::assert_snapshot!(ran.shown(), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED signed in  [time]  upstream refuses the login as 'me'
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    assert!(private.secrets().is_empty() && private.world.mirrors().is_empty());
    assert_eq!(private.tries("wrong"), 1, "GitLab bans who guesses");
}

#[test]
fn secrets_that_a_killed_daemon_left_behind_are_removed_and_those_of_mirrors_stay() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    let named = private.secrets();
    private.world.kill_daemon();
    let orphan = named[0].with_file_name("0123456789abcdef0123456789abcdef");
    fs::write(&orphan, "orphan").expect("ours");
    fs::set_permissions(&orphan, fs::Permissions::from_mode(0o600)).expect("ours");
    private.look_at("project").ok();
    assert_eq!(private.secrets(), named);
}

#[test]
fn a_token_is_not_told_to_another_host_when_the_address_changes() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    let elsewhere = private.world.gitlab();
    elsewhere.project("group/project").commit("main", "a", "a");
    let url = elsewhere.url("group/project");
    let ran = private
        .world
        .mirrord(["set", "project", "--url", &url])
        .code(2);
    insta::assert_snapshot!(ran.shown(), @r"
    error: what 'project' signs in with is for 'http://gitlab.example', and not for 'http://gitlab.example'
    hint: say with it what signs in there: --username NAME, --anonymous or --forget-credential
    ");
    assert_eq!(elsewhere.requests().len(), 0);
    let args = ["set", "project", "--url", &url, "--anonymous"];
    private.world.mirrord(args).ok();
    private.look_at("project").ok();
    let output = elsewhere.requests();
    assert!(
        !output.is_empty() && output.iter().all(|request| request.authorization.is_none()),
        "{output:?}"
    );
    assert!(private.secrets().is_empty());
}

#[test]
fn a_credential_that_makes_no_sense_for_an_address_is_refused_before_anything_happens() {
    let world = World::new();
    let mut all = String::new();
    let mut refused = |url: &str, options: &[&str], stdin: &str, code: i32| {
        let args = [&["add", "p", url], options].concat();
        let ran = world.mirrord(args).stdin(stdin).code(code);
        writeln!(all, "{url} {}\n{}", options.join(" "), ran.shown()).expect("into a string");
    };
    refused("https://h/p", &["--ssh-key", "/nowhere"], "", 2);
    let name = ["--username", "me"];
    let password = ["--username", "me", "--password-stdin"];
    refused("git@h:p", &password, "x\n", 2);
    let colon = ["--username", "a:b", "--password-stdin"];
    refused("https://h/p", &colon, "x\n", 2);
    refused("https://h/p", &["--anonymous", "--username", "me"], "", 2);
    refused("https://h/p", &["--password-stdin"], "x\n", 2);
    for empty in ["", "\n", "two\nlines\n"] {
        refused("https://h/p", &password, empty, 2);
    }
    // Nobody can be asked here.
    refused("https://h/p", &name, "", 1);
    insta::assert_snapshot!(all, @r"
    https://h/p --ssh-key /nowhere
    error: cannot use the key '/nowhere': No such file or directory

    git@h:p --username me --password-stdin
    error: --username is not for 'git@h:p'
    hint: who signs in over ssh stands in the address; --ssh-key names the key to sign in with

    https://h/p --username a:b --password-stdin
    error: 'a:b' is not a user name
    hint: it has no colon, and no control characters

    https://h/p --anonymous --username me
    error: the argument '--anonymous' cannot be used with '--username <NAME>'

    Usage: mirrord add --anonymous <NAME> <URL>

    For more information, try '--help'.

    https://h/p --password-stdin
    error: the following required arguments were not provided:
      --username <NAME>

    Usage: mirrord add --username <NAME> --password-stdin <NAME> <URL>

    For more information, try '--help'.

    https://h/p --username me --password-stdin
    error: the password on stdin is not one line

    https://h/p --username me --password-stdin
    error: the password on stdin is not one line

    https://h/p --username me --password-stdin
    error: the password on stdin is not one line

    https://h/p --username me
    error: could not read the password for 'me': nobody can be asked
    hint: give it on stdin: --password-stdin
    ");
    assert_eq!(world.mirrors(), [""; 0]);
}

#[test]
fn a_password_is_asked_for_by_the_persons_askpass_program() {
    let private = Stage::private();
    private
        .world
        .script("ask", "#!/bin/sh\necho \"$1\" >>\"$0.heard\"\necho right\n");
    let ask = private.world.path("ask");
    let args = ["add", "project", &private.url, "--username", "me"];
    private.world.mirrord(args).env("GIT_ASKPASS", &ask).ok();
    let questions = fs::read_to_string(private.world.path("ask.heard")).expect("it was run");
    let at = format!("http://{}", private.gitlab.host());
    assert_eq!(questions, format!("Password for 'me' at '{at}': \n"));
    private.look_at("project").ok();
}

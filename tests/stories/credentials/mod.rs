//! Credentials as plain git would find them, for those whose they are and for nobody else.

mod readers;

use std::fs;

use tests::{On, Ran, Run};

use crate::stage::Stage;

impl Stage {
    /// A private project that `me` may read with the token `right`.
    pub(crate) fn private() -> Self {
        let private = Self::not_yet_private();
        private.require("right");
        private
    }

    /// A project that is still public.
    pub(crate) fn not_yet_private() -> Self {
        let stage = Self::new(|project| drop(project.commit("main", "a", "a")));
        // Where a story types a login into the URL: for http, git has no form of one that it hides.
        stage.world.config("mirror.allowLoginInUrl", "true");
        stage
    }

    fn require(&self, token: &str) {
        self.gitlab.require_login("group/project", "me", token);
    }

    /// Returns what to configure for a credential helper of this name, which gives nothing yet.
    pub(crate) fn helper(&self, name: &str) -> String {
        let file = self.world.path(name).display().to_string();
        format!(
            "!f() {{ echo $1 $(sed -n s/^password=//p) >>{file}.told; \
             test $1 != get || ! test -f {file} || cat {file}; }}; f"
        )
    }

    /// Makes a helper give this login from now on.
    fn gives(&self, name: &str, token: &str) {
        let login = format!("username=me\npassword={token}\n");
        fs::write(self.world.path(name), login).expect("the world is ours");
    }

    /// Configures a helper for everything that this person does.
    pub(crate) fn with_helper(self, token: &str) -> Self {
        self.gives("helper", token);
        let helper = self.helper("helper");
        self.world.config("credential.helper", &helper);
        self
    }

    /// Returns what a helper was told since the last look.
    pub(crate) fn helper_calls(&self, name: &str) -> Vec<String> {
        let file = self.world.path(format!("{name}.told"));
        let calls = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(&file);
        calls.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Clones the mirror that is called `project` into `ours`, and commits something there that can be pushed.
    pub(crate) fn clone_and_commit(&self) {
        self.clone("project", "ours").ok();
        self.ours(&["commit", "-q", "--allow-empty", "-m", "c"])
            .ok();
    }

    /// Prepares a look at what is there, from a place with another helper.
    fn ls_remote_with(&self, helper: &str) -> Run {
        let (helper, address) = (
            format!("credential.helper={helper}"),
            format!("mirror::{}", self.url),
        );
        let none = "credential.helper=";
        self.world
            .git(["-c", none, "-c", &helper, "ls-remote", &address])
    }

    /// Returns the logins of all requests since the last look, in order.
    pub(crate) fn logins(&self) -> Vec<String> {
        let requests = self.gitlab.requests();
        self.gitlab.forget_requests();
        let login = |request: &tests::Request| request.authorization.clone();
        requests
            .iter()
            .map(|request| login(request).unwrap_or_default())
            .collect()
    }
}

/// Asserts that somebody got nothing and was told why.
#[track_caller]
pub(crate) fn nothing(run: Run) -> Ran {
    let ran = run.fails();
    assert_eq!(ran.stdout, "", "no ref is shown: {ran}");
    let errors: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "one reason: {ran}");
    ran
}

/// Asserts that somebody got the copy, and was told that it is one.
#[track_caller]
fn stale(run: Run) {
    let ran = run.ok();
    insta::allow_duplicates! {
        insta::assert_snapshot!(tests::shown(&ran.stderr), @"
        warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
        hint: serving the copy synced [time] ago
        ");
    }
}

#[test]
fn a_private_project_is_read_with_what_the_credential_helper_gives() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").ok();
    assert_eq!(private.helper_calls("helper"), ["get", "store right"]);
    assert!(private.world.path("ours/a").exists());
    let logins = private.logins();
    let (anonymous, with_login) = logins.split_at(1);
    assert_eq!(anonymous, [""], "only the first request goes without");
    assert!(
        with_login.iter().all(|login| login == "me:right"),
        "{logins:?}"
    );
}

#[test]
fn a_known_login_is_sent_at_once_and_nobody_is_asked_again() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").ok();
    private.helper_calls("helper");
    private.logins();
    for _ in 0..3 {
        private.fetch("ours").ok();
        assert_eq!(private.logins(), ["me:right"], "one request");
    }
    assert_eq!(private.helper_calls("helper"), [""; 0], "no question");
}

#[test]
fn after_a_restart_upstream_is_asked_before_the_person_is_as_by_git() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").ok();
    private.world.mirrord(["stop"]).ok();
    private.logins();
    private.fetch("ours").ok();
    assert_eq!(private.logins(), ["", "me:right", "me:right"]);
}

#[test]
fn a_login_in_netrc_is_found_as_by_git() {
    let private = Stage::private();
    let netrc = private.world.home().join(".netrc");
    fs::write(&netrc, "machine 127.0.0.1\nlogin me\npassword right\n").expect("the home is ours");
    private.clone(&private.url, "ours").ok();
    private.fetch("ours").ok();
}

#[test]
fn a_wrong_password_is_refused_as_git_does_and_erased() {
    let private = Stage::private().with_helper("wrong");
    let ran = nothing(private.clone(&private.url, "ours"));
    insta::assert_snapshot!(ran.shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    assert_eq!(private.helper_calls("helper"), ["get", "erase wrong"]);
    let logins = private.logins();
    let tried = logins.iter().filter(|login| *login == "me:wrong").count();
    assert!(
        (1..=2).contains(&tried),
        "GitLab bans who guesses: {logins:?}"
    );
    assert_eq!(private.world.mirrors(), [""; 0]);
}

#[test]
fn without_a_login_it_fails_as_git_does_that_may_not_ask() {
    let private = Stage::private();
    let plain = private
        .world
        .git(["clone", "-q", &private.url, "plain"])
        .fails();
    let why = plain.stderr.trim().replace("fatal: ", "error: ");
    let ran = nothing(private.clone(&private.url, "ours"));
    assert_eq!(ran.stderr.lines().next(), Some(&*why));
    insta::assert_snapshot!(ran.shown(), @"
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: store a login with a credential helper; GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one; or give the mirror a login of its own: mirrord add NAME http://gitlab.example/group/project.git --username USER
    ");
}

#[test]
fn gits_own_store_is_used_and_kept_clean() {
    let private = Stage::private();
    let store = private.world.path("store");
    let write = |token: &str| {
        let line = format!("http://me:{token}@{}\n", private.gitlab.host());
        fs::write(&store, line).expect("the world is ours");
    };
    let helper = format!("store --file={}", store.display());
    private.world.config("credential.helper", &helper);
    write("wrong");
    insta::assert_snapshot!(nothing(private.clone(&private.url, "ours")).shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    assert_eq!(fs::read_to_string(&store).unwrap_or_default(), "");
    write("right");
    private.clone(&private.url, "ours").ok();
    private.gitlab.revoke("me");
    private.require("new");
    insta::assert_snapshot!(nothing(private.fetch("ours")).shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    let kept = fs::read_to_string(&store).unwrap_or_default();
    assert_eq!(kept, "", "what was refused is not offered again");
    write("new");
    private.fetch("ours").ok();
}

#[test]
fn a_new_token_takes_the_place_of_one_that_was_revoked() {
    let private = Stage::private().with_helper("right");
    private.clone(&private.url, "ours").ok();
    private.gitlab.revoke("me");
    private.require("new");
    private.gives("helper", "new");
    private.helper_calls("helper");
    private.logins();
    private.fetch("ours").ok();
    assert_eq!(private.helper_calls("helper"), ["get", "store new"]);
    let logins = private.logins();
    let old = logins.iter().filter(|login| *login == "me:right").count();
    assert!(old <= 2, "GitLab bans who guesses: {logins:?}");
    private.fetch("ours").ok();
    assert_eq!(private.logins(), ["me:new"], "the old one is forgotten");
}

#[test]
fn an_askpass_program_is_asked_as_by_plain_git() {
    let private = Stage::private();
    let script = "printf '#!/bin/sh\\ncase $1 in User*) echo me;; *) echo right;; esac\\n' >ask; chmod 755 ask";
    private.world.program("sh", ["-c", script]).ok();
    let ask = private.world.path("ask");
    private
        .clone(&private.url, "ours")
        .env("GIT_ASKPASS", ask)
        .ok();
}

#[test]
fn a_user_name_in_the_url_reaches_the_credential_helper() {
    let private = Stage::private();
    let seen = private.world.path("seen");
    let helper = format!(
        "!f() {{ tee -a {} | grep -q username=me && echo password=right; }}; f",
        seen.display()
    );
    private.world.config("credential.helper", &helper);
    let url = private.url.replace("http://", "http://me@");
    private.world.clone_mirror(&url, "ours").ok();
}

#[test]
fn a_good_login_and_a_bad_one_at_once_do_not_share_a_sync() {
    let private = Stage::private();
    private.gives("good", "right");
    private.gives("bad", "wrong");
    let (good, bad) = (private.helper("good"), private.helper("bad"));
    let mut refused = String::new();
    for _ in 0..3 {
        let paused = private.gitlab.pause(On::Any);
        let first = private.ls_remote_with(&good).start();
        paused.reached();
        let others = [
            private.ls_remote_with(&bad).start(),
            private.ls_remote_with(&good).start(),
        ];
        private.world.wait_until_clients(3);
        paused.release();
        let [failed, worked] = others.map(tests::Running::wait);
        for worked in [first.wait(), worked] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(worked.shown(), @"
                [oid]	HEAD
                [oid]	refs/heads/main
                ");
            }
        }
        assert!(!failed.status.success(), "{failed}");
        refused.push_str(&failed.shown());
    }
    insta::assert_snapshot!(refused, @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    error: Authentication failed for 'http://gitlab.example/group/project.git': this login was refused twice
    hint: another one is tried at once, this one in ten minutes: too many failures would shut you out
    ");
    let erased = |name| {
        private
            .helper_calls(name)
            .iter()
            .any(|line| line.starts_with("erase"))
    };
    assert!(!erased("good") && erased("bad"));
}

#[test]
fn two_clients_in_one_directory_ask_the_credential_helper_once() {
    let private = Stage::private().with_helper("right");
    let paused = private.gitlab.pause(On::InfoRefs);
    let first = private.clone(&private.url, "ours").start();
    paused.reached();
    let second = private.clone(&private.url, "theirs").start();
    private.world.wait_until_clients(2);
    paused.release();
    for clone in [first, second] {
        let ran = clone.wait();
        assert!(ran.status.success(), "{ran}");
    }
    assert_eq!(private.helper_calls("helper"), ["get", "store right"]);
}

//! Questions at the terminal: the same as in plain git, and once for all clients that wait.

use std::fs;

use tests::{On, Run};

use crate::{ssh, stage::Stage};

/// The output of a plain clone and of ours at a terminal, without what may differ.
fn alike(private: &Stage, shown: &str) -> String {
    shown
        .replace("mirror::", "")
        .replace("'ours'", "'plain'")
        .replace(&private.gitlab.host(), "HOST")
}

fn clone(private: &Stage, dir: &str) -> Run {
    private
        .clone(&private.url, dir)
        .env_remove("GIT_TERMINAL_PROMPT")
}

#[test]
fn a_clone_of_something_private_asks_as_plain_git_does_and_offers_what_worked() {
    let private = Stage::private().with_helper("none");
    fs::remove_file(private.world.path("helper")).expect("it is ours");
    let mut shown = Vec::new();
    for dir in ["plain", "ours"] {
        private.helper_calls("helper");
        let clone = match dir {
            "plain" => private.world.git(["clone", "-q", &private.url, "plain"]),
            _ => clone(&private, "ours"),
        };
        let mut terminal = clone.on_terminal();
        terminal.shows("Username for 'http://");
        terminal.types("me\n");
        terminal.shows("Password for 'http://me@");
        terminal.types("right\n");
        let (code, all) = terminal.ended();
        assert_eq!(code, 0, "{all}");
        assert_eq!(
            private.helper_calls("helper"),
            ["get", "store right"],
            "{dir}"
        );
        shown.push(alike(&private, &all));
    }
    assert_eq!(shown[0], shown[1]);
    let terminal = private.fetch("ours").on_terminal();
    assert_eq!(
        terminal.ended(),
        (0, String::new()),
        "nobody is asked again"
    );
}

#[test]
fn a_wrong_answer_is_refused_as_by_plain_git_and_can_be_given_anew() {
    let private = Stage::private();
    let mut terminal = clone(&private, "ours").on_terminal();
    terminal.shows("Username for");
    terminal.types("me\n");
    terminal.shows("Password for");
    terminal.types("wr0ng\n");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 128, "{shown}");
    insta::assert_snapshot!(tests::shown(&shown), @"
    Username for 'http://gitlab.example': me
    Password for 'http://me@gitlab.example':
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    assert_eq!(private.tries("wr0ng"), 1);
    let mut terminal = clone(&private, "ours").on_terminal();
    terminal.shows("Username for");
    terminal.types("me\n");
    terminal.shows("Password for");
    terminal.types("right\n");
    assert_eq!(terminal.ended().0, 0);
}

#[test]
fn of_many_clients_that_wait_one_is_asked() {
    let private = Stage::private();
    let paused = private.gitlab.pause(On::InfoRefs);
    let mut first = clone(&private, "ours").on_terminal();
    paused.reached();
    let others = [1, 2, 3].map(|n| clone(&private, &format!("theirs-{n}")).on_terminal());
    private.world.wait_until_clients(4);
    paused.release();
    first.shows("Username for");
    first.types("me\n");
    first.shows("Password for");
    first.types("right\n");
    assert_eq!(first.ended().0, 0);
    for other in others {
        assert_eq!(other.ended(), (0, String::new()));
    }
}

#[test]
fn ctrl_c_at_the_question_leaves_nothing_behind_and_the_next_who_waits_is_asked() {
    let private = Stage::private();
    let paused = private.gitlab.pause(On::InfoRefs);
    let mut first = clone(&private, "ours").on_terminal();
    paused.reached();
    let mut second = clone(&private, "theirs").on_terminal();
    private.world.wait_until_clients(2);
    paused.release();
    first.shows("Username for");
    first.types("me\n");
    first.shows("Password for");
    assert!(!first.echoes());
    first.interrupt();
    second.shows("Username for");
    second.types("me\n");
    second.shows("Password for");
    second.types("right\n");
    let (code, shown) = second.ended();
    assert_eq!(code, 0, "{shown}");
    assert!(first.echoes(), "the terminal is as it was");
    let (code, shown) = first.ended();
    assert_ne!(code, 0, "{shown}");
    assert!(!private.world.path("ours").exists());
    assert_eq!(private.world.mirrors().len(), 1);
}

#[test]
fn a_program_that_asks_goes_before_the_terminal_as_in_plain_git() {
    let private = Stage::private();
    let script = "#!/bin/sh\ncase $1 in User*) echo me;; *) echo right;; esac\n";
    private.world.script("ask", script);
    let ask = private.world.path("ask").display().to_string();
    let setting = format!("core.askPass={ask}");
    let url = format!("mirror::{}", private.url);
    let clone = |dir: &str, before: &[&str]| {
        let args = [before, &["clone", "-q", &url, dir]].concat();
        private.world.git(args)
    };
    let table: [(&str, &[&str], &str); 3] = [
        ("a", &[], "GIT_ASKPASS"),
        ("b", &["-c", &setting], "UNUSED"),
        ("c", &[], "SSH_ASKPASS"),
    ];
    for (dir, args, variable) in table {
        // Nothing that is known from before.
        private.world.mirrord(["stop"]).run();
        let terminal = clone(dir, args).env(variable, &ask).on_terminal();
        assert_eq!(terminal.ended(), (0, String::new()), "{variable}");
    }
}

#[test]
fn without_a_terminal_a_clone_fails_at_once_and_prints_what_to_type() {
    let private = Stage::private();
    let ran = private
        .clone(&private.url, "ours")
        .env_remove("GIT_TERMINAL_PROMPT")
        .code(128);
    insta::assert_snapshot!(ran.shown(), @r"
    error: could not read Username for 'http://gitlab.example': No such device or address
    hint: store a login with a credential helper; GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one; or give the mirror a login of its own: mirrord add NAME http://gitlab.example/group/project.git --username USER
    ");
}

#[test]
fn a_client_without_a_terminal_does_not_wait_for_an_answer_at_another_terminal() {
    let private = Stage::private();
    let mut asked = clone(&private, "ours").on_terminal();
    asked.shows("Username for");
    let ran = private.clone(&private.url, "theirs").code(128);
    insta::assert_snapshot!(ran.shown(), @r"
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: store a login with a credential helper; GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one; or give the mirror a login of its own: mirrord add NAME http://gitlab.example/group/project.git --username USER
    ");
    asked.types("me\n");
    asked.shows("Password for");
    asked.types("right\n");
    assert_eq!(asked.ended().0, 0);
}

/// A stage with a key that has a passphrase, and nobody else's.
fn with_passphrase() -> ssh::Stage {
    let stage = ssh::Stage::small();
    let args = ["-q", "-p", "-P", "", "-N", "open sesame", "-f"];
    let key = stage.world.path("ssh/key");
    stage.world.program("ssh-keygen", args).arg(key).ok();
    stage
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_passphrase_is_asked_for_at_the_terminal_for_a_clone_over_ssh() {
    let stage = with_passphrase();
    let mut terminal = stage.clone("ours").on_terminal();
    terminal.shows("Enter passphrase for key '");
    assert!(!terminal.echoes());
    terminal.types("open sesame\n");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    insta::assert_snapshot!(tests::shown(&shown), @"Enter passphrase for key '/world/ssh/key':");
    let terminal = stage.in_ours(&["fetch", "-q"]).on_terminal();
    assert_eq!(
        terminal.ended(),
        (0, String::new()),
        "the connection is kept"
    );
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_wrong_passphrase_is_asked_for_again_as_ssh_does_and_ctrl_c_ends_it() {
    let stage = with_passphrase();
    let mut terminal = stage.clone("ours").on_terminal();
    for _ in 0..2 {
        terminal.shows("Enter passphrase for key '");
        terminal.types("wrong\n");
    }
    terminal.shows("Enter passphrase for key '");
    terminal.interrupt();
    assert_ne!(terminal.ended().0, 0);
    assert!(!stage.world.path("ours").exists());
    stage.world.wait_until_no_sync();
    assert_eq!(stage.world.mirrors(), [""; 0]);
    let mut terminal = stage.clone("ours").on_terminal();
    for _ in 0..3 {
        terminal.shows("Enter passphrase for key '");
        terminal.types("wrong\n");
    }
    let (code, shown) = terminal.ended();
    assert_eq!(code, 128, "{shown}");
    insta::assert_snapshot!(tests::shown(&shown), @r"
    Enter passphrase for key '/world/ssh/key':
    Enter passphrase for key '/world/ssh/key':
    Enter passphrase for key '/world/ssh/key':
    error: cannot sign in to 'ssh://root@gitlab.example/world/login/project.git': the passphrase of '/world/ssh/key' is wrong
    hint: your agent can have the key: ssh-add '/world/ssh/key'
    ");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn an_unknown_host_key_is_asked_about_and_learnt_when_it_is_accepted() {
    let stage = ssh::Stage::small();
    stage.sshd.forget_host_key();
    let known = || fs::read_to_string(stage.world.path("ssh/known_hosts")).unwrap_or_default();
    let mut terminal = stage.clone("ours").on_terminal();
    terminal.shows("The authenticity of host");
    terminal.shows("fingerprint is SHA256:");
    terminal.shows("(yes/no/[fingerprint])? ");
    assert!(terminal.echoes(), "there is no secret in it");
    terminal.types("no\n");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 128, "{shown}");
    let message = &shown[shown.find("error: ").expect("it failed")..];
    insta::assert_snapshot!(tests::shown(message), @r"
    error: cannot reach 'ssh://root@gitlab.example/world/login/project.git': its host key is not known
    hint: look at it, and accept it if it is right: ssh -p [port] root@127.0.0.1
    ");
    assert_eq!(known(), "");
    let mut terminal = stage.clone("ours").on_terminal();
    terminal.shows("(yes/no/[fingerprint])? ");
    terminal.types("yes\n");
    let (code, shown) = terminal.ended();
    assert_eq!(code, 0, "{shown}");
    assert!(known().contains(&format!("[127.0.0.1]:{}", stage.sshd.port())));
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn of_two_clones_over_ssh_one_is_asked_for_both() {
    let stage = with_passphrase();
    let mut first = stage.clone("ours").on_terminal();
    first.shows("Enter passphrase for key '");
    let second = stage.clone("theirs").on_terminal();
    stage.world.wait_until_clients(2);
    first.types("open sesame\n");
    assert_eq!(first.ended().0, 0);
    let silent = (0, String::new());
    assert_eq!(second.ended(), silent, "the connection is kept");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_client_without_a_terminal_does_not_wait_for_a_passphrase_at_another_terminal() {
    let stage = with_passphrase();
    let mut asked = stage.clone("ours").on_terminal();
    asked.shows("Enter passphrase for key '");
    let ran = stage.clone("theirs").code(128);
    insta::assert_snapshot!(ran.shown(), @r"
    error: cannot sign in to 'ssh://root@gitlab.example/world/login/project.git': somebody is being asked at another terminal
    hint: the same again works when they have answered; a key in an agent needs nobody
    ");
    asked.types("open sesame\n");
    assert_eq!(asked.ended().0, 0);
    stage.clone("theirs").ok();
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_client_with_another_login_waits_until_the_question_at_a_terminal_is_answered() {
    let stage = with_passphrase();
    let (locked, free) = (stage.world.path("ssh/key"), stage.world.path("ssh/free"));
    fs::copy(&locked, &free).expect("ours");
    let args = ["-q", "-p", "-P", "open sesame", "-N", "", "-f"];
    stage.world.program("ssh-keygen", args).arg(&free).ok();
    let mut asked = stage.clone("ours").on_terminal();
    asked.shows("Enter passphrase for key '");
    let ssh = format!("ssh -i '{}'", free.display());
    let other = stage.ls_remote().env("GIT_SSH_COMMAND", ssh).start();
    stage.world.wait_until_clients(2);
    asked.types("open sesame\n");
    assert_eq!(asked.ended().0, 0);
    let ran = other.wait();
    insta::assert_snapshot!(ran.shown(), @"
    [oid]	HEAD
    [oid]	refs/heads/main
    ");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn the_persons_own_askpass_answers_ssh_where_ssh_would_ask_it() {
    let script = "#!/bin/sh\necho \"$1\" >>\"$0.heard\"\necho open sesame\n";
    for (variable, others) in [
        ("SSH_ASKPASS", &[("SSH_ASKPASS_REQUIRE", "force")][..]),
        ("SSH_ASKPASS", &[("DISPLAY", ":99")][..]),
        ("GIT_ASKPASS", &[][..]),
    ] {
        let stage = with_passphrase();
        stage.world.script("ask", script);
        let mut clone = stage.clone("ours").env(variable, stage.world.path("ask"));
        for (name, value) in others {
            clone = clone.env(name, value);
        }
        clone.ok();
        let questions = fs::read_to_string(stage.world.path("ask.heard")).expect("it was run");
        assert!(
            questions.starts_with("Enter passphrase for key '"),
            "{questions}"
        );
    }
}

#[test]
fn a_password_for_a_new_mirror_is_asked_for_at_the_terminal() {
    let private = Stage::private();
    let args = ["add", "project", &private.url, "--username", "me"];
    let mut terminal = private.world.mirrord(args).on_terminal();
    terminal.shows("Password for 'me' at 'http://");
    assert!(!terminal.echoes());
    terminal.types("right\n");
    let (code, shown) = terminal.ended();
    assert!(code == 0 && !shown.contains("right"), "{shown}");
    private.look_at("project").ok();
}

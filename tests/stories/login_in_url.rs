//! A login and the URL behind `mirror::`: what git would write down is refused, and what is taken is written nowhere.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use tests::{Ran, Run, World};

use crate::stage::Stage;

/// The token that upstream takes.
const TOKEN: &str = "canary-of-this-story";

/// A private project over https.
fn private() -> Stage {
    let stage = Stage::with_tls(|project| project.history(3));
    stage.gitlab.require_login("group/project", "me", TOKEN);
    stage
}

impl Stage {
    /// The URL with the login in it.
    fn with_login(&self) -> String {
        let scheme = format!("https://me:{TOKEN}@");
        self.url.replace("https://", &scheme)
    }

    /// The form that git understands.
    fn with_hidden_login(&self) -> String {
        self.with_login().replace("https://", "mirror://")
    }

    /// Asserts that nothing was started, sent or shown.
    #[track_caller]
    fn refuses(&self, run: Run) -> Ran {
        let ran = run.fails();
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!text.contains(TOKEN), "{ran}");
        assert_eq!(self.world.daemon_pid(), None, "no daemon was started");
        assert!(self.gitlab.requests().is_empty(), "upstream was not asked");
        ran
    }
}

#[test]
fn a_password_behind_mirror_is_refused_before_anything_is_started() {
    let stage = private();
    let world = &stage.world;
    let address = format!("mirror::{}", stage.with_login());
    let better = stage.url.replace("https://", "mirror://USER:TOKEN@");
    let ran = stage.refuses(world.git(["clone", "-q", &address, "ours"]));
    insta::assert_snapshot!(ran.shown(), @r"
        error: cannot use the password in the URL 'mirror::https://gitlab.example/group/project.git': git would write it into merge commits, FETCH_HEAD and reflogs
        hint: git hides the login in this form: mirror://USER:TOKEN@gitlab.example/group/project.git
        hint: or use 'mirror::https://gitlab.example/group/project.git', with the login in a credential helper or in ~/.netrc
        hint: or give the mirror the token: mirrord add NAME https://gitlab.example/group/project.git --username USER
        hint: 'git config mirror.allowLoginInUrl true' allows it as it is
    ");
    stage.refuses(world.git(["ls-remote", &address]));

    world.git(["init", "-q", "ours"]).ok();
    stage.ours(&["remote", "add", "origin", &address]).ok();
    stage
        .ours(&["commit", "-q", "--allow-empty", "-m", "c"])
        .ok();
    for command in [
        &["fetch"][..],
        &["pull", "origin", "main"],
        &["push", "origin", "HEAD:new"],
        &["ls-remote"],
    ] {
        let ran = stage.refuses(stage.ours(command));
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @r"
                error: cannot use the password in the URL 'mirror::https://gitlab.example/group/project.git': git would write it into merge commits, FETCH_HEAD and reflogs
                hint: git hides the login in this form: mirror://USER:TOKEN@gitlab.example/group/project.git
                hint: git remote set-url origin mirror://USER:TOKEN@gitlab.example/group/project.git
                hint: or use 'mirror::https://gitlab.example/group/project.git', with the login in a credential helper or in ~/.netrc
                hint: or give the mirror the token: mirrord add NAME https://gitlab.example/group/project.git --username USER
                hint: 'git config mirror.allowLoginInUrl true' allows it as it is
            ");
        }
    }
    let plain = format!("mirror::{}", stage.url);
    stage.ours(&["remote", "set-url", "origin", &plain]).ok();
    let key = "remote.origin.pushurl";
    stage.ours(&["config", key, &address]).ok();
    let ran = stage.refuses(stage.ours(&["push", "origin", "HEAD:new"]));
    insta::assert_snapshot!(ran.shown(), @r"
        error: cannot use the password in the URL 'mirror::https://gitlab.example/group/project.git': git would write it into merge commits, FETCH_HEAD and reflogs
        hint: git hides the login in this form: mirror://USER:TOKEN@gitlab.example/group/project.git
        hint: git remote set-url --push origin mirror://USER:TOKEN@gitlab.example/group/project.git
        hint: or use 'mirror::https://gitlab.example/group/project.git', with the login in a credential helper or in ~/.netrc
        hint: or give the mirror the token: mirrord add NAME https://gitlab.example/group/project.git --username USER
        hint: 'git config mirror.allowLoginInUrl true' allows it as it is
    ");
    stage.ours(&["config", "--unset", key]).ok();

    // A rule of git's own puts it there.
    let host = format!("https://{}/", stage.gitlab.host());
    stage
        .ours(&["remote", "set-url", "origin", &stage.url])
        .ok();
    let rule = format!(
        "url.mirror::https://me:{TOKEN}@{}/.insteadOf={host}",
        stage.gitlab.host()
    );
    let ran = stage.refuses(stage.ours(&["-c", &rule, "fetch"]));
    insta::assert_snapshot!(ran.shown(), @r"
        error: cannot use the password in the URL 'mirror::https://gitlab.example/group/project.git': git would write it into merge commits, FETCH_HEAD and reflogs
        hint: git hides the login in this form: mirror://USER:TOKEN@gitlab.example/group/project.git
        hint: a rule has put it there: git config --show-origin --get-regexp '^url\..*insteadof$'
        hint: or use 'mirror::https://gitlab.example/group/project.git', with the login in a credential helper or in ~/.netrc
        hint: or give the mirror the token: mirrord add NAME https://gitlab.example/group/project.git --username USER
        hint: 'git config mirror.allowLoginInUrl true' allows it as it is
    ");

    // What the hint says works, and so does the setting.
    let typed = better.replace("USER:TOKEN", &format!("me:{TOKEN}"));
    stage.ours(&["remote", "set-url", "origin", &typed]).ok();
    stage.ours(&["fetch", "-q"]).ok();
    let allow = ["-c", "mirror.allowLoginInUrl", "ls-remote", &address];
    world.git(allow).ok();
}

#[test]
fn over_http_the_other_ways_are_named() {
    let world = World::new();
    let gitlab = world.gitlab();
    let url = gitlab.url("group/project");
    let address = url.replace("http://", "mirror::http://me:canary@");
    let ran = world.git(["clone", "-q", &address, "ours"]).code(128);
    insta::assert_snapshot!(ran.shown(), @r"
        error: cannot use the password in the URL 'mirror::http://gitlab.example/group/project.git': git would write it into merge commits, FETCH_HEAD and reflogs
        hint: or use 'mirror::http://gitlab.example/group/project.git', with the login in a credential helper or in ~/.netrc
        hint: or give the mirror the token: mirrord add NAME http://gitlab.example/group/project.git --username USER
        hint: 'git config mirror.allowLoginInUrl true' allows it as it is
    ");
}

/// A way of signing in, and what prepares it and returns the address that is used with it.
type Form = (&'static str, fn(&Stage) -> String);

const FORMS: [Form; 5] = [
    ("a helper", |stage| {
        let helper = format!("!f() {{ echo username=me; echo password={TOKEN}; }}; f");
        stage.world.config("credential.helper", &helper);
        format!("mirror::{}", stage.url)
    }),
    ("netrc", |stage| {
        let netrc = format!("machine 127.0.0.1 login me password {TOKEN}\n");
        fs::write(stage.world.home().join(".netrc"), netrc).expect("the home is ours");
        format!("mirror::{}", stage.url)
    }),
    ("a form that git understands", Stage::with_hidden_login),
    ("a rule that git does not apply", |stage| {
        let key = format!("url.https://me:{TOKEN}@{}/.insteadOf", stage.gitlab.host());
        let host = format!("https://{}/", stage.gitlab.host());
        stage.world.config(&key, &host);
        format!("mirror::{}", stage.url)
    }),
    ("a token of the mirror's own", |stage| {
        let add = [
            "add",
            "own",
            &stage.url,
            "--username",
            "me",
            "--password-stdin",
        ];
        let token = format!("{TOKEN}\n");
        stage.world.mirrord(add).stdin(token).ok();
        "mirror::own".to_owned()
    }),
];

#[test]
fn no_way_of_signing_in_is_seen_in_commits_reflogs_or_messages() {
    for (form, prepare) in FORMS {
        let stage = private();
        let address = prepare(&stage);
        let project = &stage.project;
        let basic = BASE64_STANDARD.encode(format!("me:{TOKEN}"));
        let secrets = [TOKEN, &basic];
        let clean = |ran: Ran| {
            let text = format!("{}{}", ran.stdout, ran.stderr);
            assert!(
                !secrets.iter().any(|secret| text.contains(secret)),
                "{form}: {ran}"
            );
        };
        clean(stage.world.git(["clone", &address, "ours"]).ok());
        project.commit("main", "theirs", "theirs");
        let commit = ["commit", "-q", "--allow-empty", "-m", "ours"];
        for args in [
            &commit[..],
            &["fetch"],
            &["pull", "--no-rebase", "--no-edit"],
            &["push"],
            &["fetch", &address],
            &["push", &address, "HEAD:refs/heads/by-url"],
        ] {
            clean(stage.ours(args).ok());
        }
        let pushed = project.git(["log", "--all", "--format=%B"]).ok();
        let merge = "Merge branch 'main' of mirror:";
        assert!(pushed.stdout.contains(merge), "{form}: {pushed}");
        clean(pushed);
        clean(stage.ours(&["log", "--all", "--format=%B"]).ok());
        for secret in secrets {
            let grep = ["-rlF", "--", secret, "ours/.git", "m"];
            let found = stage.world.program("grep", grep).run().stdout;
            let is_known = |file: &&str| {
                // What was typed stands there, as with plain git; the mirror's own token is in its store.
                let typed = form == "a form that git understands" && *file == "ours/.git/config";
                typed || file.starts_with("m/secrets/")
            };
            let found: Vec<_> = found.lines().filter(|file| !is_known(file)).collect();
            assert_eq!(found, [""; 0], "{form}");
        }
    }
}

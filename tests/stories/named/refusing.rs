//! Refusals of `mirrord add`, which then makes nothing.

use std::fmt::Write;

use tests::{Fault, On, Run, Signal};

use super::{Stage, refused, small};

/// Asserts that there is no mirror, on disk or in a list, and that the name is free.
#[track_caller]
fn nothing_is_made(stage: &Stage) {
    stage.world.wait_until_no_sync();
    assert_eq!(stage.world.mirrors(), [""; 0], "no mirror is left");
    assert_eq!(stage.names(), [""; 0], "none is listed");
}

#[test]
fn a_mirror_whose_upstream_cannot_be_read_is_not_made() {
    let stage = Stage::new(small);
    let faults = [
        Fault::status(401),
        Fault::status(403),
        Fault::status(404),
        Fault::status(500),
        Fault::html(),
        Fault::hang_up(),
        Fault::cut_after(20).on(On::Fetch),
    ];
    let mut all = String::new();
    for fault in faults {
        stage.gitlab.fault(fault);
        let ran = refused(stage.adding("work", &[]), 1);
        writeln!(all, "{}", ran.shown()).expect("into a string");
        stage.gitlab.clear_faults();
        nothing_is_made(&stage);
    }
    insta::assert_snapshot!(all, @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED signed in  [time]  upstream wants a login, and none was found
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: store a login with a credential helper, see 'git help credentials'

    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED may read  [time]  error: 403
    error: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 403
    hint: this login may not read it, or too many failed ones have closed the door for a while

    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED may read  [time]  repository 'http://gitlab.example/group/project.git' not found
    error: repository 'http://gitlab.example/group/project.git' not found
    hint: check the address; a private project needs a login

    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED may read  [time]  the server answered with error 500
    error: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 500

    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED may read  [time]  'text/html' answered, not git
    error: cannot reach 'http://gitlab.example/group/project.git': 'text/html' answered, not git
    hint: a network's sign-in page may be in the way, or the address may not be a repository's

    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED may read  [time]  the connection was cut
    error: cannot reach 'http://gitlab.example/group/project.git': the connection was cut

    error: cannot reach 'http://gitlab.example/group/project.git': the connection was cut
    ");
    stage.gitlab.fault(Fault::flip_at(2500).on(On::Fetch));
    refused(stage.adding("work", &[]), 1);
    stage.gitlab.clear_faults();
    nothing_is_made(&stage);
    stage.gitlab.stop();
    // Nothing is there to be served, whatever the person would rather have.
    let serve = stage.adding("work", &[]).env("MIRROR_STALE", "serve");
    insta::assert_snapshot!(refused(serve, 1).shown(), @"
    ok     name resolved  [time]  127.0.0.1
    FAILED connected  [time]  connection refused
    error: cannot reach 'http://gitlab.example/group/project.git': connection refused
    ");
    nothing_is_made(&stage);
    stage.gitlab.start();
    stage.add("work", &[]).ok();
}

#[test]
fn a_private_project_is_not_added_without_a_login() {
    let stage = Stage::new(small);
    stage.gitlab.require_login("group/project", "me", "right");
    insta::assert_snapshot!(refused(stage.adding("work", &[]), 1).shown(), @"
    ok     name resolved  [time]  127.0.0.1
    ok     connected  [time]  gitlab.example
    FAILED signed in  [time]  upstream wants a login, and none was found
    error: could not read Username for 'http://gitlab.example': terminal prompts disabled
    hint: make a token at http://gitlab.example/-/user_settings/personal_access_tokens with scopes read_repository, write_repository, and store it with a credential helper, or in the mirror: --username NAME
    ");
    nothing_is_made(&stage);
    let helper = "!f() { cat >/dev/null; echo username=me; echo password=right; }; f";
    stage.world.config("credential.helper", helper);
    stage.add("work", &[]).ok();
}

#[test]
fn a_directory_that_is_no_repository_is_not_added() {
    let stage = Stage::new(small);
    let mut all = String::new();
    for below in ["home", "not/there"] {
        let path = stage.world.path(below);
        let path = path.to_string_lossy();
        all.push_str(&refused(stage.mirrord(&["add", "work", &path]), 1).shown());
        nothing_is_made(&stage);
    }
    insta::assert_snapshot!(all, @"
    FAILED may read  [time]  '/world/home' does not appear to be a git repository
    error: cannot read 'file:///world/home': '/world/home' does not appear to be a git repository
    FAILED may read  [time]  '/world/not/there' does not appear to be a git repository
    error: cannot read 'file:///world/not/there': '/world/not/there' does not appear to be a git repository
    ");
}

/// Interrupts an `add` that waits for GitLab here, as a person does with Ctrl-C.
#[track_caller]
fn interrupted(on: On) {
    let stage = Stage::new(small);
    let paused = stage.gitlab.pause_answer(on);
    let add = stage.adding("work", &[]).start();
    paused.reached();
    add.kill_group(Signal::INT);
    let ran = add.wait();
    stage
        .gitlab
        .wait_for(|request| request.iter().any(|one| one.cancelled));
    assert!(!ran.status.success(), "{ran}");
    drop(paused);
    nothing_is_made(&stage);
    stage.add("work", &[]).ok();
    assert_eq!(stage.names(), ["work"]);
}

#[test]
fn an_interrupted_question_leaves_nothing() {
    interrupted(On::LsRefs);
}

#[test]
fn an_interrupted_download_leaves_nothing() {
    interrupted(On::Fetch);
}

#[test]
fn a_download_whose_daemon_dies_leaves_nothing() {
    let stage = Stage::new(small);
    let paused = stage.gitlab.pause_answer(On::Fetch);
    let add = stage.adding("work", &[]).start();
    paused.reached();
    stage.world.kill_daemon();
    let ran = add.wait();
    assert_eq!(ran.status.code(), Some(1), "{ran}");
    drop(paused);
    assert_eq!(stage.names(), [""; 0], "none is listed");
    assert_eq!(stage.world.mirrors(), [""; 0], "it is swept");
    stage.add("work", &[]).ok();
}

#[test]
fn a_bad_name_or_value_is_wrong_usage_and_nobody_is_asked() {
    let stage = Stage::new(small);
    let name = stage.adding("a/../b", &[]).code(2);
    // What begins with '-' is an option to every program.
    stage.mirrord(&["add", "--", "-a", &stage.url]).code(2);
    nothing_is_made(&stage);
    stage.add("there", &[]).ok();
    let before = stage.mirrord(&["show", "there"]).ok().stdout;
    stage.gitlab.forget_requests();
    let add = stage.adding("work", &["--push=maybe"]).code(2);
    let set = stage.set("there", &["--push=maybe"]).code(2);
    let refspec = stage.set("there", &["--track=refs/heads/*:refs/heads/one"]);
    let shown = [name, add, set, refspec.code(2)].map(|ran| ran.shown());
    insta::assert_snapshot!(shown.concat(), @r"
        error: invalid name 'a/../b': '..' is not allowed in it
        error: 'maybe' is not a value of 'push'
        hint: it may be 'yes' or 'no'
        error: 'maybe' is not a value of 'push'
        hint: it may be 'yes' or 'no'
        error: 'refs/heads/*:refs/heads/one' cannot be tracked: it has a '*' on one side only
    ");
    assert!(stage.gitlab.requests().is_empty(), "nobody is asked");
    assert_eq!(stage.names(), ["there"]);
    let settings = |shown: &str| {
        let kept = shown.lines().filter(|line| !line.starts_with("state: "));
        kept.map(str::to_owned).collect::<Vec<_>>()
    };
    let after = stage.mirrord(&["show", "there"]).ok().stdout;
    assert_eq!(settings(&before), settings(&after), "nothing has changed");
}

#[test]
fn a_name_that_is_taken_stays_with_whoever_has_it() {
    let stage = Stage::new(small);
    stage.add("work", &["--description", "the first"]).ok();
    let other = stage.gitlab.project("group/other");
    other.commit("main", "a", "a");
    let url = stage.gitlab.url("group/other");
    let adding = |options: &[&str]| stage.mirrord(&[&["add", "work", &url], options].concat());
    for options in [
        &[][..],
        &["--no-test"],
        &["--no-sync"],
        &["--no-test", "--no-sync"],
    ] {
        let ran = refused(adding(options), 1);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"
            error: a mirror is called 'work' already, of 'http://gitlab.example/group/project.git'
            hint: 'mirrord set work' changes it, 'mirrord rename work OTHER' renames it
            ");
        }
        insta::allow_duplicates! {
            insta::assert_snapshot!(refused(stage.adding("work", options), 1).shown(), @"
            error: a mirror is called 'work' already, of 'http://gitlab.example/group/project.git'
            hint: 'mirrord set work' changes it, 'mirrord rename work OTHER' renames it
            ");
        }
    }
    assert_eq!(stage.setting("work", "description"), "the first");
    assert_eq!(stage.world.mirrors().len(), 1);
    // A mirror that was made by itself has a name too.
    stage.clone(&url, "theirs").ok();
    let names = stage.names();
    let automatic = names.iter().find(|name| *name != "work").expect("its name");
    insta::assert_snapshot!(refused(stage.adding(automatic, &[]), 1).shown(), @"
    error: a mirror is called 'http+gitlab.example/group/other' already, of 'http://gitlab.example/group/other.git'
    hint: 'mirrord set http+gitlab.example/group/other' changes it, 'mirrord rename http+gitlab.example/group/other OTHER' renames it
    ");
}

/// The requests of a command, which succeeds.
#[track_caller]
fn requests_of(stage: &Stage, run: Run) -> usize {
    stage.gitlab.forget_requests();
    run.ok();
    stage.gitlab.requests().len()
}

#[test]
fn without_a_sync_nothing_is_downloaded_until_somebody_fetches() {
    let stage = Stage::new(small);
    assert!(requests_of(&stage, stage.adding("tested", &["--no-sync"])) > 0);
    assert!(!stage.was_asked_for_objects());
    let blind = ["--no-test", "--no-sync"];
    assert_eq!(requests_of(&stage, stage.adding("blind", &blind)), 0);
    for (name, dir) in [("tested", "one"), ("blind", "two")] {
        let state = stage.setting(name, "state");
        assert_eq!(state, "not yet in step");
        stage.gitlab.forget_requests();
        stage.clone(name, dir).ok();
        assert!(stage.was_asked_for_objects(), "the first fetch downloads");
        let main = stage.project.tip("main");
        assert_eq!(Some(stage.rev_parse(dir, "HEAD")), main);
        // Another one of the same project would take its packs.
        stage.mirrord(&["remove", name]).ok();
    }
}

#[test]
fn a_test_without_a_sync_refuses_what_cannot_be_read() {
    let stage = Stage::new(small);
    stage.gitlab.stop();
    insta::assert_snapshot!(refused(stage.adding("work", &["--no-sync"]), 1).shown(), @"
    ok     name resolved  [time]  127.0.0.1
    FAILED connected  [time]  connection refused
    error: cannot reach 'http://gitlab.example/group/project.git': connection refused
    ");
    nothing_is_made(&stage);
}

#[test]
fn without_a_test_a_mirror_is_made_for_the_day_when_upstream_can_be_read() {
    let stage = Stage::new(small);
    stage.gitlab.stop();
    let added = stage.adding("work", &["--no-test"]).ok();
    insta::assert_snapshot!(added.shown(), @r"
        'work' mirrors http://gitlab.example/group/project.git
            git clone mirror::work
        --- stderr
        warning: it is not in step: cannot reach 'http://gitlab.example/group/project.git': connection refused
    ");
    let quiet = stage.adding("other", &["--no-test", "--no-sync"]).ok();
    assert_eq!(quiet.stderr, "", "there was nothing to fail");
    for stale in ["", "serve"] {
        let ran = stage.clone("work", "ours").env("MIRROR_STALE", stale);
        let ran = ran.code(128);
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"error: cannot reach 'http://gitlab.example/group/project.git': connection refused");
        }
    }
    stage.gitlab.start();
    for (name, dir) in [("work", "ours"), ("other", "others")] {
        stage.clone(name, dir).ok();
        assert_eq!(
            Some(stage.rev_parse(dir, "HEAD")),
            stage.project.tip("main")
        );
    }
}

#[test]
fn a_project_of_another_object_format_can_be_added_in_every_way() {
    let stage = Stage::new(small);
    let modern = stage.gitlab.sha256_project("group/modern");
    let tip = modern.commit("main", "a", "a");
    let url = stage.gitlab.url("group/modern");
    let ways: [&[&str]; 4] = [
        &[],
        &["--no-sync"],
        &["--no-test"],
        &["--no-test", "--no-sync"],
    ];
    for (at, options) in ways.iter().enumerate() {
        let name = format!("modern-{at}");
        let added = stage
            .mirrord(&[&["add", &name, &url], *options].concat())
            .ok();
        assert_eq!(added.stderr, "", "{added}");
        stage.clone(&name, &name).ok();
        assert_eq!(stage.rev_parse(&name, "HEAD"), tip, "{options:?}");
        stage.mirrord(&["remove", &name]).ok();
    }
}

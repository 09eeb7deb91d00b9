//! GitLab down is not you down: what is served when upstream cannot be asked, and what is not.

use std::fs;
use std::time::{Duration, SystemTime};

use tests::{Fault, On, Run, World};

use crate::stage::Stage;

const HOUR: u64 = 3600;

/// A clone of a public project, and so a copy of upstream.
fn public() -> Stage {
    Stage::new(|project| drop(project.commit("main", "a", "a"))).with_ours()
}

/// The same, of a private project that is read by `me`, whose token a credential helper gives.
fn private() -> Stage {
    let stage = Stage::new(|project| drop(project.commit("main", "a", "a")));
    stage.gitlab.require_login("group/project", "me", "right");
    let helper = "!f() { cat >/dev/null; echo username=me; echo password=right; }; f";
    stage.world.config("credential.helper", helper);
    stage.with_ours()
}

/// Writes into the mirror that it was last in step so many hours ago. The daemon must not run.
fn age(copied: &Stage, hours: u64) {
    let ago = SystemTime::now() - Duration::from_secs(hours * HOUR);
    let since = ago.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.expect("later than 1970").as_secs();
    let synced = copied.world.only_mirror().join("synced");
    fs::write(synced, format!("{seconds}\n")).expect("the mirror is ours");
}

/// What a fetch says that was answered from the copy: why, and how old that is.
#[track_caller]
fn served(run: Run) -> String {
    let ran = run.ok();
    assert_eq!(ran.stderr.lines().count(), 2, "{ran}");
    ran.shown()
}

/// What a fetch says that failed.
#[track_caller]
fn refused(run: Run) -> String {
    run.code(128).shown()
}

#[test]
fn an_unreachable_upstream_is_answered_from_the_copy_with_its_age() {
    let copied = public();
    copied.gitlab.stop();
    let said = served(copied.fetch("ours"));
    insta::assert_snapshot!(said, @"
    warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: serving the copy synced [time] ago
    ");
    assert_eq!(served(copied.clone(&copied.url, "later")), said);
    let tip = |dir| copied.rev_parse(dir, "HEAD");
    assert_eq!(tip("later"), tip("ours"), "the copy is whole");
}

#[test]
fn an_upstream_that_is_back_is_asked_again() {
    let copied = public();
    copied.gitlab.stop();
    served(copied.fetch("ours"));
    copied.gitlab.start();
    let fresh = copied.fetch("ours").ok();
    insta::assert_snapshot!(fresh.shown(), @"warning: in step again after [time]: cannot reach 'http://gitlab.example/group/project.git': connection refused");
    assert_eq!(copied.fetch("ours").ok().stderr, "", "silent when fresh");
}

#[test]
fn with_mirror_stale_fail_a_fetch_gets_no_stale_answer() {
    let copied = public();
    copied.gitlab.stop();
    let fetch = |stale| refused(copied.fetch("ours").env("MIRROR_STALE", stale));
    insta::assert_snapshot!(fetch("fail"), @"error: cannot reach 'http://gitlab.example/group/project.git': connection refused");
    insta::assert_snapshot!(fetch("perhaps"), @"
    error: MIRROR_STALE is 'perhaps'
    hint: it may be 'serve' or 'fail'
    ");
}

#[test]
fn an_upstream_that_is_not_able_to_answer_is_answered_from_the_copy() {
    let copied = public();
    let faults = [
        Fault::status(500),
        Fault::status(503),
        Fault::status(429),
        Fault::hang_up(),
        Fault::html(),
        Fault::cut_after(10),
    ];
    let answers = faults.map(|fault| {
        copied.gitlab.fault(fault);
        let said = served(copied.fetch("ours"));
        copied.gitlab.clear_faults();
        said
    });
    insta::assert_snapshot!(answers.concat(), @"
    warning: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 500
    hint: serving the copy synced [time] ago
    warning: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503
    hint: serving the copy synced [time] ago
    warning: 'http://gitlab.example/group/project.git' asks for patience (error 429)
    hint: serving the copy synced [time] ago
    warning: cannot reach 'http://gitlab.example/group/project.git': the connection was cut
    hint: serving the copy synced [time] ago
    warning: cannot reach 'http://gitlab.example/group/project.git': 'text/html' answered, not git
    hint: serving the copy synced [time] ago
    warning: cannot reach 'http://gitlab.example/group/project.git': the connection was cut
    hint: serving the copy synced [time] ago
    ");
    copied.fetch("ours").ok();
    assert_eq!(copied.fetch("ours").ok().stderr, "");
}

#[test]
fn a_silent_upstream_is_given_up_after_its_budget() {
    let copied = public();
    copied.gitlab.fault(Fault::hang_before_headers());
    let impatient = ["-c", "http.lowSpeedTime=1", "fetch"];
    let said = served(copied.ours(&impatient));
    insta::assert_snapshot!(said, @"
    warning: cannot reach 'http://gitlab.example/group/project.git': no answer for [time]
    hint: serving the copy synced [time] ago
    ");
}

#[test]
fn a_download_that_breaks_is_answered_from_the_copy() {
    let copied = public();
    copied.project.commit("main", "b", "b");
    copied.gitlab.fault(Fault::cut_after(40).on(On::Fetch));
    let said = served(copied.fetch("ours"));
    insta::assert_snapshot!(said, @"
    warning: cannot reach 'http://gitlab.example/group/project.git': the connection was cut
    hint: serving the copy synced [time] ago
    ");
    copied.gitlab.clear_faults();
    copied.fetch("ours").ok();
}

#[test]
fn a_refusal_is_no_reason_to_serve_the_copy_unless_the_person_says_so() {
    let copied = private();
    let elsewhere = copied.gitlab.refused_address();
    let faults = [
        Fault::status(403),
        Fault::status(404),
        Fault::redirect(301, &elsewhere),
        Fault::status(401),
    ];
    let answers = faults.map(|fault| {
        copied.gitlab.fault(fault);
        let refused = refused(copied.fetch("ours"));
        let served = served(copied.fetch("ours").env("MIRROR_STALE", "serve"));
        copied.gitlab.clear_faults();
        refused + &served
    });
    insta::assert_snapshot!(answers.join("\n"), @"
    error: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 403
    hint: this login may not read it, or too many failed ones have closed the door for a while
    warning: cannot read 'http://gitlab.example/group/project.git': the requested URL returned error: 403
    hint: serving the copy synced [time] ago

    error: repository 'http://gitlab.example/group/project.git' not found
    hint: check the address; a login without permission is told the same
    warning: repository 'http://gitlab.example/group/project.git' not found
    hint: serving the copy synced [time] ago

    error: 'http://gitlab.example/group/project.git' has moved
    hint: it redirects to 'http://gitlab.example/group/project.git'
    warning: 'http://gitlab.example/group/project.git' has moved
    hint: serving the copy synced [time] ago

    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: the login was refused; store another one
    warning: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: serving the copy synced [time] ago
    ");
    // A login that was refused twice is not tried again before somebody says that it is right.
    let set = ["set", &copied.url, "--username", "me", "--password-stdin"];
    copied.mirrord(&set).stdin("right").ok();
    assert_eq!(copied.fetch("ours").ok().stderr, "", "nothing was lost");
}

#[test]
fn a_login_that_has_never_read_upstream_gets_no_copy() {
    let copied = private();
    copied.gitlab.stop();
    let stranger = "credential.helper=!f() { echo username=you; echo password=guess; }; f";
    let nobody = "credential.helper=";
    let logins: [&[&str]; 2] = [&["-c", nobody], &["-c", nobody, "-c", stranger]];
    for login in logins {
        let address = format!("mirror::{}", copied.url);
        let args = [login, &["clone", "-q", &address, "theirs"]].concat();
        let clone = || copied.world.git(&args);
        for run in [clone(), clone().env("MIRROR_STALE", "serve")] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(refused(run), @"
                error: cannot reach 'http://gitlab.example/group/project.git': connection refused
                hint: there is a copy here, but this login has never read it from upstream
                ");
            }
        }
    }
    served(copied.fetch("ours"));
}

#[test]
fn a_first_clone_of_an_unreachable_upstream_fails_and_leaves_nothing() {
    let world = World::new();
    let gitlab = world.gitlab();
    let clone = world.clone_mirror(&gitlab.refused_address(), "ours");
    insta::assert_snapshot!(refused(clone.env("MIRROR_STALE", "serve")), @"error: cannot reach 'http://gitlab.example/group/project.git': connection refused");
    assert_eq!(world.mirrors(), [""; 0], "no mirror is left");
    assert!(!world.path("ours").exists(), "no clone is left");
}

#[test]
fn a_fresh_answer_is_silent() {
    let copied = public();
    for args in [
        ["fetch", "-q"].as_slice(),
        &["fetch"],
        &["pull"],
        &["pull", "-q"],
    ] {
        let ran = copied.ours(args).ok();
        assert_eq!(ran.stderr, "", "{ran}");
    }
}

#[test]
fn the_age_of_the_copy_is_known_after_a_restart() {
    let copied = public();
    copied.mirrord(&["stop"]).ok();
    age(&copied, 3);
    copied.gitlab.stop();
    // The second line of an answer says the age.
    let age = || {
        let ran = copied.fetch("ours").ok();
        let hint = ran.stderr.lines().nth(1).expect("a hint");
        hint.to_owned()
    };
    insta::assert_snapshot!(age(), @"hint: serving the copy synced 3 hours ago");
    copied.world.kill_daemon();
    insta::assert_snapshot!(age(), @"hint: serving the copy synced 3 hours ago");
    copied.gitlab.start();
    copied.fetch("ours").ok();
    copied.gitlab.stop();
    assert!(
        age().contains(" second"),
        "it was in step just now: {}",
        age()
    );
    copied.mirrord(&["stop"]).ok();
    assert!(
        age().contains(" second"),
        "an orderly stop keeps that: {}",
        age()
    );
}

#[test]
fn a_copy_of_unknown_age_is_not_called_young() {
    let copied = public();
    copied.mirrord(&["stop"]).ok();
    let note = copied.world.only_mirror().join("synced");
    copied.gitlab.stop();
    for torn in [None, Some(""), Some("12 o'clock\n")] {
        match torn {
            None => fs::remove_file(&note),
            Some(text) => fs::write(&note, text),
        }
        .expect("the mirror is ours");
        let ran = copied.fetch("ours").ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"
            warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
            hint: serving a copy of unknown age
            ");
        }
    }
}

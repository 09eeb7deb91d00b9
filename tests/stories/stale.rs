//! GitLab down is not you down: what is served when upstream cannot be asked, and what is not.

use std::fs;
use std::time::{Duration, SystemTime};

use tests::{Fault, GitLab, On, Project, Ran, Run, World};

const HOUR: u64 = 3600;

/// A world with a clone, and so with a copy of upstream, made by whoever the settings name.
struct Copied {
    world: World,
    gitlab: GitLab,
    project: Project,
    url: String,
}

impl Copied {
    /// A public project.
    fn public() -> Self {
        Self::new(|_, _| ())
    }

    /// A private one, read by `me`, whose token a credential helper gives.
    fn private() -> Self {
        Self::new(|world, gitlab| {
            gitlab.require_login("group/project", "me", "right");
            let helper = "!f() { cat >/dev/null; echo username=me; echo password=right; }; f";
            world.config("credential.helper", helper);
        })
    }

    fn new(prepare: impl FnOnce(&World, &GitLab)) -> Self {
        let world = World::new();
        let gitlab = world.gitlab();
        let project = gitlab.project("group/project");
        project.commit("main", "a", "a");
        prepare(&world, &gitlab);
        let url = gitlab.url("group/project");
        world.clone_mirror(&url, "ours").ok();
        Self {
            world,
            gitlab,
            project,
            url,
        }
    }

    fn fetch(&self) -> Run {
        self.world.git(["fetch"]).at("ours")
    }

    /// Notes in the mirror that it was last in step so many hours ago. The daemon must not run.
    fn age(&self, hours: u64) {
        let ago = SystemTime::now() - Duration::from_secs(hours * HOUR);
        let seconds = ago
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("later than 1970")
            .as_secs();
        fs::write(
            self.world.only_mirror().join("synced"),
            format!("{seconds}\n"),
        )
        .expect("the mirror is ours");
    }
}

/// Asserts that a fetch was answered from the copy, and said so: why, and how old it is.
#[track_caller]
fn served(run: Run, why: &str) -> Ran {
    let ran = run.ok();
    let [warning, hint] = ran.stderr.lines().collect::<Vec<_>>()[..] else {
        panic!("a warning and a hint, nothing else: {ran}");
    };
    assert!(
        warning.starts_with("warning: ") && warning.contains(why),
        "the warning says '{why}': {ran}"
    );
    assert!(
        hint.starts_with("hint: serving the copy synced ") && hint.ends_with(" ago"),
        "the hint says how old the copy is: {ran}"
    );
    ran
}

/// Asserts that a fetch failed, and said why and what to do.
#[track_caller]
fn refused(run: Run, why: &str) -> Ran {
    let ran = run.code(128);
    let line = |prefix: &str| ran.stderr.lines().find(|line| line.starts_with(prefix));
    assert!(
        line("error: ").is_some_and(|line| line.contains(why)),
        "the error says '{why}': {ran}"
    );
    assert!(line("hint: ").is_some(), "a hint says what to do: {ran}");
    assert!(!ran.stderr.contains("serving"), "nothing is served: {ran}");
    ran
}

#[test]
fn an_unreachable_upstream_is_answered_from_the_copy_with_its_age() {
    let copied = Copied::public();
    copied.gitlab.stop();
    let why = format!("cannot reach '{}': connection refused", copied.url);
    served(copied.fetch(), &why);
    served(copied.world.clone_mirror(&copied.url, "later"), &why);
    let tip = |dir| copied.world.git(["rev-parse", "HEAD"]).at(dir).ok().stdout;
    assert_eq!(tip("later"), tip("ours"), "the copy is whole");
}

#[test]
fn an_upstream_that_is_back_is_asked_again() {
    let copied = Copied::public();
    copied.gitlab.stop();
    served(copied.fetch(), "connection refused");
    copied.gitlab.start();
    let fresh = copied.fetch().ok();
    let over = "warning: in step again after ";
    assert!(fresh.stderr.starts_with(over), "{fresh}");
    assert_eq!(copied.fetch().ok().stderr, "", "silent when fresh");
}

#[test]
fn with_mirror_stale_fail_a_fetch_gets_no_stale_answer() {
    let copied = Copied::public();
    copied.gitlab.stop();
    let ran = copied.fetch().env("MIRROR_STALE", "fail").code(128);
    assert!(ran.stderr.contains("error: cannot reach"), "{ran}");
    assert!(!ran.stderr.contains("serving"), "{ran}");
}

#[test]
fn an_unknown_value_of_mirror_stale_is_an_error() {
    let copied = Copied::public();
    let run = copied.fetch().env("MIRROR_STALE", "perhaps");
    refused(run, "MIRROR_STALE is 'perhaps'");
}

#[test]
fn an_upstream_that_is_not_able_to_answer_is_answered_from_the_copy() {
    let copied = Copied::public();
    let faults = [
        (Fault::status(500), "error 500"),
        (Fault::status(503), "error 503"),
        (Fault::status(429), "error 429"),
        (Fault::hang_up(), "cannot reach"),
        (Fault::html(), "'text/html' answered, not git"),
        (Fault::cut_after(10), "cannot reach"),
    ];
    for (fault, why) in faults {
        copied.gitlab.fault(fault);
        served(copied.fetch(), why);
        copied.gitlab.clear_faults();
    }
    copied.fetch().ok();
    assert_eq!(copied.fetch().ok().stderr, "");
}

#[test]
fn a_silent_upstream_is_given_up_after_its_budget() {
    let copied = Copied::public();
    copied.gitlab.fault(Fault::hang_before_headers());
    let impatient = ["-c", "http.lowSpeedTime=1", "fetch"];
    served(
        copied.world.git(impatient).at("ours"),
        "no answer for 1 second",
    );
}

#[test]
fn a_download_that_breaks_is_answered_from_the_copy() {
    let copied = Copied::public();
    copied.project.commit("main", "b", "b");
    copied.gitlab.fault(Fault::cut_after(40).on(On::Fetch));
    served(copied.fetch(), &copied.url);
    copied.gitlab.clear_faults();
    copied.fetch().ok();
}

#[test]
fn a_refusal_is_no_reason_to_serve_the_copy_unless_the_person_says_so() {
    let copied = Copied::private();
    let url = &copied.url;
    let elsewhere = copied.gitlab.refused_address();
    let faults = [
        (Fault::status(403), "error: 403".to_owned()),
        (Fault::status(404), format!("repository '{url}' not found")),
        (
            Fault::redirect(301, &elsewhere),
            format!("'{url}' has moved"),
        ),
        (
            Fault::status(401),
            format!("Authentication failed for '{url}'"),
        ),
    ];
    for (fault, why) in faults {
        copied.gitlab.fault(fault);
        refused(copied.fetch(), &why);
        served(copied.fetch().env("MIRROR_STALE", "serve"), &why);
        copied.gitlab.clear_faults();
    }
    // A login that was refused twice is not tried again before somebody says that it is right.
    let set = ["set", url, "--username", "me", "--password-stdin"];
    copied.world.mirrord(set).stdin("right").ok();
    assert_eq!(copied.fetch().ok().stderr, "", "nothing was lost");
}

#[test]
fn a_login_that_has_never_read_upstream_gets_no_copy() {
    let copied = Copied::private();
    copied.gitlab.stop();
    let stranger = "credential.helper=!f() { echo username=you; echo password=guess; }; f";
    let nobody = "credential.helper=";
    let logins: [&[&str]; 2] = [&["-c", nobody], &["-c", nobody, "-c", stranger]];
    for login in logins {
        let address = format!("mirror::{}", copied.url);
        let args = [login, &["clone", "-q", &address, "theirs"]].concat();
        let clone = || copied.world.git(&args);
        refused(clone(), "cannot reach");
        refused(clone().env("MIRROR_STALE", "serve"), "cannot reach");
    }
    served(copied.fetch(), "connection refused");
}

#[test]
fn a_first_clone_of_an_unreachable_upstream_fails_and_leaves_nothing() {
    let world = World::new();
    let gitlab = world.gitlab();
    let ran = world
        .clone_mirror(&gitlab.refused_address(), "ours")
        .env("MIRROR_STALE", "serve")
        .code(128);
    assert!(ran.stderr.contains("error: cannot reach"), "{ran}");
    assert_eq!(world.mirrors(), [""; 0], "no mirror is left");
    assert!(!world.path("ours").exists(), "no clone is left");
}

#[test]
fn a_fresh_answer_is_silent() {
    let copied = Copied::public();
    for args in [
        ["fetch", "-q"].as_slice(),
        &["fetch"],
        &["pull"],
        &["pull", "-q"],
    ] {
        let ran = copied.world.git(args).at("ours").ok();
        assert_eq!(ran.stderr, "", "{ran}");
    }
}

#[test]
fn the_age_of_the_copy_is_known_after_a_restart() {
    let copied = Copied::public();
    copied.world.mirrord(["stop"]).ok();
    copied.age(3);
    copied.gitlab.stop();
    let aged = || {
        let ran = served(copied.fetch(), "connection refused");
        assert!(ran.stderr.contains("synced 3 hours ago"), "{ran}");
    };
    aged();
    copied.world.kill_daemon();
    aged();
    copied.gitlab.start();
    copied.fetch().ok();
    copied.gitlab.stop();
    let ran = served(copied.fetch(), "connection refused");
    assert!(
        !ran.stderr.contains("hours"),
        "it was in step just now: {ran}"
    );
    copied.world.mirrord(["stop"]).ok();
    let ran = served(copied.fetch(), "connection refused");
    assert!(
        !ran.stderr.contains("hours"),
        "an orderly stop keeps that: {ran}"
    );
}

#[test]
fn a_copy_of_unknown_age_is_not_called_young() {
    let copied = Copied::public();
    copied.world.mirrord(["stop"]).ok();
    let note = copied.world.only_mirror().join("synced");
    copied.gitlab.stop();
    for torn in [None, Some(""), Some("12 o'clock\n")] {
        match torn {
            None => fs::remove_file(&note),
            Some(text) => fs::write(&note, text),
        }
        .expect("the mirror is ours");
        let ran = copied.fetch().ok();
        assert!(ran.stderr.contains("warning: cannot reach"), "{ran}");
        assert!(!ran.stderr.contains("synced 0 seconds ago"), "{ran}");
    }
}

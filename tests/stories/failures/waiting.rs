//! Somebody who waits for an upstream that says nothing gets the copy after a while, and the sync goes on.

use tests::{Fault, On};

use super::{Stage, is_back, served};

const SO_FAR: &str = "for 1 second so far";

impl Stage {
    /// Whoever has a copy waits for a second.
    fn hurried() -> Self {
        let stage = Self::new();
        stage.world.mirrord(["config", "stale-after", "1s"]).ok();
        let set = ["set", "work", "--stale-after", "1s"];
        stage.world.mirrord(set).ok();
        stage
    }
}

#[test]
fn who_waits_gets_the_copy_with_its_age_and_the_next_one_has_the_rest() {
    let stage = Stage::hurried();
    let new = stage.project.commit("main", "b", "b");
    let held = stage.gitlab.hold(On::LsRefs);
    let why = format!("no answer from '{}' {SO_FAR}", stage.url);
    served(stage.fetch(), &why);
    held.release();
    stage.world.wait_until_no_sync();
    // What goes on has brought it: upstream need not be there any more.
    stage.gitlab.stop();
    served(stage.git(&["fetch", "-q"]), "connection refused");
    let seen = stage.git(&["rev-parse", "origin/main"]).ok();
    assert_eq!(seen.line(), new);
}

#[test]
fn who_has_nothing_or_wants_no_copy_waits_to_the_end() {
    let stage = Stage::hurried();
    stage.commit();
    let other = stage.gitlab.url("group/other");
    let waiting = [
        stage.world.clone_mirror(&other, "theirs"),
        stage.git(&["push", "-q", "origin", "main"]),
        stage.fetch().env("MIRROR_STALE", "fail"),
        stage.world.mirrord(["sync", "work"]),
    ];
    for run in waiting {
        let held = stage.gitlab.hold(On::LsRefs);
        let run = run.start();
        held.reached();
        // Somebody who does not wait so long.
        let second = stage.gitlab.hold(On::LsRefs);
        served(stage.fetch(), SO_FAR);
        assert!(!run.has_ended(), "it waits");
        drop(second);
        held.release();
        let ran = run.wait();
        assert!(ran.status.success(), "{ran}");
        assert!(!ran.stderr.contains("warning"), "{ran}");
        stage.world.wait_until_no_sync();
    }
}

#[test]
fn a_mirror_that_is_to_fail_rather_waits_to_the_end() {
    let stage = Stage::hurried();
    let set = ["set", "work", "--stale", "fail"];
    stage.world.mirrord(set).ok();
    let held = stage.gitlab.hold(On::LsRefs);
    let run = stage.fetch().start();
    held.reached();
    served(stage.fetch().env("MIRROR_STALE", "serve"), SO_FAR);
    assert!(!run.has_ended(), "it waits");
    held.release();
    let ran = run.wait();
    assert_eq!(ran.stderr, "", "{ran}");
}

#[test]
fn what_is_on_its_way_is_waited_for() {
    let stage = Stage::hurried();
    let mut seed = 7_u64;
    let mut noise = String::new();
    while noise.len() < 120_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{:016x}", seed ^ (seed >> 29)));
    }
    let new = stage.project.commit("main", "noise", &noise);
    // Several seconds, in each of which something comes.
    stage.gitlab.fault(Fault::rate_limit(15_000).on(On::Fetch));
    let ran = stage.fetch().ok();
    assert!(!ran.stderr.contains("warning"), "{ran}");
    let seen = stage.git(&["rev-parse", "origin/main"]).ok();
    assert_eq!(seen.line(), new);
}

#[test]
fn a_private_project_is_served_to_whom_their_helper_names() {
    let stage = Stage::hurried();
    stage.gitlab.require_login("group/project", "me", "right");
    let helper = "!f() { cat >/dev/null; echo username=me; echo password=right; }; f";
    stage.world.config("credential.helper", helper);
    is_back(|| stage.fetch());
    // Nobody remembers the login.
    stage.forget_session();
    let held = stage.gitlab.hold(On::InfoRefs);
    served(stage.fetch(), SO_FAR);
    let stranger = "credential.helper=!f() { echo username=you; echo password=guess; }; f";
    let words = ["-c", "credential.helper=", "-c", stranger, "fetch"];
    let run = stage.git(&words).start();
    drop(held);
    let ran = run.wait();
    assert!(
        !ran.status.success() && !ran.stderr.contains("serving"),
        "{ran}"
    );
}

//! A fetch that waits for an upstream that hangs gets the copy after a while, and the sync goes on.

use std::time::{Duration, Instant};

use tests::{Fault, On};

use super::{is_back, served, stage};
use crate::stage::Stage;

const SO_FAR: &str = "for 1 second so far";

/// Sets that a fetch with a copy waits for one second.
fn hurried() -> Stage {
    let stage = stage();
    stage.mirrord(&["config", "stale-after", "1s"]).ok();
    stage.set("work", &["--stale-after", "1s"]).ok();
    stage
}

#[test]
fn a_fetch_that_has_waited_gets_the_copy_with_its_age_and_the_next_one_gets_the_rest() {
    let stage = hurried();
    let new = stage.project.commit("main", "b", "b");
    let paused = stage.gitlab.pause(On::LsRefs);
    let why = format!("no answer from '{}' {SO_FAR}", stage.url);
    served(stage.ours(&["fetch"]), &why);
    paused.release();
    stage.world.wait_until_no_sync();
    // What goes on has brought it: upstream need not be there any more.
    stage.gitlab.stop();
    served(stage.ours(&["fetch", "-q"]), "connection refused");
    assert_eq!(stage.rev_parse("ours", "origin/main"), new);
}

#[test]
fn a_first_clone_and_a_fetch_that_wants_no_copy_wait_to_the_end() {
    let stage = hurried();
    stage.commit_empty();
    let other = stage.gitlab.url("group/other");
    let waiting = [
        stage.world.clone_mirror(&other, "theirs"),
        stage.ours(&["push", "-q", "origin", "main"]),
        stage.fetch("ours").env("MIRROR_STALE", "fail"),
        stage.mirrord(&["sync", "work"]),
    ];
    for run in waiting {
        let paused = stage.gitlab.pause(On::LsRefs);
        let run = run.start();
        paused.reached();
        // Somebody who does not wait so long.
        let second = stage.gitlab.pause(On::LsRefs);
        served(stage.ours(&["fetch"]), SO_FAR);
        assert!(!run.has_ended(), "it waits");
        drop(second);
        paused.release();
        let ran = run.wait();
        assert!(ran.status.success(), "{ran}");
        assert_eq!(ran.stderr, "");
        stage.world.wait_until_no_sync();
    }
}

#[test]
fn a_mirror_that_is_to_fail_rather_waits_to_the_end() {
    let stage = hurried();
    let set = ["set", "work", "--stale", "fail"];
    stage.world.mirrord(set).ok();
    let paused = stage.gitlab.pause(On::LsRefs);
    let run = stage.ours(&["fetch"]).start();
    paused.reached();
    served(stage.ours(&["fetch"]).env("MIRROR_STALE", "serve"), SO_FAR);
    assert!(!run.has_ended(), "it waits");
    paused.release();
    let ran = run.wait();
    assert_eq!(ran.stderr, "", "{ran}");
}

/// Takes about 5 s: a download that goes on for several times `stale-after`, which is counted in seconds.
#[test]
fn a_download_that_makes_progress_is_waited_for() {
    let stage = hurried();
    let mut seed = 7_u64;
    let mut noise = String::new();
    while noise.len() < 120_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{:016x}", seed ^ (seed >> 29)));
    }
    let new = stage.project.commit("main", "noise", &noise);
    // Several seconds, in each of which something comes.
    stage.gitlab.fault(Fault::rate_limit(15_000).on(On::Fetch));
    assert_eq!(stage.fetch("ours").ok().stderr, "");
    assert_eq!(stage.rev_parse("ours", "origin/main"), new);
}

#[test]
fn a_private_project_is_served_to_whom_their_helper_names() {
    let stage = hurried();
    stage.gitlab.require_login("group/project", "me", "right");
    let helper = "!f() { cat >/dev/null; echo username=me; echo password=right; }; f";
    stage.world.config("credential.helper", helper);
    is_back(|| stage.ours(&["fetch"]));
    // Nobody remembers the login.
    stage.forget_session();
    let paused = stage.gitlab.pause(On::InfoRefs);
    served(stage.ours(&["fetch"]), SO_FAR);
    let stranger = "credential.helper=!f() { echo username=you; echo password=guess; }; f";
    let args = ["-c", "credential.helper=", "-c", stranger, "fetch"];
    let run = stage.ours(&args).start();
    drop(paused);
    let ran = run.wait();
    assert!(
        !ran.status.success() && !ran.stderr.contains("serving"),
        "{ran}"
    );
}

#[test]
fn while_an_upstream_hangs_only_the_first_fetch_waits_and_one_background_sync_goes_on() {
    let stage = hurried();
    let set = ["set", "work", "--stale-after", "4s"];
    stage.world.mirrord(set).ok();
    let new = stage.project.commit("main", "b", "b");
    let paused = stage.gitlab.pause(On::LsRefs);
    served(stage.ours(&["fetch"]), "for 4 seconds so far");
    let received = stage.gitlab.requests().len();
    let began = Instant::now();
    for _ in 0..10 {
        served(stage.ours(&["fetch"]), "so far");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(20), "none waits: {took:?}");
    assert_eq!(stage.gitlab.requests().len(), received, "one try for all");
    // Who wants no copy waits.
    let run = stage.ours(&["fetch"]).env("MIRROR_STALE", "fail").start();
    paused.release();
    assert_eq!(run.wait().stderr.matches("warning").count(), 0);
    assert_eq!(stage.rev_parse("ours", "origin/main"), new);
    is_back(|| stage.ours(&["fetch"]));
}

#[test]
fn a_background_sync_that_ends_without_an_answer_is_followed_by_another() {
    let stage = hurried();
    stage.impatient(2);
    let began = Instant::now();
    let first = stage.gitlab.pause(On::LsRefs);
    served(stage.ours(&["fetch"]), SO_FAR);
    stage.world.wait_until_no_sync();
    drop(first);
    let second = stage.gitlab.pause(On::LsRefs);
    served(stage.ours(&["fetch"]), "so far");
    second.reached();
    let new = stage.project.commit("main", "b", "b");
    second.release();
    stage.world.wait_until_no_sync();
    stage.patient();
    let fetched = stage.ours(&["fetch"]).ok();
    let output = fetched.stderr.split_once("in step again after ");
    let output = output.and_then(|(_, rest)| rest.split_once(" second"));
    let seconds: u64 = output.and_then(|(n, _)| n.parse().ok()).expect("a time");
    let silent = 2;
    assert!(
        (silent..=began.elapsed().as_secs() + 1).contains(&seconds),
        "since it was last in step: {fetched}"
    );
    assert_eq!(stage.rev_parse("ours", "origin/main"), new);
}

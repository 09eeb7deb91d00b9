//! Settings that may be secret go to children by a file, which goes with the child.

use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

use rustix::process::Signal;
use tests::{On, Run};

use super::{files_with, lookout::search};
use crate::{
    clone::fill,
    push_pair::{SWEPT, nothing_is_left},
    stage::Stage,
};

/// The files below the mirror's home that have one of these texts.
fn ours(stage: &Stage, canaries: &[String]) -> Vec<String> {
    let with = |text: &String| files_with(&stage.world, text);
    let mut files: Vec<_> = canaries.iter().flat_map(with).collect();
    files.retain(|file| file.starts_with("m/"));
    files.dedup();
    files
}

/// Asserts that no process of ours shows them, and that they are in one file that only its owner can read.
#[track_caller]
fn are_in_one_file(stage: &Stage, canaries: &[String]) {
    let shown = search(canaries);
    assert_eq!(shown, [""; 0], "no child shows them");
    let files = ours(stage, canaries);
    assert_eq!(files.len(), 1, "{files:?}");
    let found = fs::metadata(stage.world.path(&files[0])).expect("there");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_header_and_a_proxy_go_to_children_by_a_file_that_goes_with_the_child() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    let canary = |kind: &str| format!("canary-{kind}-{}", stage.gitlab.host());
    let canaries = ["header", "proxy"].map(canary);
    let of_host = |variable: &str| format!("http.http://other.example/.{variable}");
    let header = format!("Authorization: Bearer {}", canaries[0]);
    world.config(&of_host("extraHeader"), &header);
    let proxy = format!("http://me:{}@proxy.example", canaries[1]);
    world.config(&of_host("proxy"), &proxy);
    stage.clone(&stage.url, "ours").ok();
    // Only git's own client has a use for a cookie file.
    world.config("http.cookieFile", "/dev/null");
    let git = |args: &[&str]| -> Run { world.git(args).at("ours") };

    let paused = stage.gitlab.pause(On::InfoRefs);
    let fetch = git(&["fetch", "-q"]).start();
    paused.reached();
    are_in_one_file(&stage, &canaries);
    paused.release();
    assert!(fetch.wait().status.success());
    assert_eq!(
        ours(&stage, &canaries),
        [""; 0],
        "it is gone with the child"
    );

    let paused = stage.gitlab.pause(On::InfoRefs);
    let fetch = git(&["fetch", "-q"]).start();
    paused.reached();
    world.kill_daemon();
    paused.release();
    fetch.wait();
    git(&["fetch", "-q"]).ok();
    assert_eq!(
        ours(&stage, &canaries),
        [""; 0],
        "the next daemon removes it"
    );

    git(&["commit", "-q", "--allow-empty", "-m", "c"]).ok();
    for is_killed in [false, true] {
        let paused = stage.gitlab.pause(On::PushInfoRefs);
        let push = git(&["push", "-q", "origin", "HEAD:refs/heads/new"]).start();
        paused.reached();
        are_in_one_file(&stage, &canaries);
        if is_killed {
            push.kill_group(Signal::KILL);
        }
        paused.release();
        assert_eq!(push.wait().status.success(), !is_killed);
        if !is_killed {
            nothing_is_left(&world.only_mirror());
            assert_eq!(ours(&stage, &canaries), [""; 0], "it is gone with the push");
        }
        git(&["commit", "-q", "--allow-empty", "-m", "c"]).ok();
    }
    // A child of the killed one may have gone on for a while; the next push removes what it has left.
    let deadline = Instant::now() + SWEPT;
    while !ours(&stage, &canaries).is_empty() {
        assert!(Instant::now() < deadline, "it is gone with the next push");
        git(&["push", "-q", "origin", "HEAD:refs/heads/next"]).ok();
    }
}

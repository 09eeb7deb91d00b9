//! Objects that a partial clone lacks come from the mirror when they are needed, and upstream is not asked.

use tests::{Twins, World};

use crate::clone::fill;
use crate::stage::Stage;

const BLOBLESS: [&str; 2] = ["--filter=blob:none", "--no-checkout"];

/// The options with which git fetches a missing object by itself (`promisor-remote.c`).
const BY_ITSELF: [&str; 2] = ["-c", "fetch.negotiationAlgorithm=noop"];

fn objects(world: &World, twins: &Twins<'_>) -> u32 {
    let counted = world.git(["count-objects", "-v"]).at(twins.ours()).ok();
    let line = counted
        .stdout
        .lines()
        .find(|line| line.starts_with("in-pack"));
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.expect("git says it")
}

#[test]
fn missing_objects_of_a_partial_clone_come_from_the_mirror_and_upstream_is_not_asked() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    for filter in [
        "--filter=blob:none",
        "--filter=tree:0",
        "--filter=blob:limit=5",
    ] {
        let twins = world.clone_twins(&stage.url, &[filter, "--no-checkout"]);
        let before = objects(world, &twins);
        // What upstream has by now is nobody's business.
        stage.project.commit("main", "later", "later");
        stage.gitlab.forget_requests();
        for commit in ["main", "origin/topic", "v1"] {
            world.git(["checkout", "-q", commit]).at(twins.ours()).ok();
        }
        world.git(["log", "-p", "--all"]).at(twins.ours()).ok();
        let received = stage.gitlab.requests();
        assert!(received.is_empty(), "{filter}: {received:?}");
        assert!(objects(world, &twins) > before);
        for commit in ["main", "origin/topic", "v1"] {
            world.git(["checkout", "-q", commit]).at(twins.plain()).ok();
        }
        world.git(["log", "-p", "--all"]).at(twins.plain()).ok();
        twins.same();
        twins.git(&["pull", "-q", "origin", "main"]);
        twins.same();
    }
}

#[test]
fn missing_objects_of_a_partial_clone_come_while_upstream_is_down() {
    let stage = Stage::new(fill);
    let twins = stage.world.clone_twins(&stage.url, &BLOBLESS);
    stage.gitlab.stop();
    let ran = stage
        .world
        .git(["checkout", "-q", "main"])
        .at(twins.ours())
        .ok();
    assert_eq!(ran.stderr, "");
}

#[test]
fn missing_objects_that_the_mirror_lacks_are_fetched_from_upstream() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    let twins = world.clone_twins(&stage.url, &BLOBLESS);
    world.mirrord(["stop"]).ok();
    std::fs::remove_dir_all(world.only_mirror()).expect("ours");
    twins.git(&["checkout", "-q", "topic"]);
    twins.same();
}

#[test]
fn missing_objects_that_the_mirror_has_removed_come_from_upstream() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    let twins = world.clone_twins(&stage.url, &BLOBLESS);
    let old = stage.project.git(["rev-parse", "main"]).ok();
    // The mirror is made anew when nothing leads there any more.
    stage.project.force("main", "topic~1");
    for tag in ["v1", "light", "beside"] {
        stage.project.delete(&format!("refs/tags/{tag}"));
    }
    world.mirrord(["stop"]).ok();
    std::fs::remove_dir_all(world.only_mirror()).expect("ours");
    stage.clone(&stage.url, "anew").ok();
    let has = ["cat-file", "-e", old.line()];
    world.git(has).at(world.only_mirror()).fails();
    let checkout = ["checkout", "-q", old.line()];
    // Whatever goes through mirrors by some rule, this does not.
    world.config("url.mirror::http://.insteadOf", "http://");
    world.git(checkout).at(twins.ours()).ok();
    world
        .git([
            "config",
            "--global",
            "--unset",
            "url.mirror::http://.insteadOf",
        ])
        .ok();
    world.git(checkout).at(twins.plain()).ok();
    twins.same();
}

#[test]
fn an_object_that_neither_mirror_nor_upstream_has_is_an_error() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    let twins = world.clone_twins(&stage.url, &BLOBLESS);
    world.mirrord(["stop"]).ok();
    std::fs::remove_dir_all(world.only_mirror()).expect("ours");
    stage.gitlab.delete_project("group/project");
    let project = stage.gitlab.project("group/project");
    project.commit("main", "other", "other");
    stage.clone(&stage.url, "anew").ok();
    let failed = world
        .git(["checkout", "-q", "main"])
        .at(twins.ours())
        .fails();
    let args = format!(
        "error: neither the mirror nor '{}' has all that is missing here",
        stage.url
    );
    assert!(failed.stderr.lines().any(|line| line == args), "{failed}");
}

#[test]
fn a_fetch_with_the_options_of_a_lazy_fetch_is_not_served_an_old_state() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    let twins = world.clone_twins(&stage.url, &BLOBLESS);
    let fetch = [&BY_ITSELF[..], &["fetch", "-q"]].concat();
    let ours = || world.git(&fetch).at(twins.ours()).run();
    assert_eq!(ours().stderr, "", "nothing is new");
    stage.project.commit("main", "later", "later");
    let output = ours();
    assert_eq!(
        output.stderr,
        format!(
            "error: '{}' has changed since git was told what is there\n\
             hint: the same command again knows of it\n",
            stage.url
        )
    );
    assert_eq!(ours().stderr, "");
    twins.git(&["fetch", "-q"]);
    let tip = twins.git(&["rev-parse", "origin/main"]);
    assert_eq!(
        tip.line(),
        stage.project.git(["rev-parse", "main"]).ok().line()
    );
}

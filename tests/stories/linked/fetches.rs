//! A fetch is handed the packs of the mirror's own syncs, or one that is made for it, and brings what plain git brings.

use std::{collections::BTreeSet, fs, path::PathBuf};

use tests::{Twins, World};

use super::{objects, shared};
use crate::clone::fill;
use crate::stage::Stage;

const OURS: &str = "ours1/repo";

/// A mirror, a clone of it, and its twin. Both keep the smallest pack as one.
fn begin(stage: &Stage) -> Twins<'_> {
    let twins = stage.world.clone_twins(&stage.url, &[]);
    twins.git(&["config", "fetch.unpackLimit", "1"]);
    twins
}

/// The packs that a clone shares with the mirror.
fn packs(world: &World, dir: &str) -> BTreeSet<PathBuf> {
    shared(world, &objects(world, dir)).into_iter().collect()
}

/// Fetches, and returns how many packs the clone shares with the mirror that it did not share before.
#[track_caller]
fn fetched(world: &World, twins: &Twins<'_>, args: &[&str]) -> usize {
    let before = packs(world, OURS);
    twins.git(args);
    twins.same();
    packs(world, OURS).difference(&before).count()
}

#[test]
fn a_clone_that_follows_is_handed_the_pack_of_each_sync() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = begin(&stage);
    for number in 0..3 {
        project.commit("main", "a", &format!("{number}"));
        project.commit("topic", "b", &format!("{number}"));
        assert_eq!(fetched(world, &twins, &["fetch", "-q"]), 1, "{number}");
    }
    let left = super::files(&objects(world, OURS));
    let ending = |file: &PathBuf| file.extension().map(|ending| ending.to_owned());
    let allowed = ["pack", "idx", "rev"].map(|ending| Some(ending.into()));
    assert!(left.iter().all(|file| allowed.contains(&ending(file))));
}

#[test]
fn a_clone_that_is_some_syncs_behind_is_handed_their_packs() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = begin(&stage);
    stage.clone(&stage.url, "other").ok();
    for number in 0..3 {
        project.commit("main", "a", &format!("{number}"));
        world.git(["fetch", "-q"]).at("other").ok();
    }
    assert_eq!(fetched(world, &twins, &["fetch", "-q"]), 3);
}

#[test]
fn a_fetch_of_less_than_a_sync_brought_gets_no_more_than_that() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = begin(&stage);
    project.commit("main", "a", "more");
    project.commit("topic", "b", "more");
    project.annotated_tag("of-topic", "topic");
    let one = ["fetch", "-q", "origin", "main"];
    assert_eq!(fetched(world, &twins, &one), 0);
    let tag = ["rev-parse", "-q", "--verify", "refs/tags/of-topic"];
    twins.git(&tag);
    fetched(world, &twins, &["fetch", "-q"]);
    twins.git(&tag);
}

#[test]
fn new_tags_follow_as_they_do_in_plain_git() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = begin(&stage);
    project.commit("main", "a", "more");
    project.annotated_tag("in-between", "main");
    project.tag("light-in-between", "main");
    project.commit("main", "a", "and more");
    project.annotated_tag("last", "main");
    fetched(world, &twins, &["fetch", "-q"]);
    project.annotated_tag("later", "main~1");
    fetched(world, &twins, &["fetch", "-q"]);
    project.commit("topic", "b", "more");
    project.annotated_tag("with-a-commit", "topic");
    fetched(world, &twins, &["fetch", "-q", "--no-tags"]);
    fetched(world, &twins, &["fetch", "-q", "--tags"]);
}

#[test]
fn branches_that_are_rewritten_deleted_and_made_anew_are_as_in_plain_git() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = begin(&stage);
    stage.clone(&stage.url, "other").ok();
    let in_step = || world.git(["fetch", "-q", "--prune"]).at("other").ok();
    project.commit("topic", "b", "to be lost");
    in_step();
    project.force("refs/heads/topic", "main~2");
    project.commit("topic", "b", "another way");
    in_step();
    fetched(world, &twins, &["fetch", "-q"]);
    project.delete("topic");
    in_step();
    project.branch("topic/under", "main~1");
    project.commit("topic/under", "c", "new");
    in_step();
    project.branch("again", "main~3");
    fetched(world, &twins, &["fetch", "-q", "--prune"]);
}

#[test]
fn a_clone_that_was_put_together_anew_is_still_handed_packs() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = begin(&stage);
    for round in ["1", "2"] {
        project.commit("main", "a", round);
        assert_eq!(fetched(world, &twins, &["fetch", "-q"]), 1);
        twins.git(&["gc", "-q", "--prune=now"]);
        twins.same();
    }
}

#[test]
fn every_worktree_and_every_remote_of_one_project_is_handed_packs() {
    let stage = Stage::new(fill);
    let (world, project, url) = (&stage.world, &stage.project, &stage.url);
    let twins = begin(&stage);
    twins.git(&["remote", "add", "second", &format!("mirror::{url}")]);
    twins.git(&["worktree", "add", "-q", "-b", "beside", "../beside", "main"]);
    project.commit("main", "a", "more");
    assert_eq!(
        fetched(world, &twins, &["-C", "../beside", "fetch", "-q"]),
        1
    );
    project.commit("main", "a", "and more");
    assert_eq!(fetched(world, &twins, &["fetch", "-q", "second"]), 1);
    fetched(world, &twins, &["fetch", "-q", "--all"]);
}

#[test]
fn a_repository_that_was_empty_gets_all_of_it() {
    let stage = Stage::new(fill);
    let (world, url) = (&stage.world, &stage.url);
    let twins = world.twins(&["init", "-q"]);
    twins.git(&["remote", "add", "origin", &format!("mirror::{url}")]);
    for content in ["more", "and more"] {
        twins.git(&["fetch", "-q"]);
        twins.same();
        stage.project.commit("main", "a", content);
    }
}

#[test]
fn a_fetch_gets_the_same_objects_with_every_value_of_mirror_link() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = begin(&stage);
    for choice in ["auto", "hardlink", "copy", "reflink", "off"] {
        project.commit("main", "a", choice);
        project.commit("topic", "b", choice);
        twins.git(&["config", "mirror.link", choice]);
        let linked = fetched(world, &twins, &["fetch", "-q"]);
        let links = matches!(choice, "auto" | "hardlink");
        assert_eq!(linked, usize::from(links), "{choice}");
    }
}

#[test]
fn a_wrong_plan_enters_no_ref_and_the_next_fetch_asks_in_gits_own_words() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = begin(&stage);
    stage.clone(&stage.url, "other").ok();
    project.commit("main", "a", "one");
    world.git(["fetch", "-q"]).at("other").ok();
    project.commit("main", "a", "two");
    world.git(["fetch", "-q"]).at("other").ok();
    // As if the second sync had been added to what the clone has.
    let steps = world.only_mirror().join("steps");
    let text = fs::read_to_string(&steps).expect("there");
    let lines: Vec<&str> = text.lines().collect();
    let [first, one, second, two, "end"] = lines[..] else {
        panic!("two steps of one move: {text}");
    };
    let word = |line: &str, at: usize| line.split(' ').nth(at).expect("there").to_owned();
    let (before, after) = (word(first, 1), word(second, 2));
    let (old, new, name) = (word(one, 1), word(two, 2), word(two, 3));
    let pack = word(second, 3);
    let wrong = format!("step {before} {after} {pack}\nforward {old} {new} {name}\nend\n");
    fs::write(&steps, wrong).expect("ours");
    let tip = world.git(["rev-parse", "origin/main"]).at(OURS).ok();
    let refused = world.git(["fetch", "-q"]).at(OURS).code(1);
    insta::assert_snapshot!(refused.shown(), @"
    error: Could not read [oid]
    fatal: revision walk setup failed
    error: mirror::http://gitlab.example/group/project.git did not send all necessary objects
    ");
    let left = world.git(["rev-parse", "origin/main"]).at(OURS).ok();
    assert_eq!(left.stdout, tip.stdout, "no ref moved");
    fetched(world, &twins, &["fetch", "-q"]);
}

#[test]
fn no_pack_is_put_into_a_repository_with_another_object_format() {
    let world = World::new();
    let gitlab = world.gitlab();
    fill(&gitlab.sha256_project("group/project"));
    let url = gitlab.url("group/project");
    let address = format!("mirror::{url}");
    world.git(["clone", "-q", &address, "whole"]).ok();
    world.git(["init", "-q", "ours"]).ok();
    for options in [&["--depth=1"][..], &[]] {
        let fetch = [&["fetch", "-q"], options, &[&address, "main"]].concat();
        let ran = world.git(fetch).at("ours").fails();
        assert_eq!(
            ran.stderr,
            "fatal: mismatched algorithms: client sha1; server sha256\n"
        );
        assert_eq!(
            super::files(&objects(&world, "ours")),
            [""; 0].map(PathBuf::from)
        );
        assert!(!world.path("ours/.git/shallow").exists());
    }
}

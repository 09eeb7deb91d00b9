//! Two addresses of which one is the other with `.git` behind it: one mirror while upstream answers both alike, and two as
//! soon as it does not.

use tests::{Fault, Project, same_clone};

use crate::{named::small, stage::Stage};

/// Two projects at addresses of which one is the other with `.git` behind it, and upstream redirects neither.
struct Alike {
    stage: Stage,
    /// The one with more behind it.
    other: Project,
    other_url: String,
}

impl Alike {
    /// The other one has the same refs.
    #[track_caller]
    fn new() -> Self {
        let stage = Stage::new(small);
        let other = stage.gitlab.project("group/project.git");
        let from = stage.project.dir().to_string_lossy().into_owned();
        other.git(["fetch", "-q", &from, "+refs/*:refs/*"]).ok();
        let other_url = stage.gitlab.url("group/project.git");
        Self {
            stage,
            other,
            other_url,
        }
    }

    /// Makes a mirror of the first one.
    #[track_caller]
    fn this_is_mirrored(&self) {
        self.stage.clone(&self.stage.url, "first").ok();
    }

    /// Asserts that a clone through the mirror is one of the other project.
    #[track_caller]
    fn other_is_cloned(&self, dir: &str) {
        let plain = format!("{dir}-plain");
        let world = &self.stage.world;
        self.stage.clone(&self.other_url, dir).ok();
        world.git(["clone", "-q", &self.other_url, &plain]).ok();
        same_clone(world, &world.path(dir), &world.path(&plain));
    }
}

#[test]
fn two_addresses_that_upstream_answers_alike_are_one_mirror() {
    let alike = Alike::new();
    alike.this_is_mirrored();
    let Alike {
        stage, other_url, ..
    } = alike;
    let names = stage.names();
    stage.gitlab.forget_requests();
    stage.clone(&other_url, "ours").ok();
    stage.fetch("ours").ok();
    assert_eq!(stage.names(), names);
    assert!(
        !stage.was_asked_for_objects(),
        "nothing is downloaded twice"
    );
}

#[test]
fn objects_that_a_mirror_with_a_name_has_are_not_downloaded_for_another_address() {
    let alike = Alike::new();
    let stage = &alike.stage;
    stage.add("work", &[]).ok();
    let ours = stage.project.commit("main", "ours", "only here");
    stage.mirrord(&["sync", "work"]).ok();
    alike.other.branch("more", "main");
    stage.gitlab.forget_requests();
    stage.clone(&alike.other_url, "theirs").ok();
    assert!(!stage.was_asked_for_objects(), "all of it is here");
    alike.other_is_cloned("other");
    for dir in ["theirs", "other"] {
        stage.world.git(["fsck"]).at(dir).ok();
        let has_ours = ["cat-file", "-e", &ours];
        stage.world.git(has_ours).at(dir).fails();
    }
}

#[test]
fn two_projects_with_such_addresses_never_share_a_directory() {
    let alike = Alike::new();
    alike
        .other
        .commit("main", "theirs", "a fork goes its own way");
    alike.this_is_mirrored();
    alike.other_is_cloned("other");
    let stage = &alike.stage;
    assert_eq!(stage.names().len(), 2);
    stage.clone(&stage.url, "ours").ok();
    assert_eq!(
        Some(stage.rev_parse("ours", "HEAD")),
        stage.project.tip("main")
    );
}

#[test]
fn two_projects_that_part_later_part_here_too() {
    let alike = Alike::new();
    let stage = &alike.stage;
    alike.this_is_mirrored();
    stage.clone(&alike.other_url, "theirs").ok();
    stage.clone(&stage.url, "ours").ok();
    let theirs = alike.other.commit("main", "theirs", "theirs");
    stage.fetch("theirs").ok();
    assert_eq!(stage.rev_parse("theirs", "origin/main"), theirs);
    let ours = stage.project.commit("main", "ours", "ours");
    for dir in ["theirs", "ours"] {
        stage.fetch(dir).ok();
    }
    assert_eq!(stage.rev_parse("theirs", "origin/main"), theirs);
    assert_eq!(stage.rev_parse("ours", "origin/main"), ours);
    stage
        .world
        .git(["cat-file", "-e", &theirs])
        .at("ours")
        .fails();
    assert_eq!(stage.names().len(), 2);
}

#[test]
fn a_push_to_one_of_two_that_are_alike_goes_where_it_was_sent() {
    let alike = Alike::new();
    let stage = &alike.stage;
    alike.this_is_mirrored();
    stage.clone(&alike.other_url, "theirs").ok();
    let before = stage.project.tip("main");
    let mine = stage.commit("theirs", "mine");
    stage.push("theirs", &["main"]).ok();
    assert_eq!(alike.other.tip("main"), Some(mine), "it is there");
    assert_eq!(
        stage.project.tip("main"),
        before,
        "and not at the other one"
    );
    stage.fetch("theirs").ok();
}

#[test]
fn two_that_differ_in_what_is_not_tracked_are_two() {
    let alike = Alike::new();
    alike.this_is_mirrored();
    alike.other.branch("only-theirs", "main");
    alike.other_is_cloned("other");
}

#[test]
fn two_that_differ_in_their_head_are_two() {
    let alike = Alike::new();
    alike.this_is_mirrored();
    alike.other.set_head("topic");
    alike.other_is_cloned("other");
}

#[test]
fn two_empty_projects_are_two() {
    let stage = Stage::new(small);
    stage.gitlab.project("group/empty");
    let other = stage.gitlab.project("group/empty.git");
    stage.clone(&stage.gitlab.url("group/empty"), "one").ok();
    stage
        .clone(&stage.gitlab.url("group/empty.git"), "two")
        .ok();
    assert_eq!(stage.names().len(), 2);
    let first = other.commit("main", "a", "a");
    stage.fetch("two").ok();
    assert_eq!(stage.rev_parse("two", "origin/main"), first);
    stage.fetch("one").ok();
    stage
        .world
        .git(["cat-file", "-e", &first])
        .at("one")
        .fails();
}

#[test]
fn who_may_not_read_one_spelling_is_not_answered_from_the_other() {
    let alike = Alike::new();
    let stage = &alike.stage;
    alike.this_is_mirrored();
    stage
        .gitlab
        .require_login("group/project.git", "me", "right");
    stage.clone(&alike.other_url, "theirs").code(128);
    stage.gitlab.stop();
    let ran = stage.clone(&alike.other_url, "theirs").code(128);
    insta::assert_snapshot!(ran.shown(), @"error: cannot reach 'http://gitlab.example/group/project.git.git': connection refused");
}

#[test]
fn an_address_nearby_that_does_not_answer_keeps_nobody_from_the_other() {
    let alike = Alike::new();
    let stage = &alike.stage;
    alike.this_is_mirrored();
    for status in [404, 500] {
        stage
            .gitlab
            .fault(Fault::status(status).project("group/project"));
        alike.other_is_cloned(&format!("other-{status}"));
        stage.gitlab.clear_faults();
        let names = stage.names();
        assert_eq!(names.len(), 2, "{names:?}");
        stage.mirrord(&["remove", &alike.other_url]).ok();
    }
}

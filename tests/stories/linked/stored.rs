//! What lies in the client's repository afterwards is what the client has asked for: loose objects or a pack, with or
//! without tags, and nothing that it borrows from another repository.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tests::{Project, Ran, Twins, World};

use super::{is_linked, is_not_linked, shared};
use crate::clone::fill;
use crate::stage::Stage;

const OURS: &str = "ours1/repo";

/// A line of `git count-objects -v`, as a number.
fn number(counted: &Ran, key: &str) -> u32 {
    let line = counted.stdout.lines().find(|line| line.starts_with(key));
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.expect("git says it")
}

/// The loose objects and the packs of a repository.
fn stored(world: &World, dir: &Path) -> (u32, u32) {
    let counted = world.git(["count-objects", "-v"]).at(dir).ok();
    (number(&counted, "count:"), number(&counted, "packs:"))
}

/// Runs git in both. Asserts that they are alike then, and that both have got as many loose objects and packs; returns how
/// many.
#[track_caller]
fn grows(world: &World, twins: &Twins<'_>, args: &[&str], what: &str) -> (u32, u32) {
    let both = || [twins.ours(), twins.plain()].map(|dir| stored(world, dir));
    let before = both();
    twins.git(args);
    twins.same();
    let after = both();
    let [ours, plain] = [0, 1].map(|at| (after[at].0 - before[at].0, after[at].1 - before[at].1));
    assert_eq!(ours, plain, "loose objects and packs, {what}");
    ours
}

/// Asserts that the two have the same objects, also those that no ref reaches.
#[track_caller]
fn same_objects(world: &World, twins: &Twins<'_>) {
    let all = [
        "cat-file",
        "--batch-all-objects",
        "--batch-check=%(objectname) %(objecttype)",
    ];
    let list = |dir: &Path| world.git(all).at(dir).ok().stdout;
    assert_eq!(list(twins.ours()), list(twins.plain()), "the same objects");
}

fn one_commit(project: &Project, content: &str) {
    project.commit("main", "a", content);
}

const FETCH: [&str; 2] = ["fetch", "-q"];

#[test]
fn a_small_fetch_is_unpacked_and_a_large_one_kept_as_a_pack_as_by_plain_git() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = world.clone_twins(&stage.url, &[]);
    one_commit(project, "small");
    let (loose, packs) = grows(world, &twins, &FETCH, "a small fetch");
    assert!(loose > 0 && packs == 0, "{loose} {packs}");
    project.history(40);
    project.annotated_tag("large", "main");
    let before = shared(world, &super::objects(world, OURS)).len();
    assert_eq!(grows(world, &twins, &FETCH, "a large one"), (0, 1));
    let after = shared(world, &super::objects(world, OURS)).len();
    assert_eq!(after, before + 1, "it is linked");
    same_objects(world, &twins);
}

#[test]
fn the_limits_of_the_client_are_obeyed_as_by_plain_git() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let cases: [(&[&str], &[&str]); 7] = [
        (&["fetch.unpackLimit=1"], &[]),
        (&["transfer.unpackLimit=1"], &[]),
        (&["fetch.unpackLimit=10000", "transfer.unpackLimit=1"], &[]),
        (&["fetch.unpackLimit=1", "transfer.unpackLimit=10000"], &[]),
        (&["fetch.unpackLimit=-1", "transfer.unpackLimit=1"], &[]),
        (&["fetch.unpackLimit=0"], &[]),
        (&[], &["--keep"]),
    ];
    let twins = world.clone_twins(&stage.url, &[]);
    for (settings, options) in cases {
        let settings: Vec<_> = settings
            .iter()
            .flat_map(|setting| ["-c", setting])
            .collect();
        let fetch = [&settings, &FETCH[..], options].concat();
        for large in [false, true] {
            match large {
                false => one_commit(project, &format!("{fetch:?}")),
                true => drop(project.history(40)),
            }
            grows(world, &twins, &fetch, &format!("{fetch:?}"));
        }
    }
}

#[test]
fn a_limit_that_is_none_is_gits_own_error() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    let twins = world.clone_twins(&stage.url, &[]);
    one_commit(&stage.project, "more");
    let many = ["-c", "fetch.unpackLimit=many", "fetch", "-q"];
    let refused = world.git(many).at(OURS).fails();
    assert!(
        refused.stderr.contains("bad numeric config value 'many'"),
        "{refused}"
    );
    let thousand = ["-c", "fetch.unpackLimit=1k", "fetch", "-q"];
    assert_eq!(grows(world, &twins, &thousand, "1k").1, 0);
}

#[test]
fn a_clone_that_follows_has_no_more_packs_after_many_fetches() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let twins = world.clone_twins(&stage.url, &[]);
    twins.git(&["config", "gc.autoPackLimit", "3"]);
    twins.git(&["config", "gc.autoDetach", "false"]);
    for number in 0..6 {
        one_commit(project, &format!("{number}"));
        assert_eq!(grows(world, &twins, &FETCH, "a fetch").1, 0);
    }
    is_linked(world, OURS);
}

#[test]
fn many_small_syncs_that_are_fetched_at_once_become_one_pack() {
    let stage = Stage::new(|project| [60, 30].map(|count| project.history(count)));
    let (world, project) = (&stage.world, &stage.project);
    let twins = world.clone_twins(&stage.url, &[]);
    stage.clone(&stage.url, "other").ok();
    for _ in 0..4 {
        // Commits, and few trees that were not there before.
        project.history(30);
        stage.fetch("other").ok();
    }
    assert_eq!(
        grows(world, &twins, &FETCH, "a fetch of four syncs"),
        (0, 1)
    );
    same_objects(world, &twins);
}

#[test]
fn without_tags_no_tag_object_arrives() {
    let stage = Stage::new(fill);
    let (world, project) = (&stage.world, &stage.project);
    let first = world.clone_twins(&stage.url, &["--no-tags"]);
    same_objects(world, &first);
    // The second clone is handed what was made for the first.
    same_objects(world, &world.clone_twins(&stage.url, &["--no-tags"]));
    let whole = world.clone_twins(&stage.url, &[]);
    let change = |name: &str| {
        project.commit("main", "a", name);
        project.annotated_tag(name, "main");
    };
    change("new");
    first.git(&FETCH);
    same_objects(world, &first);
    whole.git(&["fetch", "-q", "--no-tags"]);
    same_objects(world, &whole);
    change("newer");
    whole.git(&["config", "remote.origin.tagOpt", "--no-tags"]);
    whole.git(&FETCH);
    same_objects(world, &whole);
}

#[test]
fn a_project_without_tags_is_linked_without_tags_too() {
    let stage = Stage::new(|project| project.history(3));
    stage.world.clone_twins(&stage.url, &["--no-tags"]);
    is_linked(&stage.world, OURS);
}

#[test]
fn a_clone_with_a_reference_takes_only_what_that_lacks() {
    let stage = Stage::new(fill);
    let (world, project, url) = (&stage.world, &stage.project, &stage.url);
    world.git(["clone", "-q", "--mirror", url, "other"]).ok();
    let reference = format!("--reference={}", world.path("other").display());
    let mut last = None;
    for content in ["all of it is there", "one commit is not"] {
        let twins = world.clone_twins(url, &[&reference]);
        let [ours, plain] = [twins.ours(), twins.plain()].map(|dir| stored(world, dir));
        assert_eq!(ours, plain, "{content}");
        is_not_linked(world, &twins.ours().to_string_lossy());
        project.commit("main", "a", content);
        last = Some(twins);
    }
    world.git(FETCH).at("other").ok();
    // Its own refs do not say that it has this already.
    let twins = last.expect("two were made");
    assert_eq!(grows(world, &twins, &FETCH, "all of it is there"), (0, 0));
}

#[test]
fn what_git_fetches_from_the_mirror_is_locked_no_longer_than_by_plain_git() {
    let stage = Stage::new(|project| project.history(60));
    let (world, project) = (&stage.world, &stage.project);
    project.config("uploadpack.allowFilter", "true");
    // Where nothing can be linked, git fetches from the mirror by itself.
    world.config("mirror.link", "reflink");
    let unlocked = |twins: &Twins<'_>| {
        let files = super::files(&super::objects(world, &twins.ours().to_string_lossy()));
        let is_lock = |file: &PathBuf| file.extension().is_some_and(|ending| ending == "keep");
        assert!(!files.iter().any(is_lock), "{files:?}");
    };
    let whole = world.clone_twins(&stage.url, &[]);
    let [ours, plain] = [whole.ours(), whole.plain()].map(|dir| stored(world, dir));
    assert_eq!(ours, plain);
    project.history(120);
    assert_eq!(grows(world, &whole, &FETCH, "a fetch"), (0, 1));
    unlocked(&whole);
    let partial = world.clone_twins(&stage.url, &["--filter=blob:none", "--no-checkout"]);
    partial.git(&["checkout", "-q", "main"]);
    partial.same();
    unlocked(&partial);
}

#[test]
fn a_partial_clone_writes_down_what_was_wanted_as_by_plain_git() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    stage.clone(&stage.url, "first").ok();
    for options in [&["--bare"][..], &["--bare", "--branch=topic"]] {
        let twins = world.clone_twins(&stage.url, &[&["--filter=blob:none"], options].concat());
        let [ours, plain] = [twins.ours(), twins.plain()].map(|dir| {
            let files = super::files(&dir.join("objects"));
            let is_promisor = |file: &&PathBuf| file.extension() == Some("promisor".as_ref());
            let file = files.iter().find(is_promisor).expect("it has one");
            let text = fs::read_to_string(file).expect("it is text");
            text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
        });
        assert_eq!(ours, plain, "{options:?}");
    }
}

#[test]
fn a_fetch_with_negotiation_tips_says_what_plain_git_says() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    let twins = world.clone_twins(&stage.url, &[]);
    for tips in [
        &["--negotiation-tip=origin/topic"][..],
        &["--negotiation-tip", "origin/*"],
    ] {
        one_commit(&stage.project, &format!("{tips:?}"));
        grows(
            world,
            &twins,
            &[&FETCH, tips].concat(),
            &format!("{tips:?}"),
        );
    }
}

#[test]
fn a_clone_that_asks_for_bundles_says_what_plain_git_says() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    world.config("transfer.bundleURI", "true");
    let twins = world.clone_twins(&stage.url, &[]);
    let ran = stage.clone(&stage.url, "another").ok();
    assert_eq!(ran.stderr, "");
    one_commit(&stage.project, "more");
    grows(world, &twins, &FETCH, "a fetch");
}

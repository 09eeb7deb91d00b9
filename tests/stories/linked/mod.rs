//! A clone is handed the mirror's own packs, is what a plain one would be, and neither can hurt the other.

mod choices;
mod damaged;
mod fetches;
mod left_out;
mod overwritten;
mod parts;
mod random;
mod reftable;
mod stopped;
mod stored;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use common::packs::stamps::{Stamp, Stamps};
use tests::{World, same_clone};

use crate::clone::fill;
use crate::passing_through::mirror_is_made;
use crate::stage::Stage;

/// How long the daemon may take for what nobody waits for.
pub(crate) const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The packs, indexes and the like of a repository, by their names.
fn files(objects: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(objects.join("pack")).expect("it is a repository");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("there").path()).collect();
    files.sort();
    files
}

/// Makes it look as if nobody had touched a mirror's packs, as when a disk loses a bit.
pub(crate) fn as_if_untouched(mirror: &Path) {
    let stamps = Stamps::lock(mirror, EVENT_TIMEOUT);
    let mut stamps = stamps.expect("nobody keeps it");
    for file in files(&mirror.join("objects")) {
        stamps.record(&file, Stamp::of(&fs::metadata(&file).expect("there")));
    }
}

fn inode(file: &PathBuf) -> u64 {
    fs::metadata(file).expect("there").ino()
}

/// The packs of a clone that are the same files as the mirror's.
fn shared(world: &World, objects: &Path) -> Vec<PathBuf> {
    let mirrors = files(&world.only_mirror().join("objects"));
    let mirrors: Vec<_> = mirrors.iter().map(inode).collect();
    let is_pack = |file: &PathBuf| file.extension() == Some("pack".as_ref());
    let mut files = files(objects);
    files.retain(|file| is_pack(file) && mirrors.contains(&inode(file)));
    files
}

/// The objects of a clone.
fn objects(world: &World, dir: &str) -> PathBuf {
    let found = world.git(["rev-parse", "--git-path", "objects"]).at(dir);
    world.path(dir).join(found.ok().line())
}

/// Asserts that a clone was handed packs, and that nothing else is left of that.
#[track_caller]
fn is_linked(world: &World, dir: &str) {
    let objects = objects(world, dir);
    let shared = shared(world, &objects);
    assert!(!shared.is_empty(), "{dir} shares no file with the mirror");
    for file in files(&objects) {
        let mode = fs::metadata(&file).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o444, "{}", file.display());
        let ending = file.extension().and_then(|ending| ending.to_str());
        assert!(
            matches!(ending, Some("pack" | "idx" | "rev")),
            "'{}' is left over",
            file.display()
        );
    }
}

#[track_caller]
fn is_not_linked(world: &World, dir: &str) {
    let shared = shared(world, &objects(world, dir));
    assert!(shared.is_empty(), "{dir} shares {shared:?}");
}

#[test]
fn every_kind_of_clone_of_the_whole_is_handed_the_packs_and_is_like_a_plain_one() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    let kinds: [&[&str]; 9] = [
        &[],
        &["--bare"],
        &["--mirror"],
        &["--branch", "topic"],
        &["--branch", "v1"],
        &["--sparse"],
        &["--ref-format=reftable"],
        &["--origin", "gitlab", "--no-checkout"],
        &["--config=protocol.version=0"],
    ];
    for (number, options) in kinds.iter().enumerate() {
        let twins = world.clone_twins(url, options);
        let dir = format!("ours{}/repo", number + 1);
        assert_eq!(twins.ours(), world.path(&dir));
        is_linked(world, &dir);
    }
}

#[test]
fn a_clone_that_is_cut_loose_from_what_it_borrowed_is_whole() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    world.git(["clone", "-q", "--bare", url, "other.git"]).ok();
    let other = world.path("other.git");
    let reference = format!("--reference={}", other.display());
    let twins = world.clone_twins(url, &[&reference, "--dissociate"]);
    fs::remove_dir_all(other).expect("the world is ours");
    twins.same();
}

#[test]
fn a_clone_whose_repository_lies_elsewhere_is_handed_the_packs() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    let apart = world.path("apart");
    let apart = format!("--separate-git-dir={}", apart.display());
    stage.clone(&stage.url, "ours").arg(&apart).ok();
    world.git(["clone", "-q", url, "plain"]).ok();
    same_clone(world, &world.path("ours"), &world.path("plain"));
    is_linked(world, "ours");
}

#[test]
fn a_clone_of_a_sha256_project_is_handed_the_packs() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.sha256_project("group/project");
    fill(&project);
    let url = gitlab.url("group/project");
    world.clone_twins(&url, &[]);
    is_linked(&world, "ours1/repo");
    project.commit("main", "more", "more");
    world.clone_twins(&url, &[]);
    is_linked(&world, "ours2/repo");
}

#[test]
fn a_clone_after_many_changes_has_what_upstream_has_now() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    stage.clone(&stage.url, "first").ok();
    let steps: [&dyn Fn(); 4] = [
        &|| drop(stage.project.commit("main", "more", "more")),
        &|| stage.project.force("topic", "main"),
        &|| drop(stage.project.annotated_tag("v2", "main")),
        &|| stage.project.delete("topic"),
    ];
    for (number, step) in steps.iter().enumerate() {
        step();
        world.clone_twins(url, &[]);
        is_linked(world, &format!("ours{}/repo", number + 1));
        world.clone_twins(url, &["--mirror"]);
    }
}

#[test]
fn a_clone_of_a_part_is_not_handed_the_whole() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    let parts: [&[&str]; 4] = [
        &["--single-branch", "--branch", "topic"],
        &["--single-branch", "--no-tags"],
        &["--depth=1"],
        &["--filter=blob:none", "--no-checkout"],
    ];
    for (number, options) in parts.iter().enumerate() {
        world.clone_twins(url, options);
        // The first of them is passed through, and the mirror is made after it.
        mirror_is_made(world);
        let dir = format!("ours{}/repo", number + 1);
        is_not_linked(world, &dir);
        let count = |dir: &str| {
            let counted = world.git(["count-objects", "-v"]).at(dir).ok();
            let of = |key: &str| {
                let line = counted.stdout.lines().find(|line| line.starts_with(key));
                let number = line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok());
                number.expect("git says it")
            };
            of("count:") + of("in-pack:")
        };
        let plain = dir.replace("ours", "plain");
        assert_eq!(count(&dir), count(&plain), "{options:?}");
    }
}

#[test]
fn a_clone_with_transfer_fsck_objects_is_sent_its_objects_by_git() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    for (number, key) in ["fetch.fsckObjects", "transfer.fsckObjects"]
        .iter()
        .enumerate()
    {
        let config = format!("--config={key}=true");
        let dir = format!("clone{number}");
        stage.clone(&stage.url, &dir).arg(config).ok();
        is_not_linked(world, &dir);
    }
    let config = [
        "--config=transfer.fsckObjects=true",
        "--config=fetch.fsckObjects=false",
    ];
    stage.clone(&stage.url, "without").args(config).ok();
    is_linked(world, "without");
}

#[test]
fn a_fetch_into_a_repository_without_anything_brings_no_more_than_plain_git() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    let twins = world.twins(&["init", "-q"]);
    twins.git(&["remote", "add", "origin", &format!("mirror::{url}")]);
    twins.git(&["fetch", "-q"]);
    twins.same();
    let one = world.twins(&["init", "-q"]);
    one.git(&["fetch", "-q", &format!("mirror::{url}"), "topic:theirs"]);
    one.same();
}

#[test]
fn a_clone_outlives_its_mirror_and_a_mirror_its_clones() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    world.git(["clone", "-q", url, "plain"]).ok();
    for dir in ["one", "two"] {
        stage.clone(&stage.url, dir).ok();
        is_linked(world, dir);
    }
    let gc = ["gc", "-q", "--prune=now"];
    world.git(gc).at("one").ok();
    fs::remove_dir_all(world.path("one")).expect("the world is ours");
    stage.clone(&stage.url, "three").ok();
    same_clone(world, &world.path("three"), &world.path("plain"));
    let whole = ["fsck", "--full", "--strict"];
    world.git(whole).env("GIT_DIR", world.only_mirror()).ok();
    world.mirrord(["remove", url]).ok();
    for dir in ["two", "three"] {
        same_clone(world, &world.path(dir), &world.path("plain"));
        world.git(gc).at(dir).ok();
        same_clone(world, &world.path(dir), &world.path("plain"));
    }
}

/// A mirror that has a branch of its own, pushed from one clone, and another clone that was handed its packs.
fn with_an_idea() -> Stage {
    let stage = Stage::new(fill);
    let world = &stage.world;
    let track = ["--track", "+refs/heads/main"];
    world.mirrord(["add", "work", &stage.url]).args(track).ok();
    world.git(["clone", "-q", "mirror::work", "ours"]).ok();
    stage
        .ours(&["commit", "-q", "--allow-empty", "-m", "mine"])
        .ok();
    stage.ours(&["push", "-q", "origin", "HEAD:idea"]).ok();
    world.git(["clone", "-q", "mirror::work", "theirs"]).ok();
    is_linked(world, "theirs");
    stage
}

#[test]
fn local_branches_are_copied_and_never_shared() {
    let stage = with_an_idea();
    let world = &stage.world;
    let mirrors = files(&world.only_mirror().join("objects"));
    let kept: Vec<_> = mirrors
        .iter()
        .filter(|file| file.with_extension("keep").exists())
        .filter(|file| file.extension() == Some("pack".as_ref()))
        .collect();
    assert!(!kept.is_empty());
    for file in kept {
        assert_eq!(fs::metadata(file).expect("there").nlink(), 1);
        let theirs = objects(world, "theirs").join("pack");
        let copy = theirs.join(file.file_name().expect("it has one"));
        assert_eq!(
            fs::read(copy).expect("there"),
            fs::read(file).expect("there")
        );
    }
    let idea = world.git(["rev-parse", "origin/idea"]).at("theirs").ok();
    let mine = stage.ours(&["rev-parse", "HEAD"]).ok();
    assert_eq!(idea.line(), mine.line());
}

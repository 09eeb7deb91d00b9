//! Writing into the files of one clone changes no clone that is made afterwards.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    thread::yield_now,
    time::Instant,
};

use common::packs::stamps::Stamps;
use serde_json::Value;
use tests::{World, same_clone};

use super::{EVENT_TIMEOUT, as_if_untouched, files, is_linked, objects};
use crate::clone::fill;
use crate::stage::Stage;

/// Writes into each file of this ending that a clone shares with the mirror, and puts its time back.
fn overwrite(world: &World, dir: &str, ending: &str) {
    let mut found = files(&objects(world, dir));
    found.retain(|file| file.extension() == Some(ending.as_ref()));
    assert!(!found.is_empty(), "{dir} has a {ending}");
    found.iter().for_each(|file| flip(file));
}

pub(super) fn flip(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o644)).expect("ours");
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("ours");
    let before = file.metadata().expect("ours");
    let (at, mut byte) = (before.len() / 2, [0]);
    file.read_exact_at(&mut byte, at).expect("ours");
    file.write_all_at(&[!byte[0]], at).expect("ours");
    file.set_modified(before.modified().expect("known"))
        .expect("ours");
    fs::set_permissions(path, Permissions::from_mode(0o444)).expect("ours");
}

/// A project of which there are a mirror, a clone through it and a plain one.
fn stage() -> Stage {
    let stage = Stage::new(fill);
    stage.clone(&stage.url, "agent").ok();
    is_linked(&stage.world, "agent");
    stage.world.git(["clone", "-q", &stage.url, "plain"]).ok();
    stage
}

#[track_caller]
fn is_like_plain(stage: &Stage, dir: &str) {
    let world = &stage.world;
    same_clone(world, &world.path(dir), &world.path("plain"));
    world.git(["fsck", "--full", "--strict"]).at(dir).ok();
}

/// Waits until the mirror hands out its packs again.
#[track_caller]
fn is_verified(world: &World) {
    let mirror = world.only_mirror();
    let deadline = Instant::now() + EVENT_TIMEOUT;
    let is_complete = || {
        let text = fs::read_to_string(mirror.join("verified"));
        text.is_ok_and(|text| text.starts_with("complete\n")) && !mirror.join("damage").exists()
    };
    while !is_complete() {
        assert!(Instant::now() < deadline, "never verified: {}", world.log());
        yield_now();
    }
}

#[test]
fn who_writes_into_a_clone_and_puts_the_time_back_changes_no_other_and_the_next_is_told_which_file()
{
    for ending in ["pack", "idx"] {
        let stage = stage();
        let world = &stage.world;
        overwrite(world, "agent", ending);
        for (at, link) in ["auto", "hardlink", "copy"].into_iter().enumerate() {
            let dir = format!("{link}-{ending}");
            world.config("mirror.link", link);
            let cloned = stage.clone(&stage.url, &dir).ok();
            is_like_plain(&stage, &dir);
            let warning = format!(".{ending}' of this mirror was changed at 20");
            let is_told = cloned.stderr.contains(&warning);
            assert_eq!(is_told, at == 0, "it is told once: {cloned}");
            is_verified(world);
        }
        world.config("mirror.link", "auto");
        stage.clone(&stage.url, "linked").ok();
        is_linked(world, "linked");
        let name = format!(".{ending}' of ");
        let status = world.mirrord(["status"]).ok().stdout;
        assert!(status.contains(&name), "{status}");
        let status = world.mirrord(["status", "--json"]).ok().stdout;
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let changed = &status["states"][0]["changed_files"][0]["name"];
        assert!(changed.as_str().is_some_and(|name| name.ends_with(ending)));
        let log = world.mirrord(["log"]).ok().stdout;
        assert!(log.contains(&name) && log.contains("  repair "), "{log}");
    }
}

#[test]
fn a_file_that_is_overwritten_after_the_daemon_has_checked_it_is_fetched_again() {
    let stage = stage();
    let world = &stage.world;
    // Between the two, the helper waits for whoever has the record of what was touched.
    let lock = Stamps::lock(&world.only_mirror(), EVENT_TIMEOUT).expect("nobody keeps it");
    let running = stage.clone(&stage.url, "ours").start();
    let deadline = Instant::now() + EVENT_TIMEOUT;
    while !world.path("ours/.git/objects").exists() {
        assert!(Instant::now() < deadline, "git never begins");
        yield_now();
    }
    overwrite(world, "agent", "pack");
    drop(lock);
    let ran = running.wait();
    assert!(ran.status.success(), "{ran}");
    is_like_plain(&stage, "ours");
}

#[test]
fn clones_that_are_removed_cost_no_more_than_a_hash() {
    let stage = stage();
    let world = &stage.world;
    for _ in 0..2 {
        fs::remove_dir_all(world.path("agent")).expect("ours");
        let cloned = stage.clone(&stage.url, "agent").ok();
        is_linked(world, "agent");
        insta::allow_duplicates! {
            insta::assert_snapshot!(cloned.shown(), @"");
        }
    }
    let log = world.mirrord(["log"]).ok().stdout;
    assert!(!log.contains("repair"), "{log}");
}

#[test]
fn after_a_complaint_of_git_the_next_clone_works_whatever_the_ctime_says() {
    for ending in ["idx", "pack"] {
        let stage = stage();
        let world = &stage.world;
        let mirror = world.only_mirror();
        // Nobody shares it, and nobody touches it.
        fs::remove_dir_all(world.path("agent")).expect("ours");
        world.mirrord(["stop"]).ok();
        for file in files(&mirror.join("objects")) {
            if file.extension() == Some(ending.as_ref()) {
                flip(&file);
            }
        }
        as_if_untouched(&mirror);
        world.config("mirror.link", "off");
        let first = stage.clone(&stage.url, "first").run();
        if !first.status.success() || first.stderr.contains("error: ") {
            assert!(first.stderr.contains("run it again"), "{first}");
            stage.clone(&stage.url, "second").ok();
            is_like_plain(&stage, "second");
            let log = world.log();
            assert!(
                log.contains("git complains of the objects"),
                "{first} {log}"
            );
        }
    }
}

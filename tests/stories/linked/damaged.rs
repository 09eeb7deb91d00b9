//! A mirror that is not what was verified hands out nothing.

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
};

use tests::same_clone;

use super::{EVENT_TIMEOUT, files, is_linked, is_not_linked, objects, shared};
use crate::clone::fill;
use crate::stage::Stage;

fn flip(file: &Path) {
    fs::set_permissions(file, Permissions::from_mode(0o644)).expect("ours");
    let open = OpenOptions::new().read(true).write(true).open(file);
    let open = open.expect("ours");
    let middle = open.metadata().expect("ours").len() / 2;
    let mut byte = [0];
    open.read_exact_at(&mut byte, middle).expect("ours");
    open.write_all_at(&[!byte[0]], middle).expect("ours");
}

fn truncate(file: &Path) {
    fs::set_permissions(file, Permissions::from_mode(0o644)).expect("ours");
    let open = OpenOptions::new().write(true).open(file).expect("ours");
    let length = open.metadata().expect("ours").len();
    open.set_len(length / 2).expect("ours");
}

fn remove(file: &Path) {
    fs::remove_file(file).expect("ours");
}

#[test]
fn a_mirror_with_a_damaged_pack_hands_out_none() {
    for (what, harm) in [
        ("flipped", flip as fn(&Path)),
        ("truncated", truncate),
        ("removed", remove),
    ] {
        for ending in ["pack", "idx"] {
            let stage = Stage::new(fill);
            let world = &stage.world;
            stage.clone(&stage.url, "before").ok();
            is_linked(world, "before");
            // Its own inode again, so that the harm is the mirror's alone.
            fs::remove_dir_all(world.path("before")).expect("ours");
            let mirror = files(&world.only_mirror().join("objects"));
            let file = mirror
                .iter()
                .find(|file| file.extension() == Some(ending.as_ref()))
                .expect("it has one");
            harm(file);
            let after = stage.clone(&stage.url, "after").run();
            if after.status.success() {
                if !shared(world, &objects(world, "after")).is_empty() {
                    // Then it was mended just in time.
                    let deadline = std::time::Instant::now() + EVENT_TIMEOUT;
                    while !world.log().contains("is whole again") {
                        assert!(std::time::Instant::now() < deadline, "never mended");
                        std::thread::yield_now();
                    }
                }
                world.git(["fsck", "--full", "--strict"]).at("after").ok();
                let plain = ["clone", "-q", &stage.url, "plain"];
                world.git(plain).ok();
                same_clone(world, &world.path("after"), &world.path("plain"));
            } else {
                assert!(!world.path("after").exists(), "{what} {ending}: {after}");
            }
        }
    }
}

#[test]
fn a_pack_without_a_record_is_verified_and_then_handed_out() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    stage.clone(&stage.url, "first").ok();
    fs::remove_file(world.only_mirror().join("verified")).expect("there");
    // By whatever way, as far as that has come.
    stage.clone(&stage.url, "second").ok();
    let deadline = std::time::Instant::now() + EVENT_TIMEOUT;
    let record = world.only_mirror().join("verified");
    while !fs::read_to_string(&record).is_ok_and(|text| text.starts_with("complete\n")) {
        assert!(std::time::Instant::now() < deadline, "never verified");
        std::thread::yield_now();
    }
    stage.clone(&stage.url, "third").ok();
    is_linked(world, "third");
}

#[test]
fn a_pack_that_is_a_link_to_somewhere_else_is_not_handed_out() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    stage.clone(&stage.url, "first").ok();
    let mirror = files(&world.only_mirror().join("objects"));
    for file in mirror {
        let elsewhere = world.path(file.file_name().expect("it has one"));
        fs::rename(&file, &elsewhere).expect("ours");
        std::os::unix::fs::symlink(&elsewhere, &file).expect("ours");
    }
    stage.clone(&stage.url, "second").ok();
    for file in files(&objects(world, "second")) {
        let found = fs::symlink_metadata(&file).expect("there");
        assert!(found.is_file(), "'{}' is a file", file.display());
    }
    is_not_linked(world, "second");
}

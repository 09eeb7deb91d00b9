//! Clones of a part are handed a pack of that part, which is made once, and have what plain git gives.

use std::{collections::BTreeSet, fs, path::PathBuf};

use tests::{Project, Twins, World};

use super::{files, inode, is_linked, is_not_linked, objects, overwritten::flip};
use crate::clone::fill;
use crate::stage::Stage;

/// The complete derived packs of a mirror.
fn made(world: &World) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(world.only_mirror().join("derived")) else {
        return Vec::new();
    };
    let dirs = entries.map(|entry| entry.expect("there").path());
    let dirs = dirs.filter(|dir| dir.join("made").exists());
    let packs = dirs.flat_map(|dir| files(&dir));
    packs
        .filter(|file| file.extension() == Some("pack".as_ref()))
        .collect()
}

/// The inodes of these packs.
fn inodes(packs: Vec<PathBuf>) -> BTreeSet<u64> {
    packs.iter().map(inode).collect()
}

/// Whether all that a repository has is in one pack that the mirror has made of a part.
#[track_caller]
fn is_handed_a_part(world: &World, dir: &str) {
    let mut packs = files(&objects(world, dir));
    packs.retain(|file| file.extension() == Some("pack".as_ref()));
    assert_eq!(packs.len(), 1, "{dir} has one pack");
    let made = inodes(made(world));
    assert!(made.contains(&inode(&packs[0])), "{dir} shares it");
}

/// A project of which there is a mirror.
fn stage(fill: impl FnOnce(&Project)) -> Stage {
    let stage = Stage::new(fill);
    stage.clone(&stage.url, "whole").arg("--quiet").ok();
    stage
}

fn name(twins: &Twins<'_>) -> String {
    twins.ours().display().to_string()
}

#[test]
fn every_part_is_made_once_and_like_what_plain_git_gives() {
    let stage = stage(fill);
    let Stage { world, url, .. } = &stage;
    let parts: [&[&str]; 11] = [
        &["--depth=1"],
        &["--depth=3"],
        &["--depth=100"],
        &["--depth=2", "--no-single-branch"],
        &["--depth=1", "--branch", "v1"],
        &["--filter=blob:none", "--no-checkout"],
        &["--filter=tree:0", "--bare"],
        &["--filter=blob:limit=5", "--no-checkout"],
        &["--depth=2", "--filter=blob:none", "--no-checkout"],
        &["--single-branch", "--branch", "topic"],
        &["--single-branch", "--no-tags"],
    ];
    for (number, options) in parts.iter().enumerate() {
        for _ in 0..2 {
            let twins = world.clone_twins(url, options);
            is_handed_a_part(world, &name(&twins));
        }
        assert_eq!(made(world).len(), number + 1, "{options:?}");
    }
    // git asks for the tags, and then leaves them.
    let twins = world.clone_twins(url, &["--depth=1", "--no-tags"]);
    is_handed_a_part(world, &name(&twins));
    assert_eq!(made(world).len(), parts.len());
}

#[test]
fn tags_that_follow_are_those_that_upstream_has_now() {
    let stage = stage(fill);
    let Stage { world, url, .. } = &stage;
    let options = ["--single-branch"];
    world.clone_twins(url, &options);
    stage.project.annotated_tag("later", "main~1");
    stage.project.tag("light-later", "main~2");
    let twins = world.clone_twins(url, &options);
    let tag = ["rev-parse", "--verify", "-q", "refs/tags/later"];
    twins.git(&tag);
    stage.project.delete("refs/tags/later");
    world.clone_twins(url, &options);
    assert_eq!(made(world).len(), 3);
}

#[test]
fn a_shallow_fetch_into_an_empty_repository_is_handed_its_pack() {
    let stage = stage(|project| drop(project.history(8)));
    let Stage { world, url, .. } = &stage;
    let address = format!("mirror::{url}");
    let fetch = ["fetch", "-q", "--depth=3", "origin"];
    let refspec = "+refs/heads/main:refs/remotes/origin/main";
    for _ in 0..2 {
        let twins = world.twins(&["init", "-q"]);
        twins.git(&["remote", "add", "origin", &address]);
        twins.git(&[&fetch[..], &[refspec]].concat());
        twins.git(&["checkout", "-q", "-f", "origin/main"]);
        twins.same();
        is_handed_a_part(world, &name(&twins));
        // What it has by now, only git's own server is told.
        stage.project.commit("main", "more", "more");
        twins.git(&[&fetch[..], &[refspec]].concat());
        twins.same();
        twins.git(&["fetch", "-q", "--unshallow", "origin"]);
        twins.same();
    }
}

#[test]
fn clones_of_the_same_part_at_once_are_handed_the_same_pack() {
    let stage = stage(fill);
    let dirs: Vec<_> = (0..8).map(|number| format!("ours{number}")).collect();
    let clone = |dir: &String| stage.clone(&stage.url, dir).arg("--depth=1").start();
    let running: Vec<_> = dirs.iter().map(clone).collect();
    for clone in running {
        let ran = clone.wait();
        assert!(ran.status.success(), "{ran}");
    }
    for dir in &dirs {
        is_handed_a_part(&stage.world, dir);
    }
    assert_eq!(made(&stage.world).len(), 1);
}

#[test]
fn a_derived_pack_that_was_written_into_is_not_handed_out() {
    let stage = stage(fill);
    let Stage { world, url, .. } = &stage;
    let clones = || {
        let twins = world.clone_twins(url, &["--depth=2"]);
        is_handed_a_part(world, &name(&twins));
        inodes(made(world))
    };
    for ending in ["pack", "idx"] {
        let before = clones();
        // Its time is put back.
        flip(&made(world).remove(0).with_extension(ending));
        assert!(before.is_disjoint(&clones()), "{ending}");
    }
}

#[test]
fn a_derived_pack_that_was_left_unfinished_is_made_again() {
    let stage = stage(fill);
    let Stage { world, url, .. } = &stage;
    world.clone_twins(url, &["--depth=1"]);
    let pack = made(world).remove(0);
    let dir = pack.parent().and_then(|pack| pack.parent());
    let dir = dir.expect("it has one");
    fs::remove_file(dir.join("made")).expect("ours");
    fs::remove_file(&pack).expect("ours");
    fs::write(dir.join("pack/tmp_pack_AbCdEf"), "half").expect("ours");
    let twins = world.clone_twins(url, &["--depth=1"]);
    is_handed_a_part(world, &name(&twins));
    assert!(!dir.join("pack/tmp_pack_AbCdEf").exists());
}

#[test]
fn where_a_derived_pack_cannot_be_made_git_sends_that_part() {
    let stage = stage(fill);
    let Stage { world, url, .. } = &stage;
    fs::write(world.only_mirror().join("derived"), "in the way").expect("ours");
    for options in [
        &["--depth=2"][..],
        &["--filter=blob:none", "--no-checkout"],
        &["--single-branch"],
    ] {
        let twins = world.clone_twins(url, options);
        is_not_linked(world, &name(&twins));
    }
}

#[test]
fn a_part_is_given_by_any_choice() {
    let stage = stage(fill);
    let Stage { world, url, .. } = &stage;
    for link in ["auto", "hardlink", "copy", "reflink", "off"] {
        world.config("mirror.link", link);
        world.clone_twins(url, &["--depth=2"]);
        world.clone_twins(url, &["--filter=blob:none", "--no-checkout"]);
        world.clone_twins(url, &["--single-branch"]);
    }
    is_linked_still(&stage);
}

/// A clone of the whole is handed the mirror's own packs, and no derived pack.
#[track_caller]
fn is_linked_still(stage: &Stage) {
    stage.world.config("mirror.link", "auto");
    stage.clone(&stage.url, "again").ok();
    is_linked(&stage.world, "again");
}

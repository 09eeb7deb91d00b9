//! How packs are handed out is a choice, and whatever is chosen, the clone is the same.

use std::fs;

use tests::same_clone;

use super::{is_linked, is_not_linked, objects};
use crate::clone::fill;
use crate::stage::Stage;

const CHOICES: [&str; 4] = ["auto", "hardlink", "copy", "off"];

#[test]
fn a_clones_own_choice_comes_before_its_mirrors() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    world.git(["clone", "-q", url, "plain"]).ok();
    stage.clone(&stage.url, "first").ok();
    for choice in CHOICES {
        world.mirrord(["set", url, "--link", choice]).ok();
        let by_mirror = format!("{choice}-by-mirror");
        stage.clone(&stage.url, &by_mirror).ok();
        for other in CHOICES {
            let dir = format!("{choice}-but-{other}");
            let setting = format!("mirror.link={other}");
            let address = format!("mirror::{url}");
            world
                .git(["-c", &setting, "clone", "-q", &address, &dir])
                .ok();
            same_clone(world, &world.path(&dir), &world.path("plain"));
            match other {
                "auto" | "hardlink" => is_linked(world, &dir),
                _ => is_not_linked(world, &dir),
            }
        }
        same_clone(world, &world.path(&by_mirror), &world.path("plain"));
        match choice {
            "auto" | "hardlink" => is_linked(world, &by_mirror),
            _ => is_not_linked(world, &by_mirror),
        }
    }
}

#[test]
fn with_mirror_link_reflink_and_no_reflinks_git_sends_the_objects() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    world.config("mirror.link", "reflink");
    let twins = world.clone_twins(url, &[]);
    is_not_linked(world, "ours1/repo");
    let left = super::files(&objects(world, "ours1/repo"));
    let unfinished = |file: &std::path::PathBuf| file.to_string_lossy().contains("tmp_");
    assert!(!left.iter().any(unfinished), "{left:?}");
    twins.same();
}

#[test]
fn a_choice_that_there_is_not_is_an_error_with_those_that_there_are() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    world.config("mirror.link", "symlink");
    let failed = stage.clone(&stage.url, "ours").fails();
    insta::assert_snapshot!(failed.shown(), @r"
        error: 'mirror.link' is 'symlink'
        hint: it may be 'auto', 'reflink', 'hardlink', 'copy' or 'off'
    ");
    assert!(!world.path("ours").exists());
    let refused = world.mirrord(["config", "link", "symlink"]).fails();
    insta::assert_snapshot!(refused.shown(), @r"
        error: 'symlink' is not a value of 'link'
        hint: it may be 'auto', 'reflink', 'hardlink', 'copy' or 'off'; did you mean 'reflink'?
    ");
}

#[test]
fn on_another_file_system_a_clone_gets_copies() {
    let stage = Stage::new(fill);
    let Stage { world, url, .. } = &stage;
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    let dir = elsewhere.path().join("ours");
    world
        .git(["clone", "-q", &format!("mirror::{url}")])
        .arg(&dir)
        .ok();
    world.git(["clone", "-q", url, "plain"]).ok();
    same_clone(world, &dir, &world.path("plain"));
    let packs = fs::read_dir(dir.join(".git/objects/pack")).expect("there");
    assert!(packs.count() > 0);
}

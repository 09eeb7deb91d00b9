//! Paths on this machine, as git takes them: relative ones, and ones with `..`.

use std::fs;

use tests::World;

use crate::{
    clone::{fill, listed},
    stage::Stage,
};

/// A world with a project at `up/project.git`, and a directory `tree/here` in which git runs.
fn world() -> World {
    let world = World::new();
    fs::create_dir_all(world.path("tree/here")).expect("ours");
    fill(&world.project("up/project.git"));
    world
}

/// Asserts that git, run in `tree/here`, shows the same refs through the mirror.
#[track_caller]
fn is_read_as_git_reads_it(world: &World, address: &str) {
    let shows = |address: &str| {
        let ran = world.git(["ls-remote", "--", address]).at("tree/here").ok();
        (ran.stdout, ran.stderr)
    };
    assert_eq!(shows(&format!("mirror::{address}")), shows(address));
}

#[test]
fn a_relative_path_is_the_one_that_git_finds() {
    let world = world();
    for path in [
        "../../up/project.git",
        "./../.././up//project.git/",
        "../../tree/here/../../up/project.git",
        &format!("{}/../up/project.git", world.path("tree").display()),
        &format!("file://{}/../up/project.git", world.path("tree").display()),
    ] {
        is_read_as_git_reads_it(&world, path);
    }
    let url = format!("file://{}", world.path("up/project.git").display());
    assert_eq!(listed(&world, "url"), [url.as_str()], "all are one mirror");
    // git adds `.git` where nothing is called so.
    is_read_as_git_reads_it(&world, "../../up/project");
}

#[test]
fn dots_behind_a_link_are_those_of_the_directory_that_it_leads_to() {
    let world = world();
    let link = world.path("tree/here/link");
    std::os::unix::fs::symlink(world.path("up/project.git"), link).expect("ours");
    is_read_as_git_reads_it(&world, "link/../project.git");
    is_read_as_git_reads_it(&world, "./link/../project.git");
}

#[test]
fn a_clone_of_a_relative_path_is_fetched_from_within() {
    let world = world();
    let clone = |address: &str, dir: &str| world.git(["clone", "-q", address, dir]).at("tree/here");
    clone("mirror::../../up/project.git", "ours").ok();
    clone("../../up/project.git", "plain").ok();
    for dir in ["tree/here/ours", "tree/here/plain"] {
        world.git(["fetch", "-q"]).at(dir).ok();
    }
    let url = world.git(["config", "remote.origin.url"]);
    let absolute = format!("mirror::{}", world.path("up/project.git").display());
    assert_eq!(url.at("tree/here/ours").ok().line(), absolute);
}

#[test]
fn a_remote_that_was_added_with_a_relative_path_keeps_it() {
    let world = world();
    world.git(["init", "-q", "tree/here/ours"]).ok();
    let ours = |args: &[&str]| world.git(args).at("tree/here/ours");
    let address = "mirror::../../../up/project.git";
    ours(&["remote", "add", "origin", address]).ok();
    ours(&["fetch", "-q"]).ok();
    ours(&["push", "-q", "origin", "origin/main:refs/heads/new"]).ok();
    assert_eq!(ours(&["config", "remote.origin.url"]).ok().line(), address);
}

#[test]
fn a_name_is_a_path_where_no_mirror_is_called_so() {
    let stage = Stage::new(fill);
    let Stage { world, .. } = &stage;
    world.project("tools").commit("main", "a", "1");
    let shows = |address: &str| world.git(["ls-remote", address]).ok().stdout;
    let (path, url) = (shows("tools"), shows(&stage.url));
    assert_ne!(path, url);
    assert_eq!(shows("mirror::tools"), path);
    assert_eq!(shows("mirror::tools/"), path);
    stage.add("tools", &[]).ok();
    assert_eq!(shows("mirror::tools"), url, "now a mirror is called so");
    assert_eq!(shows("mirror::./tools"), path);
}

#[test]
fn a_relative_path_that_is_not_there_is_refused_with_the_reason() {
    let world = world();
    let ran = |address: &str| world.git(["ls-remote", address]).code(128);
    insta::assert_snapshot!(ran("mirror::./none/../project.git").shown(), @"error: cannot read './none/../project.git': No such file or directory");
    insta::assert_snapshot!(ran("mirror::~/project.git").shown(), @"error: '~/project.git' is a relative path: use an absolute one, or one that begins with './'");
}

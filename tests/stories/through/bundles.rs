//! A bundle at the address is read as plain git reads it.

use tests::{Project, World};

/// A project with tags and a second branch, and a bundle of it.
fn bundled(world: &World, is_sha256: bool) -> (Project, String) {
    let dir = world.path("project.git");
    let project = match is_sha256 {
        true => Project::sha256(&dir),
        false => Project::new(&dir),
    };
    project.history(4);
    project.annotated_tag("v1", "main~1");
    project.commit("side", "side", "1");
    let bundle = world.path("whole.bundle").to_string_lossy().into_owned();
    project
        .git(["bundle", "create", "-q", &bundle, "--all", "HEAD"])
        .ok();
    (project, bundle)
}

#[test]
fn a_bundle_is_listed_and_cloned_as_by_plain_git_and_makes_no_mirror() {
    for is_sha256 in [false, true] {
        let world = World::new();
        let (_, bundle) = bundled(&world, is_sha256);
        for options in [&[][..], &["--bare"], &["--branch=side"], &["--no-tags"]] {
            world.clone_twins(&bundle, options);
        }
        for address in [&*bundle, "whole.bundle", "./whole.bundle"] {
            let list = |address: &str| world.git(["ls-remote", address]).ok();
            let ours = list(&format!("mirror::{address}"));
            assert_eq!(ours.stdout, list(address).stdout);
        }
        assert!(world.mirrors().is_empty());
    }
}

#[test]
fn a_later_bundle_brings_what_is_new_and_is_refused_where_its_beginning_lacks() {
    let world = World::new();
    let (project, bundle) = bundled(&world, false);
    let twins = world.clone_twins(&bundle, &[]);
    project.commit("main", "news", "1");
    let later = world.path("later.bundle").to_string_lossy().into_owned();
    let range = ["bundle", "create", "-q", &later, "main~1..main"];
    project.git(range).ok();
    let address = format!("mirror::{later}");
    twins.git(&["fetch", &address, "main:refs/heads/later"]);
    twins.git(&["pull", "-q", "--ff-only", &address, "main"]);
    twins.git(&["-c", "fetch.fsckObjects=true", "fetch", &address, "main"]);
    twins.same();
    let lone = ["ours", "plain"].map(|dir| format!("lone-{dir}"));
    for (dir, address) in lone.iter().zip([&address, &later]) {
        world.git(["init", "-q", dir]).ok();
        let ran = world.git(["fetch", "-q", address, "main"]).at(dir).fails();
        let lacks = "Repository lacks these prerequisite commits";
        assert!(ran.stderr.contains(lacks), "{ran}");
    }
}

#[test]
fn a_rule_that_sends_all_paths_through_the_mirror_leads_to_the_bundle() {
    let world = World::new();
    let (_, bundle) = bundled(&world, false);
    world.config("url.mirror::/.insteadOf", "/");
    world.git(["clone", "-q", &bundle, "ours"]).ok();
    world.git(["fsck", "--full"]).at("ours").ok();
}

#[test]
fn what_no_bundle_can_do_is_refused_with_the_reason() {
    let world = World::new();
    let (_, bundle) = bundled(&world, false);
    let address = format!("mirror::{bundle}");
    world.git(["clone", "-q", &address, "ours"]).ok();
    let pushed = world.git(["push", "-q", "origin", "HEAD:new"]).at("ours");
    let of_bundle = |text: String| text.replace(&bundle, "/whole.bundle");
    insta::assert_snapshot!(of_bundle(pushed.fails().stderr), @"error: cannot push to '/whole.bundle': it is a bundle");
    let archive = world.git(["archive", &format!("--remote={address}"), "HEAD"]);
    let archived = archive.fails().stderr;
    insta::assert_snapshot!(of_bundle(archived), @"error: cannot make an archive of '/whole.bundle': it is a bundle");
    std::fs::write(world.path("whole.bundle"), "# v9 git bundle\n\n").expect("ours");
    let listed = world.git(["ls-remote", &address]).fails().stderr;
    insta::assert_snapshot!(of_bundle(listed), @"error: cannot read the bundle '/whole.bundle': '/whole.bundle' does not look like a v2 or v3 bundle file");
}

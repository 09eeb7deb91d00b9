//! Another git than the one that is first on the `PATH`: where the distribution has one, it is mostly an older one.

use std::path::Path;

use tests::{Project, World};

use super::{fill, same_as_git};
use crate::push_pair::SIDES;

/// Has a world's programs find this git first.
fn with_git(world: &World, git: &Path) {
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", git.display());
    world.script("bin/git", &script);
}

#[test]
#[cfg_attr(not(other_git), ignore = "needs a second git")]
fn the_git_of_the_distribution_does_the_same_through_the_mirror_and_without_it() {
    let world = World::new();
    with_git(&world, Path::new("/usr/bin/git"));
    let gitlab = world.gitlab();
    let projects = SIDES.map(|side| gitlab.project(&format!("group/{side}")));
    projects.iter().for_each(fill);
    let addresses = SIDES.map(|side| gitlab.url(&format!("group/{side}")));
    same_as_git(&world, &addresses, &projects);
}

#[test]
#[cfg_attr(not(other_git), ignore = "needs a second git")]
fn the_git_of_the_distribution_clones_parts_and_lazily_through_the_mirror() {
    let world = World::new();
    with_git(&world, Path::new("/usr/bin/git"));
    let gitlab = world.gitlab();
    let project: Project = gitlab.project("group/project");
    fill(&project);
    let url = gitlab.url("group/project");
    for options in [
        &["--depth=1"][..],
        &["--single-branch", "--branch=topic"],
        &["--filter=blob:none"],
        &["--no-tags"],
    ] {
        world.clone_twins(&url, options);
    }
}

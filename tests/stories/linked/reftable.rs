//! Clones that keep their refs in a reftable get what others get, handed or streamed.

use crate::{clone::fill, stage::Stage};

use super::is_linked;

/// Whether the packs of a clone are the mirror's own is said by `link`.
const WAYS: [&str; 2] = ["auto", "off"];

#[test]
fn a_fetch_into_a_reftable_brings_what_plain_git_brings() {
    for link in WAYS {
        let stage = Stage::new(fill);
        let (world, project) = (&stage.world, &stage.project);
        world.config("mirror.link", link);
        let options = ["--ref-format=reftable"];
        let twins = world.clone_twins(&stage.url, &options);
        if link == "auto" {
            is_linked(world, "ours1/repo");
        }
        let format = twins.git(&["rev-parse", "--show-ref-format"]);
        assert_eq!(format.line(), "reftable");
        twins.git(&["fetch", "-q"]);
        project.commit("main", "a", "later");
        project.commit("new", "b", "new");
        project.annotated_tag("v9", "main");
        twins.git(&["fetch", "-q"]);
        twins.same();
        // What is rewritten, gone, or in the way of another name.
        project.force("topic", "main~1");
        project.delete("refs/heads/new");
        project.branch("new/er", "main");
        twins.git(&["fetch", "-q", "--prune"]);
        twins.same();
        project.commit("main", "a", "latest");
        twins.git(&["pull", "-q"]);
        twins.same();
    }
}

#[test]
fn a_part_in_a_reftable_is_what_plain_git_makes_of_it() {
    for link in WAYS {
        let stage = Stage::new(fill);
        let (world, project) = (&stage.world, &stage.project);
        world.config("mirror.link", link);
        stage.clone(&stage.url, "whole").ok();
        for part in [
            "--depth=1",
            "--single-branch",
            "--filter=blob:none",
            "--bare",
        ] {
            let twins = world.clone_twins(&stage.url, &["--ref-format=reftable", part]);
            project.commit("main", "a", part);
            twins.git(&["fetch", "-q"]);
            twins.same();
        }
    }
}

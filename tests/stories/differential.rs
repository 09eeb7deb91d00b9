//! Our engine against `git fetch --prune`, over random histories of upstream.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};
use tests::{Project, public_refs, refs};

use crate::stage::Stage;

/// Few names, so that they meet in every way: moved, deleted, one a directory of another.
pub(crate) const NAMES: [&str; 6] = ["main", "a", "a/b", "a/b/c", "b", "c/d"];

/// A change of upstream between two syncs.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Commit(&'static str),
    Merge(&'static str, &'static str),
    Force(&'static str, Index),
    Delete(Index),
    Tag(&'static str, bool, Index),
    Head(&'static str),
}

pub(crate) fn action() -> impl Strategy<Value = Deed> {
    let name = || select(&NAMES[..]);
    prop_oneof![
        4 => name().prop_map(Deed::Commit),
        1 => (name(), name()).prop_map(|(to, from)| Deed::Merge(to, from)),
        2 => (name(), any::<Index>()).prop_map(|(name, at)| Deed::Force(name, at)),
        3 => any::<Index>().prop_map(Deed::Delete),
        2 => (name(), any::<bool>(), any::<Index>()).prop_map(|(name, light, at)| Deed::Tag(name, light, at)),
        1 => name().prop_map(Deed::Head),
    ]
}

/// Does it, as far as git lets it be done.
pub(crate) fn apply(project: &Project, action: &Deed, count: usize) {
    let listed = project.refs();
    let branches: Vec<_> = listed
        .iter()
        .filter(|(name, _)| name.starts_with("refs/heads/"))
        .collect();
    let fits = |space: &str, name: &str| {
        let name = format!("refs/{space}/{name}");
        !listed.iter().any(|(other, _)| {
            other.starts_with(&format!("{name}/")) || name.starts_with(&format!("{other}/"))
        })
    };
    match action {
        Deed::Commit(name) if fits("heads", name) => {
            drop(project.commit(name, "file", &format!("{count}")));
        }
        Deed::Merge(to, from) => {
            let there = |name: &str| {
                branches
                    .iter()
                    .any(|(other, _)| *other == format!("refs/heads/{name}"))
            };
            if there(to) && there(from) {
                // Whatever the two have in common, and whatever would conflict.
                let git = |args: &[&str]| project.git(args).ok().line().to_owned();
                // By their whole names: a tag of the same name would come first.
                let [ours, theirs] = [to, from].map(|name| format!("refs/heads/{name}"));
                let tree = git(&["rev-parse", &format!("{ours}^{{tree}}")]);
                let parents = ["-p", &ours, "-p", &theirs];
                let merge = git(&[&["commit-tree", "-m", "merge", &tree][..], &parents].concat());
                project.force(to, &merge);
            }
        }
        Deed::Force(name, at) if fits("heads", name) && !branches.is_empty() => {
            project.force(name, &at.get(&branches).1);
        }
        Deed::Delete(at) if listed.len() > 1 => project.delete(&at.get(&listed).0),
        Deed::Tag(name, light, at) if fits("tags", name) && !branches.is_empty() => {
            let at = at.get(&branches).1.clone();
            // A tag that is there moves.
            if listed
                .iter()
                .any(|(other, _)| *other == format!("refs/tags/{name}"))
            {
                project.delete(&format!("refs/tags/{name}"));
            }
            if *light {
                project.tag(name, &at);
            } else {
                drop(project.annotated_tag(name, &at));
            }
        }
        Deed::Head(name) => project.set_head(name),
        _ => {}
    }
}

#[test]
fn random_histories_give_the_refs_and_objects_that_git_fetch_gives() {
    let config = Config {
        cases: 6,
        failure_persistence: None,
        ..Config::default()
    };
    let histories = vec(vec(action(), 1..6), 1..7);
    let result = TestRunner::new(config).run(&histories, |syncs| {
        let stage = Stage::new(|project| drop(project.commit("main", "file", "first")));
        let Stage { world, url, .. } = &stage;
        world
            .git(["clone", "--quiet", "--mirror", url, "plain"])
            .ok();
        let mut count = 0;
        for deeds in syncs {
            for action in &deeds {
                count += 1;
                apply(&stage.project, action, count);
            }
            world.git(["fetch", "--quiet", "--prune"]).at("plain").ok();
            stage.ls_remote().ok();
            let mirror = world.only_mirror();
            prop_assert_eq!(
                &public_refs(world, &mirror),
                &refs(world, &world.path("plain")),
                "after {:?}",
                deeds
            );
            let objects = |dir: &std::path::Path| {
                let listed = world
                    .git([
                        "rev-list",
                        "--objects",
                        "--no-object-names",
                        "--branches",
                        "--tags",
                    ])
                    .at(dir)
                    .ok();
                let mut objects: Vec<_> = listed.stdout.lines().map(str::to_owned).collect();
                objects.sort();
                objects
            };
            prop_assert_eq!(objects(&mirror), objects(&world.path("plain")));
            world.git(["fsck", "--full", "--strict"]).at(&mirror).ok();
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

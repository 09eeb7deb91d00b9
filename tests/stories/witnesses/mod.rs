//! Servers that none of git's own programs are: what is done through the mirror ends as it does with plain git.

mod dulwich;
mod gitolite;
mod jgit;
mod older_git;

use tests::{Project, World, refs};

use crate::push_pair::SIDES;

/// Gives a project what the comparison is about.
fn fill(project: &Project) {
    project.history(5);
    project.branch("topic", "main");
    project.annotated_tag("v1", "main");
}

/// Does the same through the mirror and by plain git, each at an upstream of its own. The addresses and the repositories
/// behind them are by side.
#[track_caller]
fn same_as_git(world: &World, addresses: &[String; 2], projects: &[Project; 2]) {
    let address = |side: usize| match side {
        0 => format!("mirror::{}", addresses[0]),
        _ => addresses[1].clone(),
    };
    let each = |args: &[&str], works: bool| {
        for (side, dir) in SIDES.iter().enumerate() {
            let ran = world.git(args).at(dir).run();
            assert_eq!(ran.status.success(), works, "{side}: {ran}");
        }
        let [ours, plain] = SIDES.map(|dir| refs(world, &world.path(dir)));
        assert_eq!(ours, plain, "{args:?}");
        assert_eq!(projects[0].refs(), projects[1].refs(), "{args:?}");
    };
    for (side, dir) in SIDES.iter().enumerate() {
        let clone = ["clone", "-q", &address(side), dir];
        world.git(clone).ok();
        let shallow = format!("{dir}-shallow");
        let clone = ["clone", "-q", "--depth=2", &address(side), &shallow];
        world.git(clone).ok();
    }
    let history = |dir: &str| {
        let log = world.git(["log", "--format=%H"]);
        log.at(format!("{dir}-shallow")).ok().stdout
    };
    assert_eq!(history("ours"), history("plain"));
    for project in projects {
        project.commit("main", "later", "later");
    }
    each(&["fetch", "-q"], true);
    each(&["merge", "-q", "origin/main"], true);
    each(
        &[
            "push",
            "-q",
            "origin",
            "HEAD~1:refs/heads/new",
            "v1:refs/tags/v2",
        ],
        true,
    );
    each(&["push", "-q", "origin", "+HEAD~3:refs/heads/topic"], true);
    each(&["push", "-q", "origin", "HEAD~4:refs/heads/main"], false);
    each(&["push", "-q", "origin", ":refs/heads/new"], true);
    each(&["fetch", "-q", "--prune"], true);
}

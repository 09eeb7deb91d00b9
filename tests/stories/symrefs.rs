//! Symbolic refs of upstream's beside HEAD.

use tests::Project;

use crate::{stage::Stage, tracking::NAME};

fn fill(project: &Project) {
    project.history(3);
    for branch in ["beta", "zebra"] {
        project.commit(branch, branch, "1");
    }
}

#[test]
fn symbolic_refs_of_upstream_are_listed_as_by_plain_git() {
    let stage = Stage::new(fill);
    stage
        .add_tracking(
            NAME,
            &["+refs/heads/*", "+refs/tags/*", "^refs/heads/zebra"],
        )
        .ok();
    let annotated = stage.project.annotated_tag("v1", "main");
    let symbolic = |name: &str, target: &str| {
        stage.project.git(["symbolic-ref", name, target]).ok();
    };
    symbolic("refs/heads/alias", "refs/heads/main");
    symbolic("refs/heads/chain", "refs/heads/alias");
    symbolic("refs/tags/newest", "refs/tags/v1");
    symbolic("refs/heads/dangling", "refs/heads/nowhere");
    let listed = |address: &str| {
        let args = ["ls-remote", "--symref", address];
        stage.world.git(args).ok().stdout
    };
    let same = || {
        let ours = listed(&format!("mirror::{NAME}"));
        let plain = listed(&stage.url);
        let is_tracked = |line: &&str| !line.ends_with("refs/heads/zebra");
        let plain: Vec<_> = plain.lines().filter(is_tracked).collect();
        assert_eq!(ours.lines().collect::<Vec<_>>(), plain);
        ours
    };
    let ours = same();
    assert!(ours.contains("ref: refs/heads/main\trefs/heads/alias\n"));
    assert!(ours.contains("ref: refs/tags/v1\trefs/tags/newest\n"));
    assert!(ours.contains(&annotated));
    stage.clone(NAME, "ours").ok();
    // Whatever follows the clone follows upstream, and a new daemon knows it as well.
    symbolic("refs/heads/alias", "refs/heads/beta");
    same();
    stage.world.mirrord(["stop"]).ok();
    stage.gitlab.stop();
    let stale = listed(&format!("mirror::{NAME}"));
    assert!(stale.contains("ref: refs/heads/beta\trefs/heads/alias\n"));
    stage.gitlab.start();
    same();
    // A branch of its own from now on, with the value that it had.
    let beta = stage.project.tip("beta").expect("it is there");
    stage
        .project
        .git(["update-ref", "--no-deref", "refs/heads/alias", &beta])
        .ok();
    assert!(!same().contains("refs/heads/beta\trefs/heads/alias"));
    // One that leads to what the mirror does not show.
    symbolic("refs/heads/alias", "refs/heads/zebra");
    let zebra = stage.project.tip("zebra").expect("it is there");
    let ours = listed(&format!("mirror::{NAME}"));
    assert!(ours.contains(&format!("{zebra}\trefs/heads/alias\n")));
    assert!(!ours.contains("zebra"));
}

#[test]
fn a_clone_of_a_project_with_symbolic_refs_is_a_plain_one() {
    let stage = Stage::new(fill);
    stage
        .project
        .git(["symbolic-ref", "refs/heads/alias", "refs/heads/main"])
        .ok();
    for options in [
        &[][..],
        &["--mirror"],
        &["--branch=alias"],
        &["--single-branch"],
    ] {
        stage.world.clone_twins(&stage.url, options);
    }
}

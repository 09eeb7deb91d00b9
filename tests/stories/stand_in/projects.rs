//! Projects are histories that git finds no fault with, the same in every run.

use tests::{World, refs};

#[test]
fn equal_arguments_make_equal_objects() {
    let world = World::new();
    let write = |name| {
        let project = world.project(name);
        project.commit("main", "a", "1");
        project.history(5);
        project.branch("topic", "main");
        project.commit("topic", "b", "2");
        project.commit("main", "c", "3");
        project.merge("main", "topic");
        project.annotated_tag("v1", "main");
        project.tag("light", "topic");
        project.git(["fsck", "--strict", "--full"]).ok();
        project.refs()
    };
    let refs = write("one");
    assert_eq!(refs, write("two"));
    let names: Vec<_> = refs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "refs/heads/main",
            "refs/heads/topic",
            "refs/tags/light",
            "refs/tags/v1"
        ]
    );
}

#[test]
fn a_branch_continues_and_a_merge_has_both_sides() {
    let world = World::new();
    let project = world.project("upstream");
    let first = project.commit("main", "a", "1");
    let second = project.commit("main", "dir/b", "2");
    let parent = project.git(["rev-parse", "main^"]).ok();
    assert_eq!(parent.line(), first);
    project.branch("topic", &first);
    let third = project.commit("topic", "c", "3");
    project.merge("main", "topic");
    let parents = project.git(["rev-parse", "main^1", "main^2"]).ok();
    assert_eq!(parents.line(), format!("{second}\n{third}"));
    let files = project.git(["ls-tree", "-r", "--name-only", "main"]).ok();
    assert_eq!(files.line(), "a\nc\ndir/b");
}

#[test]
fn branches_are_moved_and_deleted() {
    let world = World::new();
    let project = world.project("upstream");
    let first = project.commit("main", "a", "1");
    project.commit("main", "a", "2");
    project.force("main", &first);
    assert_eq!(project.tip("main"), Some(first.clone()));
    project.branch("topic", &first);
    project.delete("topic");
    assert_eq!(project.tip("topic"), None);
    project.set_head("other");
    assert_eq!(
        project.git(["symbolic-ref", "HEAD"]).ok().line(),
        "refs/heads/other"
    );
}

#[test]
fn many_refs_are_refs_like_others() {
    let world = World::new();
    let project = world.project("upstream");
    project.commit("main", "a", "1");
    project.commit("zoo", "a", "1");
    project.annotated_tag("v1", "main");
    project.many_refs(20_000);
    let refs = refs(&world, project.dir());
    assert_eq!(refs.len(), 20_003);
    assert!(refs.is_sorted());
    project.delete("many/019999");
    project.git(["pack-refs", "--all"]).ok();
    assert_eq!(project.refs().len(), 20_002);
    assert_eq!(project.tip("zoo"), Some(refs[20_001].1.clone()));
    project.git(["fsck", "--strict"]).ok();
}

#[test]
fn sha256_has_longer_ids() {
    let world = World::new();
    let project = tests::Project::sha256(world.path("upstream"));
    assert_eq!(project.history(3).len(), 64);
}

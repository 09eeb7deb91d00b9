//! Projects are histories that git finds no fault with, the same in every run.

use tests::{Project, World, refs};

use crate::stage::check;

#[test]
fn a_project_is_a_repository_that_git_finds_no_fault_with() {
    let world = World::new();
    check("equal arguments make equal objects", || {
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
        let expected = ["heads/main", "heads/topic", "tags/light", "tags/v1"];
        assert_eq!(names, expected.map(|name| format!("refs/{name}")));
    });
    check("a branch goes on, and a merge has both sides", || {
        let project = world.project("merged");
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
    });
    check("branches are moved and deleted", || {
        let project = world.project("moved");
        let first = project.commit("main", "a", "1");
        project.commit("main", "a", "2");
        project.force("main", &first);
        assert_eq!(project.tip("main"), Some(first.clone()));
        project.branch("topic", &first);
        project.delete("topic");
        assert_eq!(project.tip("topic"), None);
        project.set_head("other");
        let head = project.git(["symbolic-ref", "HEAD"]).ok();
        assert_eq!(head.line(), "refs/heads/other");
    });
    check("many refs are refs like others", || {
        let project = world.project("many");
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
    });
    check("SHA-256 has longer ids", || {
        let project = Project::sha256(world.path("sha256"));
        assert_eq!(project.history(3).len(), 64);
    });
}

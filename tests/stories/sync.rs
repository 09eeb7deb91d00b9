//! A fetch gives what upstream has: every kind of change, one request when there is none, one sync for all who wait.

use tests::{On, Run, World, refs, same_clone};

#[test]
fn a_clone_through_the_mirror_is_a_clone_of_upstream() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.history(20);
    project.annotated_tag("v1", "main");
    project.tag("light", "main");
    let url = gitlab.url("group/project");
    world
        .git(["clone", "--quiet", &format!("mirror::{url}"), "ours"])
        .ok();
    world.git(["clone", "--quiet", &url, "plain"]).ok();
    same_clone(&world, &world.path("ours"), &world.path("plain"));
}

#[test]
fn an_unchanged_upstream_costs_one_request() {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.project("group/project").commit("main", "a", "a");
    world
        .git([
            "clone",
            "--quiet",
            &format!("mirror::{}", gitlab.url("group/project")),
            "ours",
        ])
        .ok();
    for _ in 0..3 {
        gitlab.forget_requests();
        world.git(["fetch"]).at("ours").ok();
        let requests = gitlab.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert!(requests[0].body_text().contains("command=ls-refs"));
    }
}

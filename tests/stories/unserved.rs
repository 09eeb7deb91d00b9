//! Refs that upstream advertises and cannot serve: they are left out and named, and the rest goes on.

use std::fs;

use tests::{Fault, Project, Ran, World};

use crate::ssh::Stage as Ssh;

/// An object that nobody has.
const NOBODYS: &str = "1111111111111111111111111111111111111111";

/// Makes a ref of upstream name what is not there.
fn break_ref(project: &Project, branch: &str) {
    let path = project.dir().join("refs/heads").join(branch);
    fs::write(path, format!("{NOBODYS}\n")).expect("ours");
}

fn tip(world: &World, name: &str) -> String {
    let parsed = world.git(["rev-parse", "-q", "--verify", name]).at("ours");
    parsed.run().line().to_owned()
}

fn name_of_mirror(world: &World) -> String {
    let name = world.git(["config", "mirror.name"]).at(world.only_mirror());
    name.ok().line().to_owned()
}

#[track_caller]
fn names(ran: &Ran, what: &str) {
    let reason = format!("upstream advertises {NOBODYS} and does not have it");
    let line = format!("warning: {what}: {reason}");
    assert!(ran.stderr.contains(&line), "{line}: {ran}");
}

fn play(world: &World, url: &str, project: &Project) {
    project.history(3);
    project.branch("topic", "main~1");
    let topic = project.tip("topic").expect("made");
    let url = format!("mirror::{url}");
    world.git(["clone", "--quiet", &url, "ours"]).ok();
    break_ref(project, "broken");
    break_ref(project, "topic");
    let main = project.history(1);
    let fetched = world.git(["fetch", "--prune"]).at("ours").ok();
    names(&fetched, "'refs/heads/broken' is not shown");
    names(&fetched, "'refs/heads/topic' is left as it was");
    assert_eq!(tip(world, "origin/main"), main, "{fetched}");
    assert_eq!(tip(world, "origin/topic"), topic, "{fetched}");
    assert_eq!(tip(world, "origin/broken"), "", "{fetched}");
    // With nothing new, and where upstream is not asked.
    names(
        &world.git(["fetch"]).at("ours").ok(),
        "'refs/heads/broken' is not shown",
    );
    let name = name_of_mirror(world);
    let shown = world.mirrord(["show", &name]).ok();
    assert!(
        shown.stdout.contains("'refs/heads/broken' is not shown"),
        "{shown}"
    );
    let set = ["set", &name, "--sync-on-fetch", "no"];
    world.mirrord(set).ok();
    names(
        &world.git(["fetch"]).at("ours").ok(),
        "'refs/heads/broken' is not shown",
    );
    let set = ["set", &name, "--sync-on-fetch", "yes"];
    world.mirrord(set).ok();
    // Upstream is whole again.
    project.branch("mended", "main");
    for branch in ["broken", "topic"] {
        fs::remove_file(project.dir().join("refs/heads").join(branch)).expect("ours");
    }
    project.branch("broken", "main");
    project.branch("topic", "main");
    let fetched = world.git(["fetch", "--prune"]).at("ours").ok();
    assert!(!fetched.stderr.contains("warning"), "{fetched}");
    for name in ["origin/broken", "origin/topic", "origin/mended"] {
        assert_eq!(tip(world, name), main, "{name}");
    }
}

#[test]
fn over_http() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    play(&world, &gitlab.url("group/project"), &project);
}

#[test]
fn over_ssh() {
    let stage = Ssh::new(|_| ());
    play(&stage.world, &stage.url, &stage.project);
}

#[test]
fn on_this_machine() {
    let world = World::new();
    let project = world.project("project.git");
    play(&world, &project.url(), &project);
}

#[test]
fn a_branch_that_lacks_an_object_keeps_no_other_away_from_clone_and_fetch() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.config("fastimport.unpackLimit", "1000");
    project.history(3);
    let url = format!("mirror::{}", gitlab.url("group/project"));
    world.git(["clone", "--quiet", &url, "ours"]).ok();
    project.branch("bad", "main");
    project.commit("bad", "lost", "what is lost");
    let blob = project.git(["rev-parse", "bad:lost"]).ok();
    let (folder, file) = blob.line().split_at(2);
    fs::remove_file(project.dir().join("objects").join(folder).join(file)).expect("ours");
    let check = |world: &World, args: &[&str], dir: &str| {
        let ran = world.git(args).at(world.path(dir)).ok();
        let line = "warning: 'refs/heads/bad' is not shown: ";
        assert!(ran.stderr.contains(line), "{ran}");
        let found = world.git(["rev-parse", "origin/main"]);
        let found = found.at(world.path("ours")).ok();
        assert_eq!(Some(found.line()), project.tip("main").as_deref());
    };
    // On its own, and beside another that moves.
    check(&world, &["fetch"], "ours");
    project.history(2);
    check(&world, &["fetch"], "ours");
    let push = ["push", "--quiet", "origin", "HEAD:refs/heads/new"];
    world.git(push).at("ours").ok();
    check(&World::new(), &["clone", &url, "ours"], "");
}

#[test]
fn an_upstream_that_can_serve_nothing_at_all_is_an_error() {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.project("group/project").history(1);
    let main = gitlab.project("group/project").tip("main").expect("made");
    let message = format!("upload-pack: not our ref {main}");
    gitlab.fault(Fault::err_line(tests::On::Fetch, &message));
    let url = format!("mirror::{}", gitlab.url("group/project"));
    let ran = world.git(["clone", &url, "ours"]).code(128);
    assert!(ran.stderr.contains("not our ref"), "{ran}");
}

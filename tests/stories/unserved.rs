//! Refs that upstream advertises and cannot serve: they are left out and named, and the rest goes on.

use std::fs;

use tests::{Fault, On, Project, World};

use crate::{ssh, stage::Stage};

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

fn play(world: &World, url: &str, project: &Project) {
    project.history(3);
    project.branch("topic", "main~1");
    let topic = project.tip("topic").expect("made");
    world.mirrord(["add", "-q", "project", url]).ok();
    world.clone_mirror("project", "ours").ok();
    break_ref(project, "broken");
    break_ref(project, "topic");
    let main = project.history(1);
    let fetch = || world.git(["fetch", "-q", "--prune"]).at("ours").ok();
    insta::allow_duplicates! {
        insta::assert_snapshot!(fetch().stderr, @"
        warning: 'refs/heads/broken' is not shown: upstream advertises 1111111111111111111111111111111111111111 and does not have it
        warning: 'refs/heads/topic' is left as it was: upstream advertises 1111111111111111111111111111111111111111 and does not have it
        ");
    }
    assert_eq!(tip(world, "origin/main"), main);
    assert_eq!(tip(world, "origin/topic"), topic);
    assert_eq!(tip(world, "origin/broken"), "");
    // With nothing new, and where upstream is not asked.
    let again = fetch().stderr;
    insta::allow_duplicates! {
        insta::assert_snapshot!(again, @"
        warning: 'refs/heads/broken' is not shown: upstream advertises 1111111111111111111111111111111111111111 and does not have it
        warning: 'refs/heads/topic' is left as it was: upstream advertises 1111111111111111111111111111111111111111 and does not have it
        ");
    }
    let shown = world.mirrord(["show", "project"]).ok();
    let names_it = shown.stdout.contains("'refs/heads/broken' is not shown");
    assert!(names_it, "{shown}");
    let asks = |value| world.mirrord(["set", "project", "--sync-on-fetch", value]);
    asks("no").ok();
    assert_eq!(fetch().stderr, again);
    asks("yes").ok();
    // Upstream is whole again.
    project.branch("mended", "main");
    for branch in ["broken", "topic"] {
        fs::remove_file(project.dir().join("refs/heads").join(branch)).expect("ours");
    }
    project.branch("broken", "main");
    project.branch("topic", "main");
    assert_eq!(fetch().stderr, "");
    for name in ["origin/broken", "origin/topic", "origin/mended"] {
        assert_eq!(tip(world, name), main, "{name}");
    }
}

#[test]
fn over_http() {
    let stage = Stage::new(|_| ());
    play(&stage.world, &stage.url, &stage.project);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn over_ssh() {
    let stage = ssh::Stage::new(|_| ());
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
    let stage = Stage::new(|project| {
        project.config("fastimport.unpackLimit", "1000");
        project.history(3);
    });
    let (stage, later) = (stage.with_ours(), World::new());
    let project = &stage.project;
    project.branch("bad", "main");
    project.commit("bad", "lost", "what is lost");
    let blob = project.git(["rev-parse", "bad:lost"]).ok();
    let (folder, file) = blob.line().split_at(2);
    fs::remove_file(project.dir().join("objects").join(folder).join(file)).expect("ours");
    let shows_main = |world: &World, output: String| {
        insta::allow_duplicates! {
            insta::assert_snapshot!(output, @"warning: 'refs/heads/bad' is not shown: 'http://gitlab.example/group/project.git' gave up: aborting due to possible repository corruption on the remote side.");
        }
        assert_eq!(Some(tip(world, "origin/main")), project.tip("main"));
    };
    // On its own, and beside another that moves.
    shows_main(&stage.world, stage.ours(&["fetch", "-q"]).ok().shown());
    project.history(2);
    shows_main(&stage.world, stage.ours(&["fetch", "-q"]).ok().shown());
    stage.push("ours", &["--quiet", "HEAD:refs/heads/new"]).ok();
    let cloned = later.clone_mirror(&stage.url, "ours").ok();
    shows_main(&later, cloned.shown());
}

#[test]
fn an_upstream_that_can_serve_nothing_at_all_is_an_error() {
    let stage = Stage::new(|project| drop(project.history(1)));
    let main = stage.project.tip("main").expect("made");
    let message = format!("upload-pack: not our ref {main}");
    stage.gitlab.fault(Fault::err_line(On::Fetch, &message));
    let ran = stage.clone(&stage.url, "ours").code(128);
    insta::assert_snapshot!(ran.shown(), @"error: cannot read 'http://gitlab.example/group/project.git': upload-pack: not our ref [oid]");
}

//! Refs that upstream advertises and cannot serve: they are left out and named, and the rest goes on.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tests::{Fault, Front, GitLab, On, Passage, Project, World};

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

#[test]
fn where_servers_are_out_of_step_a_branch_is_what_the_one_that_serves_it_has() {
    let world = World::new();
    let gitlabs = [world.gitlab(), world.gitlab()];
    let projects = gitlabs
        .each_ref()
        .map(|gitlab| gitlab.project("group/project"));
    projects[0].history(3);
    projects[0].branch("topic", "main");
    let copy = projects[1].dir().display().to_string();
    projects[0].git(["push", "-q", "--mirror", &copy]).ok();
    // The first one lists the refs. The second one answers all that comes after.
    let hosts = gitlabs.each_ref().map(GitLab::host);
    let posts = Arc::new(AtomicUsize::new(0));
    let counter = posts.clone();
    let front = Front::new(move |head| {
        let is_later = head.method == "POST" && counter.fetch_add(1, Ordering::Relaxed) > 0;
        Passage::To(hosts[usize::from(is_later)].clone())
    });
    let url = format!("http://{}/group/project.git", front.host());
    let sides = [("plain", url.clone()), ("ours", format!("mirror::{url}"))];
    for (side, address) in &sides {
        world.git(["clone", "-q", address, side]).ok();
    }
    let fetch = |side: &str| {
        posts.store(0, Ordering::Relaxed);
        world.git(["fetch", "-q"]).at(side).run()
    };
    let rewrite = || {
        projects.each_ref().map(|project| {
            project.git(["branch", "-qf", "topic", "main"]).ok();
            let name = project.dir().display().to_string();
            project.commit("topic", "file", &name)
        })
    };
    let topic = |side: &str| {
        let parsed = world.git(["rev-parse", "origin/topic"]).at(side).ok();
        parsed.line().to_owned()
    };
    for project in &projects {
        project.config("uploadpack.allowRefInWant", "true");
    }
    let [_, served] = rewrite();
    for (side, _) in &sides {
        let fetched = fetch(side);
        assert!(
            fetched.status.success() && fetched.stderr.is_empty(),
            "{fetched}"
        );
        assert_eq!(topic(side), served, "{side}");
    }
    // The list, the object that is gone, and the branch by its name.
    assert_eq!(posts.load(Ordering::Relaxed), 3);
    // A HEAD on no branch has no name to be asked for by.
    let [_, served] = rewrite();
    for project in &projects {
        let tip = project.tip("topic").expect("it was just made");
        project.git(["update-ref", "--no-deref", "HEAD", &tip]).ok();
    }
    let fetched = fetch("ours");
    assert!(
        fetched.status.success() && fetched.stderr.is_empty(),
        "{fetched}"
    );
    let asks = |value| world.mirrord(["set", &url, "--sync-on-fetch", value]);
    asks("no").ok();
    let head = world.git(["ls-remote", &sides[1].1, "HEAD"]).ok();
    assert_eq!(head.stdout, format!("{served}\tHEAD\n"));
    asks("yes").ok();
    for project in &projects {
        project
            .git(["symbolic-ref", "HEAD", "refs/heads/main"])
            .ok();
    }
    fetch("ours");
    // Where refs cannot be asked for by name, plain git fails, and the mirror asks once more what there is.
    for project in &projects {
        project.config("uploadpack.allowRefInWant", "false");
    }
    let [_, served] = rewrite();
    assert!(!fetch("plain").status.success());
    let fetched = fetch("ours");
    assert!(
        fetched.status.success() && fetched.stderr.is_empty(),
        "{fetched}"
    );
    assert_eq!(topic("ours"), served);
}

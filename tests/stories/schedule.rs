//! Mirrors that stay in step without anybody asking, and leave a host alone that asks for it. An hour is a second here.
//!
//! These stories take long: the syncs of a mirror are at least a second apart, and several have to come.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tests::{Fault, On, Project, Request, World, refs};

use crate::{failures::is_back, named::small, stage::Stage};

/// How often upstream was asked for the advertisement of a project.
fn asked(requests: &[Request], project: &str) -> usize {
    let path = format!("/{project}.git/");
    let asking = requests.iter().filter(|request| {
        request.path.starts_with(&path) && request.body_text().contains("ls-refs")
    });
    asking.count()
}

impl Stage {
    /// Waits until a mirror has been brought in step so many times more. Each time is one look at upstream.
    #[track_caller]
    fn rounds(&self, project: &str, times: usize) {
        let before = asked(&self.gitlab.requests(), project);
        self.gitlab
            .wait_for(|requests| asked(requests, project) >= before + times);
    }

    /// Adds a project whose mirror is called `name`.
    #[track_caller]
    fn another(&self, name: &str, options: &[&str]) -> Project {
        let path = format!("group/{name}");
        let project = self.gitlab.project(&path);
        project.commit("main", "file", name);
        let url = self.gitlab.url(&path);
        self.mirrord(&[&["add", name, &url][..], options].concat())
            .ok();
        project
    }
}

/// Waits for what no event tells.
#[track_caller]
fn until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "it never comes");
    }
}

/// The commit that a mirror has for a branch.
fn has(mirror: &Path, world: &World, branch: &str) -> Option<String> {
    let name = format!("refs/heads/{branch}");
    let refs = refs(world, mirror);
    let found = refs.iter().find(|(each, _)| *each == name);
    found.map(|(_, oid)| oid.clone())
}

#[test]
fn a_mirror_is_synced_by_schedule() {
    let stage = Stage::new(small);
    stage.add("work", &["--every", "1s"]).ok();
    let commit = stage.project.commit("main", "new", "new");
    let mirror = stage.world.only_mirror();
    stage.rounds("group/project", 2);
    assert_eq!(has(&mirror, &stage.world, "main"), Some(commit));
    stage.rounds("group/project", 1);
    let status = stage.mirrord(&["status"]).ok();
    assert!(status.stdout.contains("0 of them waiting"), "{status}");
}

#[test]
fn a_mirror_with_every_never_is_not_synced_by_schedule() {
    let stage = Stage::new(small);
    stage.add("work", &["--every", "1s"]).ok();
    stage.another("quiet", &["--every", "never"]);
    stage.another("hourly", &[]);
    stage.gitlab.forget_requests();
    stage.rounds("group/project", 2);
    let requests = stage.gitlab.requests();
    assert_eq!(asked(&requests, "group/quiet"), 0);
    assert_eq!(asked(&requests, "group/hourly"), 0);
    stage.mirrord(&["set", "quiet", "--every", "1s"]).ok();
    stage.rounds("group/quiet", 1);
    stage.mirrord(&["set", "work", "--every", "never"]).ok();
    // A sync that had begun by then is over.
    stage.world.wait_until_no_sync();
    stage.gitlab.forget_requests();
    stage.rounds("group/quiet", 2);
    assert_eq!(asked(&stage.gitlab.requests(), "group/project"), 0);
}

#[test]
fn new_mirrors_are_synced_as_often_as_mirrord_config_says() {
    let stage = Stage::new(small);
    stage.mirrord(&["config", "every", "1s"]).ok();
    stage.clone(&stage.url, "ours").ok();
    stage.rounds("group/project", 2);
}

#[test]
fn the_next_daemon_goes_on_with_what_was_planned() {
    let stage = Stage::new(small);
    stage.add("work", &["--every", "1s"]).ok();
    for end in ["kill", "stop"] {
        match end {
            "kill" => stage.world.kill_daemon(),
            _ => drop(stage.mirrord(&["stop"]).ok()),
        }
        let commit = stage.project.commit("main", "file", end);
        // Whatever starts it.
        stage.mirrord(&["list"]).ok();
        stage.rounds("group/project", 2);
        let mirror = stage.world.only_mirror();
        assert_eq!(has(&mirror, &stage.world, "main"), Some(commit));
    }
}

#[test]
fn a_mirror_that_moves_or_goes_is_not_asked_for_where_it_was() {
    let stage = Stage::new(small);
    stage.add("work", &["--every", "1s"]).ok();
    stage.gitlab.project("group/new").history(1);
    let new = stage.gitlab.url("group/new");
    stage.mirrord(&["set", "work", "--url", &new]).ok();
    stage.gitlab.forget_requests();
    stage.rounds("group/new", 2);
    assert_eq!(asked(&stage.gitlab.requests(), "group/project"), 0);
    stage.another("other", &["--every", "1s"]);
    stage.mirrord(&["rm", "work"]).ok();
    stage.gitlab.forget_requests();
    stage.rounds("group/other", 2);
    assert_eq!(asked(&stage.gitlab.requests(), "group/new"), 0);
}

#[test]
fn a_private_project_is_read_with_what_the_users_git_knows_and_nobody_is_disturbed() {
    let private = Stage::private().with_helper("right");
    private.world.config("core.askPass", "/nonexistent/askpass");
    private.clone(&private.url, "ours").ok();
    private.world.mirrord(["stop"]).ok();
    private.helper_calls("helper");
    private.gitlab.forget_requests();
    private
        .world
        .mirrord(["set", &private.url, "--every", "1s"])
        .ok();
    private.gitlab.wait_for(|requests| {
        let reads = requests.iter().filter(|request| {
            request.authorization.is_some() && request.body_text().contains("ls-refs")
        });
        reads.count() >= 2
    });
    let calls = private.helper_calls("helper");
    let kinds: BTreeSet<_> = calls.iter().map(String::as_str).collect();
    assert_eq!(kinds, BTreeSet::from(["get", "store right"]), "{calls:?}");
}

#[test]
fn a_token_that_is_refused_is_not_tried_again_by_the_schedule_before_there_is_another() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    let other = private.gitlab.project("group/other");
    other.commit("main", "b", "b");
    let url = private.gitlab.url("group/other");
    private
        .world
        .mirrord(["add", "other", &url, "--every", "1s"])
        .ok();
    private.gitlab.revoke("me");
    private.logins();
    private
        .world
        .mirrord(["set", "project", "--every", "1s"])
        .ok();
    private
        .gitlab
        .wait_for(|requests| asked(requests, "group/other") >= 4);
    let tries = private.tries("right");
    assert!((1..=2).contains(&tries), "{tries} tries");
    insta::assert_snapshot!(private.needs_you().join("\n"), @r"
    project  needs you: Authentication failed for 'http://gitlab.example/group/project.git'
    ");
    private.gitlab.require_login("group/project", "me", "new");
    private.set_password("project", "new").ok();
    private.gitlab.wait_for(|requests| {
        let reads = requests.iter().filter(|request| {
            request.authorization.as_deref() == Some("me:new")
                && request.body_text().contains("ls-refs")
        });
        reads.count() >= 2
    });
    assert_eq!(private.needs_you(), [""; 0]);
}

#[test]
fn a_host_that_sends_retry_after_is_not_asked_and_fetches_are_served_from_the_copy() {
    let stage = Stage::new(small);
    stage.add("work", &["--every", "never"]).ok();
    stage.clone("work", "ours").ok();
    let others = ["a", "b", "c", "d", "e"];
    for name in others {
        stage.another(name, &["--every", "1s"]);
    }
    stage
        .gitlab
        .fault(Fault::status(429).header("Retry-After", "600"));
    stage
        .gitlab
        .wait_for(|requests| requests.iter().any(|request| request.status == Some(429)));
    // Those that were on their way are back.
    stage.world.wait_until_no_sync();
    stage.gitlab.forget_requests();
    // Which of them was the first to hear of it is by chance.
    let without_name = |shown: String| {
        let from =
            |shown: String, name| shown.replace(&format!("group/{name}.git"), "group/other.git");
        others.into_iter().fold(shown, from)
    };
    let mut told = BTreeSet::new();
    for _ in 0..3 {
        let fetched = stage.fetch("ours").ok();
        told.insert(without_name(fetched.shown()));
    }
    // What it noted outlives it.
    stage.world.kill_daemon();
    let fetched = stage.fetch("ours").ok();
    told.insert(without_name(fetched.shown()));
    assert_eq!(told.len(), 1, "{told:?}");
    insta::assert_snapshot!(Vec::from_iter(told).concat(), @r"
    warning: 'http://gitlab.example/group/project.git' is left alone for [time]: 'http://gitlab.example/group/other.git' asks for patience (error 429); it wants to be left alone for [time]
    hint: serving the copy synced [time] ago
    ");
    let path = stage.world.path("elsewhere.git");
    let elsewhere = Project::new(&path);
    elsewhere.history(1);
    let options = [
        "add",
        "elsewhere",
        path.to_str().expect("text"),
        "--every",
        "1s",
    ];
    stage.mirrord(&options).ok();
    let mirror = |name: &str| {
        let shown = stage.shown(name, "directory");
        PathBuf::from(&shown[0])
    };
    // By its clock: a host that is another goes on.
    for content in ["x", "y", "z"] {
        let commit = elsewhere.commit("main", "file", content);
        until(|| has(&mirror("elsewhere"), &stage.world, "main") == Some(commit.clone()));
    }
    assert_eq!(stage.gitlab.requests().len(), 0, "it is left alone");
    // Somebody who says so goes all the same.
    stage.mirrord(&["sync", "work"]).code(1);
    assert_eq!(stage.gitlab.requests().len(), 1);
    stage.gitlab.clear_faults();
    stage.mirrord(&["sync", "work"]).ok();
    is_back(|| stage.fetch("ours"));
    stage.rounds("group/a", 1);
}

#[test]
fn a_host_that_hangs_does_not_delay_fetches_by_scheduled_syncs() {
    let stage = Stage::new(small);
    stage.add("work", &["--every", "never"]).ok();
    stage.clone("work", "ours").ok();
    let names: Vec<_> = (0..12).map(|number| format!("p{number}")).collect();
    for name in &names {
        stage.another(name, &["--every", "1s"]);
        let path = format!("group/{name}");
        stage
            .gitlab
            .fault(Fault::hang_before_headers().project(&path));
    }
    let hang = |requests: &[Request]| {
        let hanging = requests.iter().filter(|request| request.status.is_none());
        hanging.count() >= 4
    };
    stage.gitlab.wait_for(hang);
    let commit = stage.project.commit("main", "new", "new");
    let fetched = stage.fetch("ours").ok();
    assert_eq!(fetched.stderr, "", "{fetched}");
    assert_eq!(stage.rev_parse("ours", "origin/main"), commit);
    // And its end does not wait for them either.
    stage.mirrord(&["stop"]).ok();
}

#[test]
fn a_daemon_that_stops_ends_a_scheduled_sync() {
    let stage = Stage::new(small);
    stage.add("work", &["--every", "1s"]).ok();
    let paused = stage.gitlab.pause_answer(On::LsRefs);
    stage.project.commit("main", "new", "new");
    paused.reached();
    stage.mirrord(&["stop"]).ok();
    drop(paused);
    stage.mirrord(&["list"]).ok();
    stage.rounds("group/project", 1);
}

#[test]
fn a_torn_file_of_host_backoffs_is_ignored() {
    let stage = Stage::new(small);
    stage.add("work", &["--every", "1s"]).ok();
    stage.mirrord(&["stop"]).ok();
    let noted = stage.world.mirror_home().join("rests");
    fs::write(&noted, "https://x\t17\n\0\0\0").expect("the world is ours");
    stage.mirrord(&["list"]).ok();
    stage.rounds("group/project", 1);
}

//! Whatever way leads to upstream, and whoever comes and goes meanwhile.

use std::fs;

use tests::{Fault, Project, World, public_refs};

use crate::ssh;

use super::{
    alarmed, cloned, cloned_with, empty, fetch, fill, mirror_has, refill, replace, silent,
};

/// Plays an alarm of each kind, and its end, where this URL leads to this project.
#[track_caller]
fn play(world: &World, url: &str, project: &Project) {
    fill(project);
    let had = project.refs();
    world.mirrord(["add", "project", url, "-q"]).ok();
    world.git(["clone", "-q", "mirror::project", "ours"]).ok();
    let fetch = || world.git(["fetch", "-q", "--prune"]).at("ours");
    let shown = || public_refs(world, &world.only_mirror());
    empty(project);
    alarmed(fetch());
    alarmed(world.git(["clone", "-q", "mirror::project", "later"]));
    refill(project, &had);
    silent(fetch());
    replace(project, 20);
    alarmed(fetch());
    alarmed(fetch());
    assert_eq!(shown(), had);
    silent(world.mirrord(["accept", "project"]));
    silent(fetch());
    assert_eq!(shown(), project.refs());
    let was = ["restore", "project", "main", "--as", "was"];
    world.mirrord(was).ok();
    silent(fetch());
    let tip = world.git(["rev-parse", "origin/was"]).at("ours").ok();
    assert_eq!(tip.line(), had[0].1);
    // The one branch that is tracked goes, and others are left; then none.
    project.branch("other", "main");
    let track = "+refs/heads/main:refs/heads/main";
    world.mirrord(["set", "project", "--track", track]).ok();
    let had = project.tip("main").expect("it is there");
    project.delete("main");
    silent(fetch());
    project.force("main", &had);
    silent(fetch());
    empty(project);
    alarmed(fetch());
}

#[test]
fn over_http_of_the_old_protocol() {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.fault(Fault::old_protocol());
    let project = gitlab.project("group/project");
    play(&world, &gitlab.url("group/project"), &project);
}

#[test]
fn over_https() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    let ca = gitlab.ca_file().to_str().expect("text").to_owned();
    world.config("http.sslCAInfo", &ca);
    let project = gitlab.project("group/project");
    play(&world, &gitlab.url("group/project"), &project);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn over_ssh() {
    let stage = ssh::Stage::new(|_| ());
    play(&stage.world, &stage.url, &stage.project);
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn over_ssh_of_the_old_protocol() {
    let mut stage = ssh::Stage::new(|_| ());
    stage.sshd.stop();
    stage.sshd.start_old();
    play(&stage.world, &stage.url, &stage.project);
}

#[test]
fn on_this_machine() {
    let world = World::new();
    let project = world.project("project.git");
    play(&world, &project.url(), &project);
}

#[test]
fn a_repository_that_was_removed_and_made_anew_is_an_alarm() {
    let world = World::new();
    let project = world.project("project.git");
    project.history(12);
    let had = project.refs();
    world.mirrord(["add", "project", &project.url(), "-q"]).ok();
    world.git(["clone", "-q", "mirror::project", "ours"]).ok();
    let fetch = || world.git(["fetch", "--prune"]).at("ours");
    fs::remove_dir_all(project.dir()).expect("the world is ours");
    let gone = fetch().run();
    insta::assert_snapshot!(gone.shown(), @"error: cannot read 'file:///world/project.git': '/world/project.git' does not appear to be a git repository");
    let project = world.project("project.git");
    alarmed(fetch());
    project.commit("main", "a", "a");
    alarmed(fetch());
    assert_eq!(public_refs(&world, &world.only_mirror()), had);
}

#[test]
fn a_project_of_another_object_format_in_its_place_is_not_followed() {
    let (stage, had) = cloned();
    stage.gitlab.delete_project("group/project");
    let project = stage.gitlab.sha256_project("group/project");
    alarmed(fetch(&stage));
    project.commit("main", "a", "a");
    for _ in 0..2 {
        insta::allow_duplicates! {
            insta::assert_snapshot!(fetch(&stage).ok().shown(), @"
            warning: 'http://gitlab.example/group/project.git' has become a repository of another object format
            hint: serving the copy synced [time] ago
            ");
        }
    }
    let ran = stage.mirrord(&["accept", "project"]).code(1);
    insta::assert_snapshot!(ran.shown(), @"error: 'http://gitlab.example/group/project.git' has become a repository of another object format");
    mirror_has(&stage, &had);
}

#[test]
fn a_daemon_that_was_started_anew_raises_the_same_alarm() {
    let (stage, had) = cloned();
    for wipe in [empty, |project: &Project| replace(project, 20)] {
        wipe(&stage.project);
        for _ in 0..2 {
            alarmed(fetch(&stage));
            stage.world.mirrord(["stop"]).ok();
            alarmed(fetch(&stage));
            stage.world.kill_daemon();
        }
        alarmed(stage.ours(&["fetch"]));
        mirror_has(&stage, &had);
    }
    stage.world.kill_daemon();
    silent(stage.mirrord(&["accept", "project"]));
    stage.world.kill_daemon();
    fetch(&stage).ok();
    mirror_has(&stage, &stage.project.refs());
}

#[test]
fn a_mirror_that_is_not_asked_for_knows_of_the_alarm_after_the_daemon_was_started_anew() {
    let (stage, _) = cloned_with(&["--sync-on-fetch", "no"]);
    empty(&stage.project);
    stage.mirrord(&["sync", "project"]).code(1);
    let mut states = Vec::new();
    for command in [&["show", "project"][..], &["list"]] {
        stage.world.mirrord(["stop"]).ok();
        let output = stage.mirrord_shows(command);
        let alarms = output.lines().filter(|line| line.contains("looks wiped"));
        states.extend(alarms.map(str::to_owned));
    }
    insta::assert_snapshot!(states.join("\n"), @"
    state: in step [time] ago; since then: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    project  http://gitlab.example/group/project.git  in step [time] ago; since then: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now
    ");
    insta::assert_snapshot!(fetch(&stage).ok().shown(), @"warning: serving the copy synced [time] ago: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3: the mirror keeps what it has; 'mirrord accept project' takes upstream as it is now");
}

#[test]
fn a_login_that_has_read_upstream_is_served_and_a_stranger_is_not() {
    let (stage, _) = cloned();
    let gitlab = &stage.gitlab;
    gitlab.require_login("group/project", "me", "right");
    let login = |user: &str, token: &str| {
        let helper =
            format!("!f() {{ cat >/dev/null; echo username={user}; echo password={token}; }}; f");
        stage.world.config("credential.helper", &helper);
    };
    login("me", "right");
    silent(fetch(&stage));
    empty(&stage.project);
    alarmed(fetch(&stage));
    login("you", "guess");
    stage.world.kill_daemon();
    insta::assert_snapshot!(fetch(&stage).code(128).shown(), @"
    remote: HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or improperly scoped.
    error: Authentication failed for 'http://gitlab.example/group/project.git'
    hint: GitLab takes a personal access token (scopes read_repository, write_repository) as the password; accounts with two-factor or single sign-on need one
    ");
    login("me", "right");
    alarmed(fetch(&stage));
}

#[test]
fn somebody_whom_upstream_lets_in_for_the_first_time_is_served_what_was_there() {
    let (stage, _) = cloned();
    let gitlab = &stage.gitlab;
    for user in ["me", "you"] {
        gitlab.require_login("group/project", user, "right");
    }
    let login = |user: &str| {
        let helper =
            format!("!f() {{ cat >/dev/null; echo username={user}; echo password=right; }}; f");
        stage.world.config("credential.helper", &helper);
    };
    login("me");
    silent(fetch(&stage));
    empty(&stage.project);
    alarmed(fetch(&stage));
    login("you");
    stage.world.kill_daemon();
    let clone = ["clone", "-q", "mirror::project", "theirs"];
    alarmed(stage.world.git(clone));
}

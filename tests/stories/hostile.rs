//! An upstream that misleads, and a disk that forgets.

use std::fs;

use tests::{Fault, GitLab, On, Project, World, refs, same_clone};

fn url(gitlab: &GitLab) -> String {
    format!("mirror::{}", gitlab.url("group/project"))
}

fn world_with_clone() -> (World, GitLab, Project) {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.history(5);
    world.git(["clone", "--quiet", &url(&gitlab), "clone"]).ok();
    (world, gitlab, project)
}

#[test]
fn a_redirect_takes_no_login_along_where_git_itself_fetches() {
    let world = World::new();
    let (own, other) = (world.gitlab(), world.gitlab());
    for gitlab in [&own, &other] {
        gitlab.project("group/project").commit("main", "a", "a");
        gitlab.require_login("group/project", "me", "right");
    }
    let target = format!(
        "{}/info/refs?service=git-upload-pack",
        other.url("group/project")
    );
    own.fault(Fault::redirect(302, &target).on(On::InfoRefs));
    // A cookie file is something that only git's own client can use.
    world.config("http.cookieFile", "/dev/null");
    world.config("http.followRedirects", "true");
    world.config("mirror.allowLoginInUrl", "true");
    let mine = url(&own).replace("mirror::http://", "mirror::http://me:right@");
    world.git(["ls-remote", &mine]).code(128);
    for request in other.requests() {
        assert_eq!(request.authorization, None, "{request:?}");
    }
}

#[test]
fn a_project_that_takes_an_old_address_is_not_mistaken_for_the_one_that_moved() {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.project("group/new").commit("main", "a", "new");
    let target = format!(
        "{}/info/refs?service=git-upload-pack",
        gitlab.url("group/new")
    );
    gitlab.fault(Fault::redirect(301, &target).project("group/project"));
    world.git(["ls-remote", &url(&gitlab)]).ok();
    gitlab.clear_faults();
    let own = gitlab
        .project("group/project")
        .commit("main", "a", "another");
    let listed = world
        .git(["ls-remote", &url(&gitlab), "refs/heads/main"])
        .ok();
    assert!(listed.stdout.starts_with(&own), "{listed}");
}

#[test]
fn a_guessed_login_does_not_get_what_anybody_could_read_once() {
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "a", "public");
    world.git(["ls-remote", &url(&gitlab)]).ok();
    gitlab.require_login("group/project", "me", "right");
    world.config("mirror.allowLoginInUrl", "true");
    let guess = url(&gitlab).replace("mirror::http://", "mirror::http://eve:guess@");
    let ran = world
        .git(["ls-remote", &guess])
        .env("MIRROR_STALE", "serve")
        .code(128);
    assert!(ran.stdout.is_empty(), "{ran}");
}

#[test]
fn objects_that_a_mirror_has_lost_are_fetched_again() {
    let (world, gitlab, _) = world_with_clone();
    world.mirrord(["stop"]).ok();
    let packs = world.only_mirror().join("objects/pack");
    for file in fs::read_dir(packs).expect("readable") {
        fs::remove_file(file.expect("readable").path()).expect("ours");
    }
    world.git(["clone", "--quiet", &url(&gitlab), "again"]).ok();
    world
        .git(["clone", "--quiet", &gitlab.url("group/project"), "plain"])
        .ok();
    same_clone(&world, &world.path("again"), &world.path("plain"));
}

#[test]
fn a_mirror_that_has_lost_its_settings_is_named_and_nothing_is_made_over_it() {
    let (world, gitlab, _) = world_with_clone();
    let mirror = world.only_mirror();
    fs::write(mirror.join("config"), "[core]\n\tbare = true\n").expect("ours");
    fs::remove_file(mirror.join("config.copy")).expect("there");
    gitlab.forget_requests();
    let ran = world.git(["fetch"]).at("clone").code(128);
    insta::assert_snapshot!(ran.shown(), @"error: cannot read the mirrors: '/world/m/mirrors/project-[oid].git' is in its place and has no mirror.url");
    assert!(
        gitlab.requests().is_empty(),
        "nothing is downloaded for nothing"
    );
    assert_eq!(world.only_mirror(), mirror);
}

#[test]
fn a_thousand_refs_that_cannot_be_shown_are_not_named_one_by_one() {
    let (world, _gitlab, project) = world_with_clone();
    let mirror = world.only_mirror();
    let tip = refs(&world, &mirror)[0].1.clone();
    world
        .git(["update-ref", "refs/heads/mine", &tip])
        .at(&mirror)
        .ok();
    let below: String = (0..3_000)
        .map(|n| format!("create refs/heads/mine/{n:0200} {tip}\n"))
        .collect();
    project.git(["update-ref", "--stdin"]).stdin(below).ok();
    let ran = world.git(["fetch"]).at("clone").ok();
    let warnings = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning: "));
    assert_eq!(warnings.count(), 21, "{ran}");
    assert!(
        ran.stderr.contains("warning: and 2980 more such lines"),
        "{ran}"
    );
}

#[test]
fn an_error_that_drips_is_not_waited_for() {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.project("group/project").commit("main", "a", "a");
    gitlab.fault(Fault::rate_limit(10));
    gitlab.fault(Fault::status(404).body([b'x'; 60_000]));
    let ran = world.git(["ls-remote", &url(&gitlab)]).code(128);
    insta::assert_snapshot!(ran.shown(), @r"
        error: repository 'http://gitlab.example/group/project.git' not found
        hint: check the address; a private project needs a login
    ");
}

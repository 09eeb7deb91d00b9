//! An upstream that misleads, and a disk that forgets.

use std::fs;

use tests::{Fault, On, World, refs, same_clone};

use crate::stage::Stage;

/// A project with a mirror, and a clone of that which is called `ours`.
fn cloned() -> Stage {
    Stage::new(|project| project.history(5)).with_ours()
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
    let mine = own
        .url("group/project")
        .replace("http://", "mirror::http://me:right@");
    world.git(["ls-remote", &mine]).code(128);
    for request in other.requests() {
        assert_eq!(request.authorization, None, "{request:?}");
    }
}

#[test]
fn a_project_that_takes_an_old_address_is_not_mistaken_for_the_one_that_moved() {
    let stage = Stage::new(|project| project.commit("main", "a", "another"));
    let new = stage.gitlab.project("group/new");
    new.commit("main", "a", "new");
    let new = stage.gitlab.url("group/new");
    let target = format!("{new}/info/refs?service=git-upload-pack");
    let moved = Fault::redirect(301, &target).project("group/project");
    stage.gitlab.fault(moved);
    stage.ls_remote().ok();
    stage.gitlab.clear_faults();
    let listed = stage.ls_remote().arg("refs/heads/main").ok();
    let own = stage.upstream_tip("main");
    assert!(listed.stdout.starts_with(&own), "{listed}");
}

#[test]
fn a_guessed_login_does_not_get_what_anybody_could_read_once() {
    let stage = Stage::new(|project| project.commit("main", "a", "public"));
    stage.ls_remote().ok();
    stage.gitlab.require_login("group/project", "me", "right");
    stage.world.config("mirror.allowLoginInUrl", "true");
    let guess = stage.url.replace("http://", "mirror::http://eve:guess@");
    let ran = stage.world.git(["ls-remote", &guess]);
    let ran = ran.env("MIRROR_STALE", "serve").code(128);
    assert!(ran.stdout.is_empty(), "{ran}");
}

#[test]
fn objects_that_a_mirror_has_lost_are_fetched_again() {
    let stage = cloned();
    stage.mirrord(&["stop"]).ok();
    let packs = stage.world.only_mirror().join("objects/pack");
    for file in fs::read_dir(packs).expect("readable") {
        fs::remove_file(file.expect("readable").path()).expect("ours");
    }
    stage.clone(&stage.url, "again").ok();
    stage.world.git(["clone", "-q", &stage.url, "plain"]).ok();
    let path = |dir| stage.world.path(dir);
    same_clone(&stage.world, &path("again"), &path("plain"));
}

#[test]
fn a_mirror_that_has_lost_its_settings_is_named_and_nothing_is_made_over_it() {
    let stage = cloned();
    let mirror = stage.world.only_mirror();
    fs::write(mirror.join("config"), "[core]\n\tbare = true\n").expect("ours");
    fs::remove_file(mirror.join("config.copy")).expect("there");
    stage.gitlab.forget_requests();
    let ran = stage.ours(&["fetch"]).code(128);
    insta::assert_snapshot!(ran.shown(), @"error: cannot read the mirrors: '/world/m/mirrors/project-[oid].git' is in its place and has no mirror.url");
    assert!(
        stage.gitlab.requests().is_empty(),
        "nothing is downloaded for nothing"
    );
    assert_eq!(stage.world.only_mirror(), mirror);
}

#[test]
fn a_thousand_refs_that_cannot_be_shown_are_not_named_one_by_one() {
    let stage = cloned();
    let world = &stage.world;
    let mirror = world.only_mirror();
    let tip = refs(world, &mirror)[0].1.clone();
    world
        .git(["update-ref", "refs/heads/mine", &tip])
        .at(&mirror)
        .ok();
    let below: String = (0..3_000)
        .map(|n| format!("create refs/heads/mine/{n:0200} {tip}\n"))
        .collect();
    stage
        .project
        .git(["update-ref", "--stdin"])
        .stdin(below)
        .ok();
    let ran = stage.ours(&["fetch"]).ok();
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
    let stage = Stage::new(|project| project.commit("main", "a", "a"));
    let gitlab = &stage.gitlab;
    gitlab.fault(Fault::rate_limit(10));
    gitlab.fault(Fault::status(404).body([b'x'; 60_000]));
    let ran = stage.ls_remote().code(128);
    insta::assert_snapshot!(ran.shown(), @r"
        error: repository 'http://gitlab.example/group/project.git' not found
        hint: check the address; a private project needs a login
    ");
}

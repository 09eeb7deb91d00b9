//! Which mirror serves an address: many spellings of one project are one mirror, and two projects are never.

mod alike;

use std::fmt::Write;

use tests::{World, refs};

use crate::clone::listed;
use crate::{
    named::{asks_for_objects, small},
    stage::Stage,
};

/// Where nobody is, but for a proxy that passes everything on to one GitLab.
const FAR: &str = "http://gitlab.invalid/group/project.git";

#[test]
fn spellings_of_a_host_and_a_slash_at_the_end_make_no_difference() {
    let stage = Stage::new(small);
    let proxy = format!("http://{}", stage.gitlab.host());
    stage.world.config("http.proxy", &proxy);
    stage.clone(FAR, "first").ok();
    let own = stage.names();
    stage.gitlab.forget_requests();
    let spellings = [
        FAR,
        "HTTP://gitlab.invalid/group/project.git",
        "http://GITLAB.Invalid/group/project.git",
        "http://gitlab.invalid:80/group/project.git",
        "http://gitlab.invalid/group/project.git/",
        "http://GitLab.INVALID:80/group/project.git/",
    ];
    for (at, spelling) in spellings.iter().enumerate() {
        stage.clone(spelling, &format!("clone-{at}")).ok();
        assert_eq!(stage.shown(spelling, "name"), own);
    }
    assert_eq!(stage.names(), own);
    assert!(
        !stage.was_asked_for_objects(),
        "nothing is downloaded twice"
    );
}

#[test]
fn another_spelling_of_a_url_finds_its_mirror_and_another_port_does_not() {
    let world = World::new();
    let (url, spelling) = (
        "https://host.invalid/g/p.git",
        "https://HOST.invalid:443/g/p.git/",
    );
    let mut all = String::new();
    let mut found = |url: &str| {
        let ran = world.mirrord(["show", url]).code(1);
        write!(all, "{}", ran.shown()).expect("into a string");
    };
    found(spelling);
    let blind = ["add", "work", url, "--no-test", "--no-sync"];
    world.mirrord(blind).ok();
    found(spelling);
    found("https://host.invalid:80/g/p.git");
    // Not even http and https of one host are one project unless upstream says so.
    found("http://host.invalid/g/p.git");
    insta::assert_snapshot!(all, @r"
    error: there is no mirror of 'https://host.invalid/g/p.git'
    hint: 'mirrord list' shows them
    error: there is no mirror of 'https://host.invalid/g/p.git'
    hint: 'work' is one that was made with a name: say the name
    error: there is no mirror of 'https://host.invalid:80/g/p.git'
    hint: 'mirrord list' shows them
    error: there is no mirror of 'http://host.invalid/g/p.git'
    hint: 'mirrord list' shows them
    ");
}

#[test]
fn projects_that_differ_in_case_have_directories_that_differ_in_more() {
    let stage = Stage::new(small);
    let other = stage.gitlab.project("group/Project");
    other.commit("main", "a", "another one");
    let url = stage.gitlab.url("group/Project");
    stage.clone(&stage.url, "one").ok();
    stage.clone(&url, "two").ok();
    assert_eq!(
        Some(stage.rev_parse("one", "HEAD")),
        stage.project.tip("main")
    );
    assert_eq!(Some(stage.rev_parse("two", "HEAD")), other.tip("main"));
    let mut dirs = stage.world.mirrors();
    dirs.iter_mut().for_each(|dir| dir.make_ascii_lowercase());
    dirs.sort();
    dirs.dedup();
    assert_eq!(dirs.len(), 2, "on no file system are they one: {dirs:?}");
}

#[test]
fn an_address_that_upstream_redirects_to_git_is_the_same_mirror() {
    let stage = Stage::new(small);
    let bare = stage.url.trim_end_matches(".git");
    stage.clone(&stage.url, "first").ok();
    let own = stage.names();
    stage.gitlab.forget_requests();
    for (address, dir) in [(bare, "one"), (&format!("{bare}/"), "two")] {
        stage.clone(address, dir).ok();
        assert_eq!(
            Some(stage.rev_parse(dir, "HEAD")),
            stage.project.tip("main")
        );
    }
    assert!(!stage.was_asked_for_objects());
    assert_eq!(stage.names(), own);
    let mine = stage.commit("one", "mine");
    stage.push("one", &["HEAD:refs/heads/mine"]).ok();
    stage.fetch("two").ok();
    assert_eq!(stage.rev_parse("two", "origin/mine"), mine);
    let added = stage.mirrord(&["add", "again", bare]).ok();
    assert_eq!(stage.setting("again", "url"), stage.url, "upstream's own");
    let message = format!("'again' mirrors {}\n", stage.url);
    assert!(added.stdout.starts_with(&message), "{added}");
}

#[test]
fn several_mirrors_of_one_project_are_told_apart_by_their_names() {
    let stage = Stage::new(small);
    stage.add("one", &["--track", "+refs/heads/main"]).ok();
    stage.add("two", &["--track", "+refs/heads/topic"]).ok();
    let mut all = String::new();
    for command in [
        &["set", &stage.url, "--push", "no"][..],
        &["remove", &stage.url],
    ] {
        let ran = stage.mirrord(command).code(1);
        write!(all, "{}", ran.shown()).expect("into a string");
    }
    insta::assert_snapshot!(all, @r"
    error: there is no mirror of 'http://gitlab.example/group/project.git'
    hint: 'one' and 'two' are some that were made with a name: say the name
    error: there is no mirror of 'http://gitlab.example/group/project.git'
    hint: 'one' and 'two' are some that were made with a name: say the name
    ");
    for (name, branch) in [("one", "main"), ("two", "topic")] {
        stage.clone(name, name).ok();
        let tracked = format!("origin/{branch}");
        assert_eq!(
            Some(stage.rev_parse(name, &tracked)),
            stage.project.tip(branch)
        );
        assert_eq!(
            refs(&stage.world, &stage.world.path(name)).len(),
            3,
            "one branch"
        );
    }
    stage.push_local("one", "mine");
    stage.fetch("two").ok();
    let mine = ["rev-parse", "-q", "--verify", "origin/mine"];
    stage.world.git(mine).at("two").fails();
    stage.mirrord(&["remove", "two"]).ok();
    stage.clone(&stage.url, "neither").ok();
    assert_eq!(stage.names().len(), 2, "and the URL has one of its own");
    stage.world.git(mine).at("neither").fails();
}

#[test]
fn a_third_mirror_of_one_project_can_be_added() {
    let stage = Stage::new(small);
    for name in ["one", "two", "three"] {
        stage.add(name, &[]).ok();
    }
    stage.add("four", &["--no-test"]).ok();
    stage.add("five", &["--no-test", "--no-sync"]).ok();
    assert_eq!(stage.names().len(), 5);
}

#[test]
fn a_mirror_that_gets_the_name_of_its_url_back_serves_that_again() {
    let stage = Stage::new(small);
    stage.clone(&stage.url, "ours").ok();
    let automatic = stage.names().concat();
    stage.mirrord(&["rename", &stage.url, "work"]).ok();
    stage.add("other", &[]).ok();
    stage.mirrord(&["show", &stage.url]).code(1);
    stage.mirrord(&["rename", "work", &automatic]).ok();
    stage.fetch("ours").ok();
    assert_eq!(stage.names(), [&*automatic, "other"]);
    stage
        .mirrord(&["set", &stage.url, "--description", "meant"])
        .ok();
    assert_eq!(stage.setting(&automatic, "description"), "meant");
}

#[test]
fn a_name_that_looks_like_another_projects_does_not_take_its_place() {
    let stage = Stage::new(small);
    let other = stage.gitlab.project("group/other");
    other.commit("main", "a", "another project");
    let url = stage.gitlab.url("group/other");
    let host = stage.gitlab.host().replace(':', "+");
    stage.add(&format!("http+{host}/group/other"), &[]).ok();
    stage.clone(&url, "other").ok();
    assert_eq!(Some(stage.rev_parse("other", "HEAD")), other.tip("main"));
    stage.clone(&stage.url, "ours").ok();
    assert_eq!(
        Some(stage.rev_parse("ours", "HEAD")),
        stage.project.tip("main")
    );
    let mut urls = listed(&stage.world, "url");
    urls.sort();
    assert_eq!(urls, [&url, &stage.url, &stage.url].map(String::as_str));
}

#[test]
fn the_same_path_over_http_and_https_is_two_projects() {
    let stage = Stage::new(small);
    let secure = stage.world.gitlab_tls();
    stage
        .world
        .config("http.sslCAInfo", &secure.ca_file().to_string_lossy());
    let theirs = secure
        .project("group/project")
        .commit("main", "a", "over there");
    stage.clone(&stage.url, "ours").ok();
    stage.clone(&secure.url("group/project"), "theirs").ok();
    assert_eq!(
        Some(stage.rev_parse("ours", "HEAD")),
        stage.project.tip("main")
    );
    assert_eq!(stage.rev_parse("theirs", "HEAD"), theirs);
    assert_eq!(stage.names().len(), 2);
}

#[test]
fn an_unchanged_fetch_of_a_named_mirror_costs_one_request_in_every_spelling() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let bare = stage.url.trim_end_matches(".git");
    for (address, dir) in [("work", "one"), (&*stage.url, "two"), (bare, "three")] {
        stage.clone(address, dir).ok();
        stage.gitlab.forget_requests();
        stage.fetch(dir).ok();
        let requests = stage.gitlab.requests();
        assert_eq!(requests.len(), 1, "{address}: {requests:?}");
        assert!(!requests.iter().any(asks_for_objects));
    }
}

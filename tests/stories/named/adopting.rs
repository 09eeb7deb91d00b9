//! A mirror that was made by cloning a URL can be given a name and settings later, and keeps all that it has.

use tests::refs;

use super::{Stage, refused};

/// A mirror that a clone has made, with a branch of its own, whose commit this is.
#[track_caller]
fn automatic(stage: &Stage) -> String {
    stage.clone(&stage.url, "ours").ok();
    let track = ["set", &stage.url, "--track", "+refs/heads/main"];
    stage.mirrord(&track).ok();
    stage.push_local("ours", "mine")
}

/// Asserts that all is as before under this name, that nothing was downloaded for it, and that clones go on.
#[track_caller]
fn is_kept(stage: &Stage, name: &str, mine: &str) {
    assert!(!stage.was_asked_for_objects(), "nothing is downloaded anew");
    assert_eq!(stage.names(), [name]);
    stage.fetch("ours").ok();
    assert_eq!(stage.tip("ours", "origin/mine"), mine);
    stage.clone(name, "named").ok();
    assert_eq!(stage.tip("named", "origin/mine"), mine);
    let local = stage.shown(name, "local");
    assert!(local[0].starts_with("refs/heads/mine "), "{local:?}");
    assert_eq!(stage.project.tip("mine"), None, "and it has not left");
    assert!(!stage.was_asked_for_objects(), "nothing is downloaded anew");
}

#[test]
fn an_automatic_mirror_is_given_a_name_and_settings_by_add() {
    let stage = Stage::new();
    let mine = automatic(&stage);
    let dir = stage.world.only_mirror();
    stage.gitlab.forget_requests();
    let options = ["--track", "+refs/heads/main", "--description", "named"];
    let added = stage.add("work", &options);
    let next = format!("'work' mirrors {}\n    git clone mirror::work\n", stage.url);
    assert_eq!(added.stdout, next);
    assert_eq!(stage.world.only_mirror(), dir);
    assert_eq!(stage.setting("work", "description"), "named");
    is_kept(&stage, "work", &mine);
}

#[test]
fn an_automatic_mirror_is_given_a_name_and_settings_by_rename_and_set() {
    let stage = Stage::new();
    let mine = automatic(&stage);
    let dir = stage.world.only_mirror();
    stage.gitlab.forget_requests();
    stage.mirrord(&["rename", &stage.url, "work"]).ok();
    let set = ["set", "work", "--description", "named", "--fresh-for", "0s"];
    stage.mirrord(&set).ok();
    assert!(
        stage.gitlab.requests().is_empty(),
        "upstream is not even asked"
    );
    assert_eq!(stage.world.only_mirror(), dir);
    assert_eq!(stage.setting("work", "description"), "named");
    is_kept(&stage, "work", &mine);
}

#[test]
fn an_automatic_mirror_is_added_with_any_spelling_of_its_url() {
    let stage = Stage::new();
    stage.clone(&stage.url, "ours").ok();
    let bare = stage.url.trim_end_matches(".git").to_owned();
    let spellings = [
        stage.url.replace("http://", "HTTP://"),
        format!("{}/", stage.url),
        format!("mirror::{}", stage.url),
        bare,
    ];
    for spelling in spellings {
        stage.gitlab.forget_requests();
        stage.mirrord(&["add", "work", &spelling]).ok();
        assert_eq!(stage.names(), ["work"], "{spelling}");
        assert!(!stage.was_asked_for_objects(), "{spelling}");
        let name = stage.url.replace("http://", "http+").replace(".git", "");
        let (host, path) = name.split_once('/').expect("it has a path");
        let automatic = format!("{}/{path}", host.replace(':', "+"));
        stage.mirrord(&["rename", "work", &automatic]).ok();
    }
}

#[test]
fn a_local_branch_survives_that_the_added_mirror_tracks_all() {
    let stage = Stage::new();
    let mine = automatic(&stage);
    stage.project.commit("mine", "theirs", "of the same name");
    stage.add("work", &["--track", ""]);
    let seen = refs(&stage.world, &stage.world.only_mirror());
    let here = seen.iter().find(|(name, _)| name == "refs/heads/mine");
    assert_eq!(
        here.map(|(_, oid)| oid),
        Some(&mine),
        "it is not overwritten"
    );
    let fetched = stage.fetch("ours").ok();
    assert!(
        fetched.stderr.contains("mine"),
        "and that is said: {fetched}"
    );
}

#[test]
fn an_add_that_fails_leaves_the_automatic_mirror_as_it_was() {
    let stage = Stage::new();
    let mine = automatic(&stage);
    let names = stage.names();
    stage.gitlab.stop();
    refused(stage.adding("work", &["--push", "no"]), 1, "cannot reach");
    stage.gitlab.start();
    assert_eq!(stage.names(), names);
    assert_eq!(stage.setting(&names[0], "push"), "yes");
    stage.fetch("ours").ok();
    assert_eq!(stage.tip("ours", "origin/mine"), mine);
}

#[test]
fn without_a_test_an_automatic_mirror_is_named_though_upstream_is_down() {
    let stage = Stage::new();
    let mine = automatic(&stage);
    stage.gitlab.stop();
    let track = ["--track", "+refs/heads/main"];
    stage.add("work", &[&["--no-test", "--no-sync"][..], &track].concat());
    assert_eq!(stage.names(), ["work"]);
    let ran = stage.fetch("ours").ok();
    assert!(ran.stderr.contains("serving the copy"), "{ran}");
    assert_eq!(stage.tip("ours", "origin/mine"), mine);
}

//! Several mirrors of one upstream: its URL means the whole of it, a name means the mirror of that name, and nothing is
//! downloaded twice.

use std::fs;

use tests::{Request, same_clone};

use super::{Stage, asks_for_objects, refused, small};

/// The name of the mirror that a clone of the URL makes.
fn own_name(stage: &Stage) -> String {
    let name = stage.url.replace("http://", "http+").replace(".git", "");
    let (host, path) = name.split_once('/').expect("it has a path");
    format!("{}/{path}", host.replace(':', "+"))
}

/// The objects that GitLab was asked for since its requests were forgotten: none, or what somebody has who has much.
#[track_caller]
fn asked_for_little(stage: &Stage) {
    let requests = stage.gitlab.requests();
    let asked: Vec<&Request> = requests
        .iter()
        .filter(|one| asks_for_objects(one))
        .collect();
    for request in &asked {
        assert!(request.body_text().contains("have "), "{request:?}");
    }
    assert!(!asked.is_empty(), "there is something new");
}

/// Asserts that a clone of the URL is one of the whole project.
#[track_caller]
fn url_is_whole(stage: &Stage, dir: &str) {
    let plain = format!("{dir}-plain");
    stage.clone(&stage.url, dir).ok();
    stage.world.git(["clone", "-q", &stage.url, &plain]).ok();
    let path = |dir: &str| stage.world.path(dir);
    same_clone(&stage.world, &path(dir), &path(&plain));
}

#[test]
fn mirrors_with_names_change_nothing_for_clones_of_the_url() {
    let stage = Stage::new(small);
    stage.clone(&stage.url, "old").ok();
    for name in ["fork", "other"] {
        stage
            .add(name, &["--track", "+refs/heads/main", "--push", "no"])
            .ok();
        assert_eq!(stage.shown(name, "tracked refs"), ["1"]);
        url_is_whole(&stage, &format!("new-{name}"));
        stage.fetch("old").ok();
        stage.rev_parse("old", "origin/topic");
        let tip = stage.commit("old", name);
        stage
            .push("old", &[&format!("HEAD:refs/heads/{name}")])
            .ok();
        assert_eq!(stage.project.tip(name), Some(tip), "it goes upstream");
    }
    assert_eq!(stage.names(), ["fork", &own_name(&stage), "other"]);
    let serves = stage.mirrord(&["set", &stage.url, "--track", "+refs/heads/main"]);
    insta::assert_snapshot!(refused(serves, 2).shown(), @"
    error: 'http+gitlab.example/group/project' serves 'http://gitlab.example/group/project.git', and a URL means the whole of its upstream
    hint: 'mirrord add NAME http://gitlab.example/group/project.git --track ?' makes a mirror beside it, and downloads nothing twice
    ");
    stage.mirrord(&["set", &stage.url, "--every", "1d"]).ok();
    assert_eq!(stage.setting(&own_name(&stage), "every"), "1d");
}

#[test]
fn a_url_makes_its_mirror_beside_those_that_have_names() {
    let stage = Stage::new(small);
    stage.add("one", &["--track", "+refs/heads/main"]).ok();
    stage.add("two", &[]).ok();
    let ran = refused(stage.mirrord(&["show", &stage.url]), 1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: there is no mirror of 'http://gitlab.example/group/project.git'
        hint: 'one' and 'two' are some that were made with a name: say the name
    ");
    stage.gitlab.forget_requests();
    stage.clone(&stage.url, "ours").ok();
    let requests = stage.gitlab.requests();
    let posts = requests.iter().filter(|one| one.method == "POST");
    assert_eq!(posts.count(), 1, "one question, and no pack: {requests:?}");
    url_is_whole(&stage, "again");
    assert_eq!(stage.names(), [&own_name(&stage), "one", "two"]);
    // What upstream has now is asked for by what the others had.
    stage.mirrord(&["remove", &stage.url]).ok();
    stage.project.commit("main", "new", "new");
    stage.gitlab.forget_requests();
    stage.clone(&stage.url, "later").ok();
    asked_for_little(&stage);
    url_is_whole(&stage, "last");
}

#[test]
fn a_mirror_with_a_name_takes_the_packs_of_the_one_that_the_url_has_made() {
    let stage = Stage::new(small);
    stage.clone(&stage.url, "ours").ok();
    stage.gitlab.forget_requests();
    stage.add("tested", &["--track", "+refs/heads/main"]).ok();
    stage.add("untested", &["--no-test"]).ok();
    stage.add("later", &["--no-sync"]).ok();
    for name in ["tested", "untested", "later"] {
        stage.clone(name, name).ok();
        stage
            .world
            .git(["fsck", "--connectivity-only"])
            .at(name)
            .ok();
        assert_eq!(
            Some(stage.rev_parse(name, "HEAD")),
            stage.project.tip("main")
        );
    }
    assert!(!stage.was_asked_for_objects(), "nothing comes twice");
    stage.mirrord(&["remove", &stage.url]).ok();
    stage.clone("untested", "by-itself").ok();
    stage.world.git(["fsck"]).at("by-itself").ok();
}

#[test]
fn local_commits_of_a_mirror_are_not_taken_by_another_and_pushed_ones_are() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    let track = ["main", "topic"].map(|name| format!("--track=+refs/heads/{name}"));
    let set = ["set", "work", "--track=+refs/tags/*", &track[0], &track[1]];
    stage.mirrord(&set).ok();
    let sent = stage.commit("ours", "sent");
    stage.push("ours", &["HEAD~1:refs/heads/local"]).ok();
    stage.push("ours", &["HEAD:refs/heads/main"]).ok();
    stage.gitlab.forget_requests();
    stage.commit("ours", "stays");
    stage.push("ours", &["HEAD:refs/heads/later"]).ok();
    let stays = stage.rev_parse("ours", "HEAD");
    stage.gitlab.forget_requests();
    let cloned = stage.clone(&stage.url, "whole").ok();
    let output = cloned.stderr.contains("are in the mirror");
    assert!(!output, "it never served the URL: {cloned}");
    assert!(!stage.was_asked_for_objects(), "nothing comes twice");
    assert_eq!(stage.rev_parse("whole", "HEAD"), sent);
    stage
        .world
        .git(["cat-file", "-e", &stays])
        .at("whole")
        .fails();
    stage.world.git(["fsck"]).at("whole").ok();
    stage.mirrord(&["remove", &stage.url]).ok();
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/mine"), mine);
}

#[test]
fn a_mirror_that_gets_a_name_is_used_by_it_and_its_url_makes_another() {
    let stage = Stage::new(small);
    stage.mirrord(&["config", "track", "+refs/heads/main"]).ok();
    stage.clone(&stage.url, "ours").ok();
    stage.project.commit("main", "a", "rewritten");
    stage.fetch("ours").ok();
    stage.project.force("main", "main~1");
    stage.fetch("ours").ok();
    let restore = ["restore", &stage.url, "main", "--as", "mine"];
    stage.mirrord(&restore).ok();
    let renamed = stage.mirrord(&["rename", &stage.url, "work"]).ok();
    insta::assert_snapshot!(renamed.shown(), @r"
        'http://gitlab.example/group/project.git' is now 'work'
        --- stderr
        warning: 'work' is used by its name from now on: the next use of 'http://gitlab.example/group/project.git' makes a mirror of its own, which takes the packs of this one; what is local stays in 'work'
    ");
    stage.gitlab.forget_requests();
    let fetched = stage.fetch("ours").ok();
    let line = "in the mirror 'work': git ls-remote 'mirror::work'";
    assert_eq!(fetched.stderr.matches(line).count(), 1, "{fetched}");
    assert!(!stage.was_asked_for_objects(), "nothing comes twice");
    assert_eq!(stage.names(), [&own_name(&stage), "work"]);
    assert_eq!(stage.fetch("ours").ok().stderr, "", "that is said once");
    stage.clone("work", "theirs").ok();
    stage.rev_parse("theirs", "origin/mine");
}

#[test]
fn mirrors_of_an_older_version_keep_their_branches_and_their_urls_mean_the_whole_again() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    stage.mirrord(&["stop"]).ok();
    let dir = stage.world.only_mirror();
    let older = ["config", "--unset", "mirror.serves-url"];
    stage.world.git(older).at(&dir).ok();
    // There was no copy of the configuration then.
    fs::remove_file(stage.world.path(&dir).join("config.copy")).expect("there");
    let cloned = stage.clone(&stage.url, "whole").ok();
    insta::assert_snapshot!(cloned.shown(), @"warning: local branches and tags of 'http://gitlab.example/group/project.git' are in the mirror 'work': git ls-remote 'mirror::work'");
    stage.world.kill_daemon();
    url_is_whole(&stage, "again");
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/mine"), mine);
    assert_eq!(stage.shown("work", "tracked refs"), ["1"]);
}

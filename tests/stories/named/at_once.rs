//! Commands that run at once: nobody's change is lost, and nothing is made twice under one name.

use std::{fs, path::PathBuf};

use tests::{On, Ran, Run, Running};

use super::{Stage, small};

/// Starts commands that all wait for the sync of 'work' which is held here, and lets it go when they do.
#[track_caller]
fn at_once(stage: &Stage, commands: impl IntoIterator<Item = Run>) -> Vec<Ran> {
    let paused = stage.gitlab.pause(On::LsRefs);
    let fetch = stage.mirrord(&["sync", "work"]).start();
    paused.reached();
    let running: Vec<Running> = commands.into_iter().map(Run::start).collect();
    let wanted = format!("\"clients\": {},", running.len() + 1);
    let status = || stage.mirrord(&["status", "--json"]).ok().stdout;
    // The daemon has no event for this; each look is a conversation with it.
    while !status().contains(&wanted) {
        assert!(
            !running.iter().any(Running::has_ended),
            "a change waits for syncs"
        );
    }
    paused.release();
    let ran = fetch.wait();
    assert!(ran.status.success(), "{ran}");
    running.into_iter().map(Running::wait).collect()
}

/// How many of these went well; the others failed in order.
#[track_caller]
fn successes(all: &[Ran]) -> usize {
    let well = all.iter().filter(|ran| ran.status.success());
    for ran in all {
        assert!(matches!(ran.status.code(), Some(0 | 1)), "{ran}");
    }
    well.count()
}

#[test]
fn two_changes_at_once_both_count() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let all = at_once(
        &stage,
        [
            stage.mirrord(&["set", "work", "--description", "changed"]),
            stage.mirrord(&["set", "work", "--fresh-for", "10m"]),
            stage.mirrord(&["set", "work", "--stale", "fail"]),
        ],
    );
    assert_eq!(successes(&all), 3, "{all:?}");
    let settings = ["description", "fresh-for", "stale"];
    let settings = settings.map(|key| stage.setting("work", key));
    assert_eq!(settings, ["changed", "10m", "fail"]);
}

#[test]
fn a_rename_and_a_change_at_once_both_count() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let all = at_once(
        &stage,
        [
            stage.mirrord(&["rename", "work", "play"]),
            stage.mirrord(&["set", "mirror::work", "--fresh-for", "10m"]),
        ],
    );
    assert_eq!(successes(&all), 2, "{all:?}");
    assert_eq!(stage.names(), ["play"]);
    assert_eq!(stage.setting("play", "fresh-for"), "10m");
}

#[test]
fn a_change_that_a_removal_overtakes_brings_nothing_back() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let all = at_once(
        &stage,
        [
            stage.mirrord(&["remove", "work"]),
            stage.mirrord(&["set", "work", "--fresh-for", "10m"]),
            stage.mirrord(&["rename", "work", "play"]),
        ],
    );
    assert!(all[0].status.success(), "{all:?}");
    assert_eq!(stage.world.mirrors(), [""; 0]);
    assert_eq!(stage.names(), [""; 0]);
}

/// Starts two downloads of the project, the second one when the first has begun.
#[track_caller]
fn two_adds(stage: &Stage, first: Run, second: Run) -> [Ran; 2] {
    let paused = stage.gitlab.pause(On::Fetch);
    let first = first.start();
    paused.reached();
    let second = second.start();
    stage.world.wait_until_clients(2);
    paused.release();
    [first.wait(), second.wait()]
}

#[test]
fn of_two_adds_of_one_name_at_once_one_is_told_that_it_is_taken() {
    let stage = Stage::new(small);
    let track = |refspec| ["--track", refspec];
    let main = stage.adding("work", &track("+refs/heads/main"));
    let topic = stage.adding("work", &track("+refs/heads/topic"));
    let all = two_adds(&stage, main, topic);
    assert_eq!(successes(&all), 1, "{all:?}");
    let tracked = match all[0].status.success() {
        true => "+refs/heads/main:refs/heads/main",
        false => "+refs/heads/topic:refs/heads/topic",
    };
    assert_eq!(stage.names(), ["work"]);
    assert_eq!(stage.setting("work", "track"), tracked, "the winner's");
    assert_eq!(stage.world.mirrors().len(), 1);
}

#[test]
fn of_two_adds_of_one_name_and_two_projects_one_is_told_that_it_is_taken() {
    let stage = Stage::new(small);
    let other = stage.gitlab.project("group/other");
    other.commit("main", "a", "a");
    let url = stage.gitlab.url("group/other");
    let first = stage.adding("work", &[]);
    let second = stage.mirrord(&["add", "work", &url]);
    let paused = stage.gitlab.pause(On::Fetch);
    let first = first.start();
    paused.reached();
    let second = second.start().wait();
    paused.release();
    let all = [first.wait(), second];
    assert_eq!(successes(&all), 1, "{all:?}");
    let loser = all.iter().find(|ran| !ran.status.success());
    let stderr = &loser.expect("there is one").stderr;
    insta::assert_snapshot!(tests::shown(stderr), @"error: cannot make a mirror: a mirror of 'http://gitlab.example/group/other.git' is called 'work' already");
    assert_eq!(stage.names(), ["work"]);
    assert_eq!(
        stage.world.mirrors().len(),
        1,
        "nothing of the other is left"
    );
}

#[test]
fn two_adds_of_one_project_at_once_are_two_mirrors() {
    let stage = Stage::new(small);
    let all = two_adds(
        &stage,
        stage.adding("one", &["--description", "1"]),
        stage.adding("two", &["--description", "2"]),
    );
    assert_eq!(successes(&all), 2, "{all:?}");
    assert_eq!(stage.names(), ["one", "two"]);
    for (name, description) in [("one", "1"), ("two", "2")] {
        assert_eq!(stage.setting(name, "description"), description);
        stage.clone(name, name).ok();
        assert_eq!(
            Some(stage.rev_parse(name, "HEAD")),
            stage.project.tip("main")
        );
    }
}

#[test]
fn a_clone_and_an_add_of_one_project_at_once_both_succeed() {
    let stage = Stage::new(small);
    let all = two_adds(
        &stage,
        stage.clone(&stage.url, "ours"),
        stage.adding("work", &["--description", "named"]),
    );
    assert_eq!(successes(&all), 2, "{all:?}");
    assert!(stage.names().contains(&"work".to_owned()));
    assert_eq!(stage.setting("work", "description"), "named");
    stage.fetch("ours").ok();
    stage.clone("work", "named").ok();
}

#[test]
fn a_first_clone_beside_an_add_has_the_whole_of_upstream() {
    let stage = Stage::new(small);
    let all = two_adds(
        &stage,
        stage.adding("work", &["--track", "+refs/heads/main"]),
        stage.clone(&stage.url, "ours"),
    );
    assert_eq!(successes(&all), 2, "{all:?}");
    assert_eq!(stage.names().len(), 2, "the URL has one of its own");
    let tracked = stage.setting("work", "track");
    assert_eq!(tracked, "+refs/heads/main:refs/heads/main");
    stage.rev_parse("ours", "origin/topic");
}

#[test]
fn two_removals_at_once_leave_the_branches_of_both() {
    let stage = Stage::new(small);
    // Names that are alike where a file's name has no room for the difference.
    let tips = ["a/b", "a-b"].map(|name| {
        stage.add(name, &["--track", "+refs/heads/main"]).ok();
        let dir = name.replace('/', "_");
        stage.clone(name, &dir).ok();
        stage.commit(&dir, &dir);
        stage.push(&dir, &["HEAD:refs/heads/mine"]).ok();
        stage.rev_parse(&dir, "HEAD")
    });
    let removing = ["a/b", "a-b"].map(|name| stage.mirrord(&["remove", name, "--force"]).start());
    let removed = removing.map(Running::wait);
    assert_eq!(successes(&removed), 2, "{removed:?}");
    let bundles = fs::read_dir(stage.world.mirror_home().join("bundles"));
    let bundles: Vec<PathBuf> = bundles
        .expect("there are bundles")
        .map(|entry| entry.expect("readable").path())
        .collect();
    let heads = bundles.iter().map(|bundle| {
        let heads = stage.world.git(["bundle", "list-heads"]).arg(bundle).ok();
        heads.stdout
    });
    let heads: String = heads.collect();
    for tip in tips {
        assert!(heads.contains(&tip), "{tip} is in one of {bundles:?}");
    }
}

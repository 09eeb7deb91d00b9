//! `mirrord rename`: another name, and nothing else changes.

use tests::On;

use super::{Stage, refused, small};

#[test]
fn a_renamed_mirror_has_all_that_it_had() {
    let stage = Stage::new(small);
    let mine = stage.add_with_local();
    let dir = stage.world.only_mirror();
    stage.gitlab.forget_requests();
    let renamed = stage.mirrord(&["rename", "work", "play"]).ok();
    assert_eq!(renamed.stdout, "'work' is now 'play'\n");
    let advice = "hint: each clone of mirror::work needs: git remote set-url origin mirror::play\n";
    assert_eq!(renamed.stderr, advice);
    assert_eq!(stage.names(), ["play"]);
    assert_eq!(stage.world.only_mirror(), dir);
    assert!(stage.gitlab.requests().is_empty());
    assert_eq!(
        stage.setting("play", "track"),
        "+refs/heads/main:refs/heads/main"
    );

    let ran = stage.fetch("ours").code(128);
    insta::assert_snapshot!(ran.shown(), @r"
        error: no mirror is called 'work'
        hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
    ");
    let set_url = ["remote", "set-url", "origin", "mirror::play"];
    stage.world.git(set_url).at("ours").ok();
    stage.fetch("ours").ok();
    assert_eq!(stage.rev_parse("ours", "origin/mine"), mine);
    assert!(!stage.was_asked_for_objects());
}

#[test]
fn a_name_holds_nothing_that_nobody_sees_and_one_that_does_can_be_changed() {
    let stage = Stage::new(small);
    let args = ["add", "too\u{202e}ls", &stage.url];
    insta::assert_snapshot!(refused(stage.mirrord(&args), 2).shown(), @"error: invalid name 'too?ls': it contains the invisible character U+202E");
    stage.add("work", &[]).ok();
    let args = ["rename", "work", "wo\u{202e}rk"];
    insta::assert_snapshot!(refused(stage.mirrord(&args), 2).shown(), @"error: invalid name 'wo?rk': it contains the invisible character U+202E");
    // One that was given before there was this rule.
    stage.mirrord(&["stop"]).ok();
    let dir = stage.world.only_mirror();
    let old = "wo\u{200b}rk";
    let set = ["config", "mirror.name", old];
    stage.world.git(set).at(&dir).ok();
    assert_eq!(stage.names(), [old]);
    stage.mirrord(&["rename", old, "play"]).ok();
    assert_eq!(stage.names(), ["play"]);
}

#[test]
fn a_name_that_is_given_away_is_free_again() {
    let stage = Stage::new(small);
    stage.add("work", &["--description", "first"]).ok();
    stage.mirrord(&["rename", "work", "play"]).ok();
    stage.add("work", &["--description", "second"]).ok();
    assert_eq!(stage.setting("play", "description"), "first");
    assert_eq!(stage.setting("work", "description"), "second");
}

#[test]
fn a_name_that_is_taken_or_none_is_refused_and_nothing_changes() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.add("play", &[]).ok();
    let rename = |name: &str| stage.mirrord(&["rename", "work", name]);
    insta::assert_snapshot!(refused(rename("play"), 1).shown(), @"error: cannot change the mirror: a mirror of 'http://gitlab.example/group/project.git' is called 'play' already");
    // Every other rule of names is a row in the tests of their parser.
    insta::assert_snapshot!(refused(rename("a:b"), 2).shown(), @"error: invalid name 'a:b': ':' stands before its first '/', as in a URL");
    assert_eq!(stage.names(), ["play", "work"]);
    rename("work").ok();
    assert_eq!(stage.names(), ["play", "work"]);
}

#[test]
fn a_rename_in_the_middle_of_a_fetch_lets_it_end() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.clone("work", "ours").ok();
    let tip = stage.project.commit("main", "new", "new");
    let paused = stage.gitlab.pause(On::Fetch);
    let fetch = stage.fetch("ours").start();
    paused.reached();
    let rename = stage.mirrord(&["rename", "work", "play"]).start();
    paused.release();
    for ran in [fetch.wait(), rename.wait()] {
        assert!(ran.status.success(), "{ran}");
    }
    assert_eq!(stage.rev_parse("ours", "origin/main"), tip);
    assert_eq!(stage.names(), ["play"]);
}

#[test]
fn a_rename_in_the_middle_of_a_push_lets_it_end() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.clone("work", "ours").ok();
    let mine = stage.commit("ours", "mine");
    let paused = stage.gitlab.pause(On::Push);
    let push = stage.push("ours", &["main"]).start();
    paused.reached();
    let rename = stage.mirrord(&["rename", "work", "play"]).start();
    paused.release();
    for ran in [push.wait(), rename.wait()] {
        assert!(ran.status.success(), "{ran}");
    }
    assert_eq!(stage.project.tip("main").as_deref(), Some(&*mine));
    stage.clone("play", "again").ok();
    assert_eq!(stage.rev_parse("again", "HEAD"), mine);
}

#[test]
fn a_reader_does_not_hold_up_a_rename() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let reader = stage.reader("work");
    stage.mirrord(&["rename", "work", "play"]).ok();
    stage.lets_go(reader);
}

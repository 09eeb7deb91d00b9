//! `mirrord log NAME`: the lines of one mirror, also after it was renamed or removed.

use super::{cloned, mirrored};

#[test]
fn the_log_of_one_mirror_has_only_its_lines() {
    let stage = cloned();
    let other = stage.gitlab.project("group/other");
    other.history(1);
    let url = stage.gitlab.url("group/other");
    stage.world.clone_mirror(&url, "theirs").ok();
    stage.mirrord(&["sync", "project"]).ok();
    let named = |line: &String| line.starts_with("project ");
    let all = stage.log(&[]);
    assert_eq!(all.len(), 4, "{all:?}");
    let ours = stage.log(&["project"]);
    assert_eq!(ours.len(), 3, "{ours:?}");
    assert!(ours.iter().all(named));
    let theirs = stage.log(&[&url]);
    assert_eq!(theirs.len(), 1, "{theirs:?}");
    assert!(!theirs.iter().any(named));
    assert_eq!(stage.log(&["project", "-n", "1"]), ours[2..]);
    assert_eq!(stage.log(&["-n", "2"]), all[2..]);
    assert_eq!(stage.log(&["-n", "100"]), all);
    assert_eq!(
        stage.mirrord(&["log", "-n", "0"]).ok().stdout,
        "nothing is in the log\n"
    );
    let ran = stage.mirrord(&["log", "no-such"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: no mirror is called 'no-such'
        hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
    ");
}

#[test]
fn the_log_of_a_mirror_outlives_a_new_name_and_a_new_address() {
    let stage = mirrored();
    let before = stage.log(&["project"]);
    stage.mirrord(&["rename", "project", "renamed"]).ok();
    assert_eq!(stage.log(&["renamed"]), before, "in the words of then");
    stage.mirrord(&["sync", "renamed"]).ok();
    let other = stage.gitlab.url("group/moved");
    let moved = stage.gitlab.project("group/moved");
    stage
        .project
        .git(["push", "-q", "--mirror"])
        .arg(moved.dir())
        .ok();
    stage.mirrord(&["set", "renamed", "--url", &other]).ok();
    stage.mirrord(&["sync", "renamed"]).ok();
    let lines = stage.log(&["renamed"]);
    assert_eq!(lines[..1], before, "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[1..].iter().all(|line| line.starts_with("renamed ")));
    stage.mirrord(&["remove", "renamed"]).ok();
    assert_eq!(
        stage.log(&["renamed"]).len(),
        2,
        "what is gone is still known"
    );
    let ran = stage.mirrord(&["log", "never"]).code(1);
    insta::assert_snapshot!(ran.shown(), @r"
        error: no mirror is called 'never'
        hint: 'mirrord list' shows them; a URL makes a new one: mirror::https://HOST/GROUP/PROJECT.git
    ");
    assert_eq!(stage.log(&[]).len(), 3);
}

#[test]
fn the_log_of_a_mirror_has_no_line_of_another_mirror_of_its_upstream() {
    let stage = mirrored();
    stage.mirrord(&["sync", "project"]).ok();
    let before = stage.log(&["project"]);
    stage.mirrord(&["remove", "project"]).ok();
    // In the directory of the one that is gone.
    let url = stage.gitlab.url("group/project");
    stage.mirrord(&["add", "-q", "next", &url]).ok();
    let next = || stage.log(&["next"]);
    let [made] = &next()[..] else {
        panic!("one sync: {:?}", next());
    };
    insta::assert_snapshot!(tests::shown(made), @"next sync (command) in step, 1 ref moved, bytes");
    assert_eq!(stage.log(&["project"]), before, "what is gone is known");
    stage.mirrord(&["rename", "next", "renamed"]).ok();
    stage.mirrord(&["sync", "renamed"]).ok();
    stage.mirrord(&["add", "-q", "project", &url]).ok();
    let lines = stage.log(&["renamed"]);
    assert_eq!(lines.len(), 2, "also from before it was renamed: {lines:?}");
    assert_eq!(lines[0], *made);
}

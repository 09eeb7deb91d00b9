//! Paths that have a part in the lines that programs send each other: with a newline, without UTF-8, with separators.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use tests::{Run, World};

use crate::{clone::fill, stage::Stage};

#[test]
fn a_clone_into_any_path_leaves_the_files_beside_it_alone() {
    let stage = Stage::new(fill);
    let world = &stage.world;
    let address = format!("mirror::{}", stage.url);
    let tip = world.git(["ls-remote", &stage.url, "HEAD"]).ok();
    let tip = tip.line().split('\t').next().unwrap_or_default().to_owned();
    let names: [&[u8]; 4] = [b"n\nl", b"\xff", b"c\r", b"q\"'\\ :"];
    for (at, name) in names.into_iter().enumerate() {
        for depth in [None, Some("--depth=1")] {
            let dir = world.path(format!("{at}{}", depth.is_some()));
            fs::create_dir(&dir).expect("the world is ours");
            fs::write(dir.join("n"), "precious").expect("the world is ours");
            let name = OsStr::from_bytes(name);
            let clone = world.git(["clone", "-q", &address]).args(depth).arg(name);
            let ran = clone.at(&dir).ok();
            assert_eq!(ran.stderr, "", "git is quiet");
            let head = world.git(["rev-parse", "HEAD"]).at(dir.join(name)).ok();
            assert_eq!(head.line(), tip);
            let fsck = ["fsck", "--full", "--no-dangling"];
            world.git(fsck).at(dir.join(name)).ok();
            let beside = fs::read(dir.join("n")).expect("git has not removed it");
            assert_eq!(beside, b"precious");
        }
    }
}

#[test]
fn a_home_with_separators_in_its_path_works_and_one_with_a_newline_is_refused() {
    let world = World::new();
    let project = world.project("upstream.git");
    project.commit("main", "file", "first");
    let url = format!("mirror::{}", project.url());
    let within = |home: &OsStr, run: Run| run.env("MIRROR_HOME", world.root().join(home));
    let home = OsStr::new("a:b \"c\" 'd'\\e");
    let git = |args: &[&str]| within(home, world.git(args));
    git(&["clone", "-q", &url, "ours"]).ok();
    git(&["commit", "-q", "--allow-empty", "-m", "c"])
        .at("ours")
        .ok();
    git(&["push", "-q"]).at("ours").ok();
    project.commit("main", "file", "second");
    git(&["pull", "-q", "--rebase"]).at("ours").ok();
    let part = git(&["clone", "-q", "--depth=1", &url, "part"]).ok();
    assert_eq!(part.stderr, "");
    let local = world.mirrord(["add", "fork", &project.url(), "--track", "+refs/heads/x"]);
    within(home, local).ok();
    git(&["push", "-q", "mirror::fork", "HEAD:mine"])
        .at("ours")
        .ok();
    within(home, world.mirrord(["stop"])).ok();

    let mut shown = String::new();
    for home in [&b"n\nl"[..], b"\xff"] {
        let home = OsStr::from_bytes(home);
        let clone = within(home, world.git(["clone", "-q", &url, "none"])).code(128);
        shown += &clone.shown();
        assert!(!world.root().join(home).exists(), "nothing is made there");
    }
    insta::assert_snapshot!(shown, @r"
        error: cannot use '/world/n^Jl': it has a control character or is not UTF-8
        hint: set MIRROR_HOME to another directory
        error: cannot use '/world/�': it has a control character or is not UTF-8
        hint: set MIRROR_HOME to another directory
    ");
}

//! The small files of a mirror are damaged: what can be rebuilt is rebuilt before anybody is served, and what was done is
//! said once.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tests::{Changes, Fault, Part, Ran};

use crate::{local::fork, stage::Stage};

/// No repair makes so many changes on disk.
const MAX_CHANGES: usize = 200;

/// How a file is damaged.
const HARMS: [&str; 5] = ["gone", "empty", "cut", "zeros", "flipped"];

/// A mirror with a branch of its own, and what it shows.
struct Files {
    fork: Stage,
    idea: String,
    shown: String,
}

impl Files {
    fn new() -> Self {
        let fork = fork();
        let idea = fork.begin("idea");
        fork.push("ours", &["-q", "idea"]).ok();
        let mut files = Self {
            fork,
            idea,
            shown: String::new(),
        };
        files.shown = files.list().ok().stdout;
        insta::allow_duplicates! {
            insta::assert_snapshot!(tests::shown(&files.shown), @"
            ref: refs/heads/main	HEAD
            [oid]	HEAD
            [oid]	refs/heads/idea
            [oid]	refs/heads/main
            ");
        }
        files
    }

    fn list(&self) -> tests::Run {
        let list = ["ls-remote", "--symref", "mirror::fork"];
        self.fork.world.git(list)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.fork.world.only_mirror().join(name)
    }

    /// Damages a file, in its middle or at what stands there.
    fn harm(&self, name: &str, how: &str, at: &str) {
        let path = self.path(name);
        let mut content = fs::read(&path).expect("ours");
        let middle = find(&content, at) + 1;
        match how {
            "gone" => return fs::remove_file(&path).expect("ours"),
            "empty" => content.clear(),
            "cut" => content.truncate(middle),
            "zeros" => content.fill(0),
            _ => content[middle] ^= 4,
        }
        fs::write(&path, content).expect("ours");
    }

    /// The mirror shows what it did, and all of it is well.
    #[track_caller]
    fn is_as_before(&self, what: &str) -> Ran {
        let ran = self.list().run();
        assert_eq!(ran.stdout, self.shown, "{what}: {ran}");
        let status = self.fork.status_lines_of("fork");
        assert!(status.starts_with("fork  in step"), "{what}: {status}");
        ran
    }
}

fn find(content: &[u8], part: &str) -> usize {
    let mut parts = content.windows(part.len());
    let at = parts.position(|each| each == part.as_bytes());
    at.unwrap_or_else(|| panic!("{part} stands there"))
}

/// Takes about 6 s: thirty harms, with three commands after each.
#[test]
fn whatever_happens_to_one_small_file_the_next_command_finds_all_there_and_says_what_was_done() {
    let files = Files::new();
    let oid = files.idea.clone();
    let positions = [
        ("packed-refs", "refs/heads/idea"),
        ("packed-refs", &oid),
        ("packed-refs.copy", "refs/heads/idea"),
        ("HEAD", "main"),
        ("config", "[mirror"),
        ("config.copy", "[mirror"),
    ];
    for (name, at) in positions {
        let before = fs::read(files.path(name)).expect("ours");
        for how in HARMS {
            let what = format!("{name} {how} at {at}");
            files.harm(name, how, at);
            let ran = files.is_as_before(&what);
            let is_copy = name.ends_with(".copy");
            let is_reported = ran.stderr.contains("this mirror was damaged: '");
            assert_eq!(is_reported, !is_copy, "{what}: {ran}");
            assert!(is_copy || ran.stderr.contains(name), "{what}: {ran}");
            assert_eq!(files.is_as_before(&what).stderr, "", "{what}: said once");
            if name == "packed-refs" {
                assert!(
                    fs::read(files.path(name)).expect("ours") == before,
                    "{what}"
                );
            }
        }
    }
    fs::remove_dir_all(files.path("refs")).expect("ours");
    files.is_as_before("refs gone");
    // Nobody holds it.
    fs::write(files.path("packed-refs.lock"), "").expect("ours");
    files.fork.project.commit("main", "new", "new");
    files.fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(
        files.fork.tip("theirs", "origin/main"),
        files.fork.project.tip("main")
    );
}

#[test]
fn where_the_copy_is_damaged_as_well_upstream_is_asked_and_local_commits_get_branches() {
    let files = Files::new();
    let fork = &files.fork;
    for name in ["packed-refs", "packed-refs.copy"] {
        fs::write(files.path(name), [0; 100]).expect("ours");
    }
    // A part of it is no answer.
    fork.gitlab.fault(Fault::status(503));
    let refused = files.list().fails();
    insta::assert_snapshot!(refused.shown(), @"
    error: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503
    hint: 'packed-refs' and its copy were damaged or gone; 0 refs could be read; local commits without a name are now refs/heads/recovered-[oid]; what upstream has is asked of it
    ");
    let status = fork.status_lines_of("fork");
    assert!(
        status.starts_with("fork  damaged: 'packed-refs' and its copy "),
        "{status}"
    );
    fork.gitlab.clear_faults();
    let fetched = fork.theirs(&["fetch"]).ok();
    let branch = format!("recovered-{}", &files.idea[..12]);
    insta::assert_snapshot!(fetched.shown(), @"
    warning: in step again after [time]: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503
    warning: this mirror was damaged: 'packed-refs' and its copy were damaged or gone; 0 refs could be read; local commits without a name are now refs/heads/recovered-[oid]; what upstream has is asked of it
    From mirror::fork
     * [new branch]      recovered-[oid] -> origin/recovered-[oid]
    ");
    let recovered = fork.tip("theirs", &format!("origin/{branch}"));
    assert_eq!(recovered.as_ref(), Some(&files.idea));
    let main = fork.project.tip("main");
    assert_eq!(fork.mirror_tip("refs/heads/main"), main);
    let status = fork.status_lines_of("fork");
    assert!(status.starts_with("fork  in step "), "{status}");
    fork.world.clone_mirror("fork", "after").ok();
    assert_eq!(fork.tip("after", "HEAD"), main);
}

#[test]
fn a_mirror_whose_configuration_is_lost_is_named_and_can_be_removed() {
    let files = Files::new();
    let world = &files.fork.world;
    for name in ["config", "config.copy"] {
        fs::write(files.path(name), "[nothing\n").expect("ours");
    }
    let dir = world.only_mirror();
    let name = dir
        .file_name()
        .expect("it has one")
        .to_str()
        .expect("plain");
    for command in [&["list"][..], &["status"], &["list", "--json"]] {
        let output = world.mirrord(command).ok().stdout;
        let names = output.contains(name) && output.contains("its configuration cannot be read");
        assert!(names, "{command:?}: {output}");
    }
    let mut shown = String::new();
    for command in [&["show", name][..], &["remove", name]] {
        let ran = world.mirrord(command).fails();
        shown.push_str(&ran.shown());
    }
    let clone = world.clone_mirror(&files.fork.url, "again").fails();
    shown.push_str(&clone.shown());
    insta::assert_snapshot!(shown.replace(name, "DIRECTORY"), @"
    error: the configuration of 'project-[oid].git' cannot be read: bad config line 1 in '/world/m/mirrors/project-[oid].git/config'
    hint: 'mirrord remove --force project-[oid].git' removes it, and leaves its branches and tags in a bundle
    error: the configuration of 'project-[oid].git' cannot be read: bad config line 1 in '/world/m/mirrors/project-[oid].git/config'
    hint: 'mirrord remove --force project-[oid].git' removes it, and leaves its branches and tags in a bundle
    error: cannot read the mirrors: bad config line 1 in '/world/m/mirrors/project-[oid].git/config'
    ");
    let removed = world.mirrord(["remove", "--force", name]).ok().stdout;
    let bundle = removed.split('\'').find(|part| part.ends_with(".bundle"));
    let bundle = Path::new(bundle.unwrap_or_else(|| panic!("it is named: {removed}")));
    let heads = world.git(["bundle", "list-heads"]).arg(bundle).ok().stdout;
    assert!(heads.contains(&files.idea), "{heads}");
    assert_eq!(world.mirrors(), [""; 0]);
    world.clone_mirror(&files.fork.url, "again").ok();
}

#[test]
fn a_hand_that_edits_the_configuration_or_adds_a_ref_is_right() {
    let files = Files::new();
    let at = |args: &[&str]| files.fork.world.git(args).at(files.path("")).ok();
    at(&["config", "mirror.description", "mine"]);
    at(&["update-ref", "refs/heads/other", &files.idea]);
    files.list().ok();
    // Both are in the copies by now.
    fs::remove_file(files.path("config")).expect("ours");
    fs::remove_file(files.path("packed-refs")).expect("ours");
    files.list().ok();
    assert!(files.fork.show("fork").contains("description: mine"));
    assert_eq!(
        files.fork.mirror_tip("refs/heads/other"),
        Some(files.idea.clone())
    );
}

/// Takes about 8 s: a daemon starts for each kill and another one for what comes after it.
#[test]
fn the_daemon_is_killed_at_any_step_of_rebuilding() {
    let files = Files::new();
    let harm_and_kill = |at: usize| {
        for name in ["packed-refs", "HEAD", "config"] {
            fs::write(files.path(name), [0; 10]).expect("ours");
        }
        let mut changes = Changes::of(&files.path(""));
        let list = files.list().start();
        let hit = files
            .fork
            .world
            .kill_part_at(&list, Part::Daemon, &mut changes, at);
        list.wait();
        (hit, changes.count())
    };
    let (hit, all) = harm_and_kill(MAX_CHANGES);
    assert!(!hit && all > 10, "{all} changes are watched");
    let mut hits = 0;
    for at in (1..all).step_by(3) {
        hits += usize::from(harm_and_kill(at).0);
        files.is_as_before(&format!("killed at {at} of {all}"));
    }
    assert!(hits > 2, "{hits} kills of {all} changes");
}

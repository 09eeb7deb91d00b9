//! Which of upstream's refs a mirror shows, and under which names: git's own refspecs, compared with what `git fetch` makes
//! of them.

mod pushes;
mod withheld;

use std::fmt::Write;

use tests::Project;

use crate::{stage::Stage, tracking::NAME};

/// Lists of refspecs; what they make of [`fill`] and of [`change`] is what git makes of them.
const LISTS: [&[&str]; 21] = [
    &[],
    &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"],
    &["+refs/heads/main"],
    &["refs/heads/main"],
    &["refs/heads/*"],
    &["refs/tags/*"],
    &["+refs/tags/*"],
    &["+refs/tags/v1", "+refs/heads/release/*"],
    &["+refs/heads/*", "^refs/heads/wip/*"],
    &["^refs/heads/main", "+refs/heads/*", "^refs/heads/*/c"],
    &["^refs/heads/wip/*", "^refs/tags/nightly/*"],
    &["+refs/heads/wip/*", "^refs/heads/*"],
    &["+refs/heads/*", "^refs/*"],
    &["+refs/heads/*", "^refs/heads/nowhere/*"],
    &["+refs/heads/main:refs/heads/upstream/main"],
    &[
        "+refs/heads/*:refs/heads/upstream/*",
        "+refs/tags/*:refs/tags/up-*",
    ],
    &["refs/heads/*:refs/heads/upstream/*"],
    &[
        "+refs/heads/re*:refs/heads/from-re*",
        "+refs/heads/w*/a:refs/heads/a/*",
    ],
    &[
        "+refs/heads/*:refs/remotes/up/*",
        "+refs/tags/v2:refs/heads/v2",
    ],
    &["+refs/notes/*", "+refs/heads/main"],
    &["+refs/heads/main:", "+refs/heads/topic:refs/tags/topic"],
];

fn fill(project: &Project) {
    project.history(3);
    for branch in [
        "topic",
        "wip/a",
        "wip/b/c",
        "release/1",
        "release/2",
        "replay",
    ] {
        project.commit(branch, branch, "1");
    }
    project.annotated_tag("v1", "main");
    project.tag("v2", "topic");
    project.tag("nightly/1", "main");
    project.force("refs/notes/commits", "topic");
}

/// Every kind of change: what moves on, what is rewritten, what comes and what goes.
fn change(project: &Project) {
    let old = project.tip("topic").expect("it is there");
    project.commit("main", "file", "2");
    project.commit("wip/a", "file", "2");
    project.force("topic", "main");
    project.force("refs/tags/v2", "main");
    project.force("refs/notes/commits", "main");
    project.force("release/2", &old);
    project.delete("release/1");
    project.delete("refs/tags/nightly/1");
    project.commit("release/1/deep", "file", "1");
    project.commit("wip/new/a", "file", "1");
    project.annotated_tag("v3", "wip/a");
}

/// The refs that a repository shows to a client, without HEAD.
fn listed(stage: &Stage, url: &str) -> Vec<String> {
    let lines = stage.world.git(["ls-remote", url]).ok().stdout;
    let refs = lines.lines().filter(|line| !line.ends_with("\tHEAD"));
    refs.map(str::to_owned).collect()
}

/// Takes long: each of 21 lists has a mirror and a plain repository of its own, and both are brought in step twice.
#[test]
fn every_kind_of_refspec_shows_what_git_would_fetch_with_it() {
    let stage = Stage::new(fill);
    for round in 0..2 {
        for (at, track) in LISTS.iter().enumerate() {
            let (name, plain) = (format!("mirror{at}"), format!("plain{at}"));
            if round == 0 {
                stage.plain(&plain, track);
                stage.add_tracking(&name, track).ok();
            }
            // Where a refspec has no '+', git fails for the sake of what it holds back.
            stage.plain_fetch(&plain).run();
            let ours = listed(&stage, &format!("mirror::{name}"));
            let plain = listed(&stage, &stage.world.path(&plain).to_string_lossy());
            assert_eq!(ours, plain, "round {round}: {track:?} shows what git does");
        }
        if round == 0 {
            change(&stage.project);
        }
    }
}

#[test]
fn a_project_may_have_any_number_of_mirrors_that_track_different_refs() {
    let stage = Stage::new(fill);
    for branch in ["main", "topic", "replay"] {
        let track = format!("+refs/heads/{branch}");
        stage.add_tracking(branch, &[&track]).ok();
    }
    for branch in ["main", "topic", "replay"] {
        let refs = listed(&stage, &format!("mirror::{branch}"));
        let tip = stage.project.tip(branch).expect("it is there");
        assert_eq!(refs, [format!("{tip}\trefs/heads/{branch}")]);
    }
}

/// Takes long: git itself reads and writes ten thousand refs several times.
#[test]
fn ten_thousand_refs_are_renamed_and_some_of_them_left_out() {
    let stage = Stage::new(|project| {
        project.commit("main", "a", "a");
        project.many_refs(10_000);
    });
    let track = [
        "+refs/heads/*:refs/heads/up/*",
        "^refs/heads/many/*5",
        "^refs/heads/many/000*",
    ];
    stage.plain("plain", &track);
    stage.add_tracking(NAME, &track).ok();
    for _ in 0..2 {
        stage.plain_fetch("plain").ok();
        let ours = listed(&stage, &format!("mirror::{NAME}"));
        let plain = listed(&stage, &stage.world.path("plain").to_string_lossy());
        assert!(ours.len() > 5_000, "most of them are shown");
        assert!(ours == plain, "those that git would have");
        let moved = stage.project.commit("main", "a", "b");
        let names = (1..=10_000).map(|at| match at % 3 {
            0 => format!("delete refs/heads/many/{at:06}\n"),
            _ => format!("update refs/heads/many/{at:06} {moved}\n"),
        });
        let commands: String = names.collect();
        let update = stage.project.git(["update-ref", "--stdin"]);
        update.stdin(commands).ok();
    }
}

#[test]
fn a_branch_that_upstream_does_not_have_yet_is_shown_when_it_comes() {
    let stage = Stage::new(fill);
    stage
        .add_tracking(
            NAME,
            &["+refs/heads/main", "refs/heads/later:refs/heads/later/here"],
        )
        .ok();
    stage.clone(NAME, "ours").ok();
    let later = stage.project.commit("later", "file", "1");
    let fetched = stage.git("ours", &["fetch", "--quiet"]).ok();
    assert_eq!(fetched.stderr, "", "{fetched}");
    assert_eq!(stage.tip("ours", "origin/later/here"), Some(later));
}

#[test]
fn a_tag_that_is_an_object_of_its_own_is_no_branch() {
    let stage = Stage::new(fill);
    let track = ["+refs/heads/main", "+refs/tags/v1:refs/heads/v1"];
    stage.add_tracking(NAME, &track).ok();
    stage.plain("plain", &track);
    // git writes nothing to a branch that is not a commit.
    stage.plain_fetch("plain").fails();
    assert_eq!(stage.mirror_tip("refs/heads/v1"), None, "as git has it");
    let cloned = stage.clone(NAME, "ours").ok();
    insta::assert_snapshot!(cloned.shown(), @"warning: 'refs/heads/v1' is not shown: it is not a commit");
}

#[test]
fn refspecs_that_are_refused_make_and_change_nothing() {
    let stage = Stage::new(fill);
    let faulty = ["+refs/heads/*:refs/upstream/*"];
    let ambiguous = [
        "+refs/heads/t*:refs/heads/x-*",
        "+refs/heads/to*:refs/heads/y-*",
    ];
    let mut all = String::new();
    for track in [&faulty[..], &ambiguous] {
        let ran = stage.add_tracking(NAME, track).code(2);
        writeln!(all, "add {}", ran.shown()).expect("into a string");
        assert_eq!(stage.world.mirrors(), [""; 0], "nothing is made: {track:?}");
    }
    stage.add_tracking(NAME, &["+refs/heads/main"]).ok();
    let before = (stage.show_settings(), stage.all_refs());
    for track in [&faulty[..], &ambiguous] {
        let ran = stage.set_track(track).code(2);
        writeln!(all, "set {}", ran.shown()).expect("into a string");
        let after = (stage.show_settings(), stage.all_refs());
        assert_eq!(after, before, "nothing has changed: {track:?}");
    }
    insta::assert_snapshot!(all, @r"
    add error: '+refs/heads/*:refs/upstream/*' cannot be tracked: 'refs/upstream' is not for what upstream has; choose another destination

    add error: '+refs/heads/t*:refs/heads/x-*' and '+refs/heads/to*:refs/heads/y-*' cannot be tracked together: they would show upstream's 'refs/heads/to*' both as 'refs/heads/x-o*' and as 'refs/heads/y-*'

    set error: '+refs/heads/*:refs/upstream/*' cannot be tracked: 'refs/upstream' is not for what upstream has; choose another destination

    set error: '+refs/heads/t*:refs/heads/x-*' and '+refs/heads/to*:refs/heads/y-*' cannot be tracked together: they would show upstream's 'refs/heads/to*' both as 'refs/heads/x-o*' and as 'refs/heads/y-*'
    ");
    // With the one that is in the way left out, it is one to one again.
    let track = [
        "+refs/heads/t*:refs/heads/x-*",
        "+refs/heads/to*:refs/heads/y-*",
        "^refs/heads/to*",
    ];
    stage.set_track(&track).ok();
}

#[test]
fn all_refs_of_upstream_are_shown_but_those_that_have_names_of_ours() {
    let stage = Stage::new(|project| {
        fill(project);
        for space in ["upstream", "mirror", "replace", "for", "upstreams"] {
            project.force(&format!("refs/{space}/heads/main"), "topic");
        }
    });
    let track = ["+refs/*:refs/*"];
    stage.add_tracking(NAME, &track).ok();
    stage.plain("plain", &track);
    for round in 0.. {
        stage.plain_fetch("plain").ok();
        let ours = [
            "\trefs/upstream/heads/main",
            "\trefs/mirror/heads/main",
            "\trefs/replace/heads/main",
        ];
        let mut plain = listed(&stage, &stage.world.path("plain").to_string_lossy());
        plain.retain(|line| !ours.iter().any(|name| line.ends_with(name)));
        let listed = listed(&stage, &format!("mirror::{NAME}"));
        assert_eq!(listed, plain, "round {round}");
        let main = Some(stage.project.tip("main").expect("it is there"));
        assert_eq!(stage.mirror_tip("refs/heads/main"), main);
        let records = stage.all_refs();
        let record = |(name, oid): &(String, String)| {
            name == "refs/upstream/heads/main" && Some(oid) == main.as_ref()
        };
        assert!(records.iter().any(record), "the records are our own");
        if round > 0 {
            break;
        }
        change(&stage.project);
        stage.project.force("refs/upstream/heads/main", "main~1");
    }
}

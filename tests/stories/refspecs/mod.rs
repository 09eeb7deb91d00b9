//! Which of upstream's refs a mirror shows, and under which names: git's own refspecs, compared with what `git fetch` makes
//! of them.

mod pushes;
mod withheld;

use std::fs;

use tests::{Project, Ran};

use crate::tracking::{NAME, Tracking};

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
fn listed(tracking: &Tracking, url: &str) -> Vec<String> {
    let lines = tracking.world.git(["ls-remote", url]).ok().stdout;
    let refs = lines.lines().filter(|line| !line.ends_with("\tHEAD"));
    refs.map(str::to_owned).collect()
}

#[test]
fn every_kind_of_refspec_shows_what_git_would_fetch_with_it() {
    let mut tracking = Tracking::new(fill);
    let path = |at: usize| format!("group/project{at}");
    let projects: Vec<_> = (0..LISTS.len())
        .map(|at| tracking.gitlab.project(&path(at)))
        .collect();
    for round in 0..2 {
        for (at, (track, project)) in LISTS.iter().zip(&projects).enumerate() {
            let copy = ["-rT".as_ref(), tracking.project.dir(), project.dir()];
            fs::remove_dir_all(project.dir()).expect("it is ours");
            tracking.world.program("cp", copy).ok();
            tracking.url = tracking.gitlab.url(&path(at));
            let (name, plain) = (format!("mirror{at}"), format!("plain{at}"));
            if round == 0 {
                tracking.plain(&plain, track);
                tracking.add_as(&name, track).ok();
            }
            // Where a refspec has no '+', git fails for the sake of what it holds back.
            tracking.plain_fetch(&plain).run();
            let ours = listed(&tracking, &format!("mirror::{name}"));
            let plain = listed(&tracking, &tracking.world.path(&plain).to_string_lossy());
            assert_eq!(ours, plain, "round {round}: {track:?} shows what git does");
        }
        if round == 0 {
            change(&tracking.project);
        }
    }
}

#[test]
fn a_project_may_have_any_number_of_mirrors_that_track_different_refs() {
    let tracking = Tracking::new(fill);
    for branch in ["main", "topic", "replay"] {
        let track = format!("+refs/heads/{branch}");
        tracking.add_as(branch, &[&track]).ok();
    }
    for branch in ["main", "topic", "replay"] {
        let refs = listed(&tracking, &format!("mirror::{branch}"));
        let tip = tracking.project.tip(branch).expect("it is there");
        assert_eq!(refs, [format!("{tip}\trefs/heads/{branch}")]);
    }
}

#[test]
fn ten_thousand_refs_are_renamed_and_some_of_them_left_out() {
    let tracking = Tracking::new(|project| {
        project.commit("main", "a", "a");
        project.many_refs(10_000);
    });
    let track = [
        "+refs/heads/*:refs/heads/up/*",
        "^refs/heads/many/*5",
        "^refs/heads/many/000*",
    ];
    tracking.plain("plain", &track);
    tracking.add(&track);
    for _ in 0..2 {
        tracking.plain_fetch("plain").ok();
        let ours = listed(&tracking, &format!("mirror::{NAME}"));
        let plain = listed(&tracking, &tracking.world.path("plain").to_string_lossy());
        assert!(ours.len() > 5_000, "most of them are shown");
        assert!(ours == plain, "those that git would have");
        let moved = tracking.project.commit("main", "a", "b");
        let names = (1..=10_000).map(|at| match at % 3 {
            0 => format!("delete refs/heads/many/{at:06}\n"),
            _ => format!("update refs/heads/many/{at:06} {moved}\n"),
        });
        let commands: String = names.collect();
        let update = tracking.project.git(["update-ref", "--stdin"]);
        update.stdin(commands).ok();
    }
}

#[test]
fn a_branch_that_upstream_does_not_have_yet_is_shown_when_it_comes() {
    let tracking = Tracking::new(fill);
    tracking.add(&["+refs/heads/main", "refs/heads/later:refs/heads/later/here"]);
    tracking.clone("ours");
    let later = tracking.project.commit("later", "file", "1");
    let fetched = tracking.git("ours", &["fetch", "--quiet"]);
    assert_eq!(fetched.stderr, "", "{fetched}");
    assert_eq!(tracking.tip("ours", "origin/later/here"), Some(later));
}

#[test]
fn a_tag_that_is_an_object_of_its_own_is_no_branch() {
    let tracking = Tracking::new(fill);
    let track = ["+refs/heads/main", "+refs/tags/v1:refs/heads/v1"];
    tracking.add(&track);
    tracking.plain("plain", &track);
    let refused = tracking.plain_fetch("plain").fails().stderr;
    assert!(refused.contains("non-commit object"), "git: {refused}");
    assert_eq!(tracking.shown("refs/heads/v1"), None, "as git has it");
    let cloned = tracking.clone_run("ours").ok();
    assert!(cloned.stderr.contains("'refs/heads/v1'"), "{cloned}");
}

#[test]
fn a_mapping_that_cannot_be_reversed_or_leads_into_a_space_of_ours_is_refused_with_the_reason() {
    let tracking = Tracking::new(fill);
    let refused: [(&[&str], &str); 17] = [
        (
            &["+refs/heads/*:refs/upstream/*"],
            "'refs/upstream' is not for",
        ),
        (&["+refs/heads/*:refs/mirror/*"], "'refs/mirror' is not for"),
        (
            &["+refs/heads/a:refs/replace/a"],
            "'refs/replace' is not for",
        ),
        (
            &["+refs/heads/a:refs/upstream"],
            "'refs/upstream' is not for",
        ),
        (&["+refs/upstream/*"], "'refs/upstream' is not for"),
        (&["+refs/heads/*:refs/heads/one"], "'*' on one side only"),
        (&["+refs/heads/one:refs/heads/*"], "'*' on one side only"),
        (&["+refs/heads/*/*"], "more than one '*'"),
        (&["main"], "write 'refs/heads/main'"),
        (&["HEAD"], "HEAD is no branch"),
        (&[":refs/heads/main"], "HEAD is no branch"),
        (&["+refs/heads/a..b"], "git does not allow the name"),
        (
            &["^refs/heads/a:refs/heads/b"],
            "it cannot have a destination",
        ),
        (
            &["+refs/heads/main", "+refs/heads/topic:refs/heads/main"],
            "both as 'refs/heads/main'",
        ),
        (
            &["+refs/heads/*", "+refs/heads/main:refs/heads/theirs"],
            "upstream's 'refs/heads/main' both as",
        ),
        (
            &["+refs/heads/*:refs/tags/*", "+refs/tags/*"],
            "cannot be tracked together",
        ),
        (
            &["+refs/heads/main", "+refs/heads/*:refs/heads/up/*"],
            "cannot be tracked together",
        ),
    ];
    let assert_refused = |ran: &Ran, track: &[&str], reason: &str| {
        assert!(ran.stderr.starts_with("error: "), "{track:?}: {ran}");
        assert!(ran.stderr.contains(reason), "{track:?}: {ran}");
    };
    for (track, reason) in refused {
        assert_refused(&tracking.add_as(NAME, track).code(2), track, reason);
        assert_eq!(
            tracking.world.mirrors(),
            [""; 0],
            "nothing is made: {track:?}"
        );
    }
    tracking.add(&["+refs/heads/main"]);
    let before = (tracking.show_settings(), tracking.all());
    for (track, reason) in refused {
        assert_refused(&tracking.set(track).code(2), track, reason);
        let after = (tracking.show_settings(), tracking.all());
        assert_eq!(after, before, "nothing has changed: {track:?}");
    }
    // With the one that is in the way left out, it is one to one again.
    let track = [
        "+refs/heads/t*:refs/heads/x-*",
        "+refs/heads/to*:refs/heads/y-*",
        "^refs/heads/to*",
    ];
    tracking.set(&track).ok();
}

#[test]
fn all_refs_of_upstream_are_shown_but_those_that_have_names_of_ours() {
    let tracking = Tracking::new(|project| {
        fill(project);
        for space in ["upstream", "mirror", "replace", "for", "upstreams"] {
            project.force(&format!("refs/{space}/heads/main"), "topic");
        }
    });
    let track = ["+refs/*:refs/*"];
    tracking.add(&track);
    tracking.plain("plain", &track);
    for round in 0.. {
        tracking.plain_fetch("plain").ok();
        let ours = [
            "\trefs/upstream/heads/main",
            "\trefs/mirror/heads/main",
            "\trefs/replace/heads/main",
        ];
        let mut plain = listed(&tracking, &tracking.world.path("plain").to_string_lossy());
        plain.retain(|line| !ours.iter().any(|name| line.ends_with(name)));
        let listed = listed(&tracking, &format!("mirror::{NAME}"));
        assert_eq!(listed, plain, "round {round}");
        let main = Some(tracking.project.tip("main").expect("it is there"));
        assert_eq!(tracking.shown("refs/heads/main"), main);
        let records = tracking.all();
        let record = |(name, oid): &(String, String)| {
            name == "refs/upstream/heads/main" && Some(oid) == main.as_ref()
        };
        assert!(records.iter().any(record), "the records are our own");
        if round > 0 {
            break;
        }
        change(&tracking.project);
        tracking.project.force("refs/upstream/heads/main", "main~1");
    }
}

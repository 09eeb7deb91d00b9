//! Refs beside branches and tags, such as merge requests and notes: whoever asks for one gets it as from upstream, though
//! no mirror tracks it.

mod offline;
mod over_ssh;
mod programs;

use tests::{On, Project};

use crate::{clone::fill, stage::Stage};

/// A project with two merge requests, a merge commit, a pipeline, and notes.
pub(crate) fn fill_with_requests(project: &Project) {
    fill(project);
    for (number, branch) in [(12, "topic"), (13, "main")] {
        project.force("review", branch);
        let review = project.commit("review", "review", &format!("{number}"));
        project.force(&format!("refs/merge-requests/{number}/head"), &review);
        project.force(&format!("refs/pull/{number}/head"), &review);
    }
    project.delete("review");
    project.force("merge", "main");
    let merge = project.merge("merge", "refs/merge-requests/12/head");
    project.force("refs/pull/7/merge", &merge);
    project.force("refs/pipelines/9", &merge);
    project.delete("merge");
    project.force("refs/notes/commits", "refs/merge-requests/13/head");
}

/// A commit of a merge request.
fn review(stage: &Stage, number: usize) -> String {
    stage.upstream_tip(&format!("refs/merge-requests/{number}/head"))
}

/// Somebody pushes to a merge request.
fn push_to_review(stage: &Stage, number: usize) -> String {
    let name = format!("refs/merge-requests/{number}/head");
    stage.project.commit(&name, "review", "again")
}

#[test]
fn they_are_fetched_by_every_name_that_git_takes() {
    let stage = Stage::new(fill_with_requests);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    let parent = stage.project.git(["rev-parse", "refs/pull/7/merge^2"]);
    let by_object = [review(&stage, 12), parent.ok().line().to_owned()];
    for refspecs in [
        &["refs/merge-requests/12/head:refs/found/1"][..],
        &["merge-requests/13/head:refs/found/2"],
        &["pull/7/merge", "+refs/pipelines/9:refs/pipelines/9"],
        &["refs/notes/*:refs/notes/*"],
        &["refs/merge-requests/*/head:refs/remotes/origin/mr/*"],
        &["+refs/*:refs/all/*"],
        &["main", &by_object[0]],
        &[&by_object[1]],
        &["merge-requests/99/head"],
    ] {
        twins.git(&[&["fetch", "origin"], refspecs].concat());
        twins.same();
    }
    push_to_review(&stage, 12);
    twins.git(&[
        "fetch",
        "origin",
        "refs/merge-requests/12/head:refs/found/1",
    ]);
    twins.git(&[
        "pull",
        "-q",
        "--no-rebase",
        "origin",
        "merge-requests/13/head",
    ]);
    twins.same();
    stage.is_sound();
}

#[test]
fn a_remote_that_is_configured_for_them_follows_them() {
    let stage = Stage::new(fill_with_requests);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    let requests = "+refs/merge-requests/*/head:refs/remotes/origin/mr/*";
    let merge = "+refs/pull/7/merge:refs/remotes/origin/merge";
    for refspec in [requests, merge] {
        twins.git(&["config", "--add", "remote.origin.fetch", refspec]);
    }
    let follows = || {
        twins.git(&["fetch", "--prune"]);
        twins.same();
    };
    follows();
    push_to_review(&stage, 12);
    stage.project.force("refs/merge-requests/14/head", "main");
    stage.project.delete("refs/merge-requests/13/head");
    follows();
    twins.git(&["remote", "prune", "origin"]);
    twins.git(&["fetch"]);
    stage.project.delete("refs/pull/7/merge");
    twins.git(&["fetch", "--prune"]);
    twins.git(&["config", "--unset", "remote.origin.fetch", "merge$"]);
    follows();
}

#[test]
fn a_shallow_a_partial_and_a_checking_repository_get_them() {
    let stage = Stage::new(fill_with_requests).with_ours();
    let head = "refs/merge-requests/12/head:refs/found/1";
    for clone in [
        &["--depth=1"][..],
        &["--filter=blob:none"],
        &["--no-tags", "--single-branch"],
        &["-c", "fetch.fsckObjects=true"],
    ] {
        let twins = stage.world.clone_twins(&stage.url, clone);
        twins.git(&["fetch", "-q", "origin", head]);
        twins.git(&["fetch", "-q", "--depth=2", "origin", "pull/7/merge"]);
        twins.git(&["fetch", "-q", "origin", &review(&stage, 13)]);
        twins.git(&["fetch", "-q", "origin", "refs/notes/*:refs/notes/*"]);
        twins.same();
    }
}

#[test]
fn a_mirror_clone_has_them_as_one_of_upstream_does() {
    let stage = Stage::new(fill_with_requests);
    let twins = stage.world.clone_twins(&stage.url, &["--mirror"]);
    push_to_review(&stage, 12);
    stage.project.delete("refs/pull/7/merge");
    twins.git(&["remote", "update", "--prune"]);
    twins.same();
}

#[test]
fn only_who_asks_is_shown_them() {
    let stage = Stage::new(fill_with_requests).with_ours();
    stage
        .ours(&["fetch", "-q", "origin", "refs/pull/7/merge"])
        .ok();
    stage.clone(&stage.url, "theirs").ok();
    let shown = stage.git("theirs", &["ls-remote", "origin"]).ok();
    assert!(!shown.stdout.contains("pull"), "{shown}");
    let named = stage.git("theirs", &["ls-remote", "origin", "refs/pull/7/merge"]);
    let tip = stage.upstream_tip("refs/pull/7/merge");
    assert_eq!(named.ok().stdout, format!("{tip}\trefs/pull/7/merge\n"));
}

#[test]
fn a_list_by_patterns_is_upstreams_own() {
    let stage = Stage::new(fill_with_requests);
    let twins = stage.world.clone_twins(&stage.url, &[]);
    let list = |args: &[&str]| twins.git(&[&["ls-remote", "-q", "origin"], args].concat());
    list(&["refs/merge-requests/*/head", "refs/pull/*"]);
    list(&["refs/notes/*"]);
    list(&["refs/heads/*", "main"]);
    let listed = stage.ls_remote().arg("refs/pull/*").ok();
    insta::assert_snapshot!(listed.stderr, @"");
    assert_eq!(listed.stdout.lines().count(), 3, "{listed}");
}

#[test]
fn one_that_upstream_does_not_have_any_more_is_not_found() {
    let stage = Stage::new(fill_with_requests).with_ours();
    let fetch = ["fetch", "-q", "origin", "refs/pull/7/merge"];
    stage.ours(&fetch).ok();
    stage.project.delete("refs/pull/7/merge");
    let gone = stage.ours(&fetch).code(128);
    insta::assert_snapshot!(gone.shown(), @"fatal: couldn't find remote ref refs/pull/7/merge");
}

#[test]
fn they_are_asked_for_in_the_request_that_is_made_anyway() {
    let stage = Stage::new(fill_with_requests).with_ours();
    let fetch = ["fetch", "-q", "origin", "refs/pull/7/merge"];
    let asked = || {
        stage.gitlab.forget_requests();
        stage.ours(&fetch).ok();
        stage.gitlab.requests().len()
    };
    assert_eq!(asked(), 2, "for the refs, and for the objects");
    assert_eq!(asked(), 1, "nothing is new");
}

#[test]
fn a_copy_that_is_fresh_enough_answers_for_branches_alone() {
    let stage = Stage::new(fill_with_requests);
    let stage = stage.mirrored("work", &["--fresh-for", "1h"]);
    stage.clone("work", "ours").ok();
    let asks = |args: &[&str]| {
        stage.gitlab.forget_requests();
        stage
            .ours(&[&["fetch", "-q", "origin"], args].concat())
            .ok();
        !stage.gitlab.requests().is_empty()
    };
    let main = stage.upstream_tip("main");
    for args in [&[][..], &["main"], &["refs/heads/main"], &[&main]] {
        assert!(!asks(args), "{args:?}");
    }
    let review = review(&stage, 12);
    assert!(asks(&["merge-requests/12/head"]));
    assert!(!asks(&[&review]), "an object does not change");
    push_to_review(&stage, 12);
    assert!(asks(&["merge-requests/12/head"]));
    assert_eq!(
        stage.tip("ours", "FETCH_HEAD"),
        stage.project.tip("refs/merge-requests/12/head")
    );
}

#[test]
fn many_who_ask_at_once_get_each_what_they_asked_for() {
    let stage = Stage::new(fill_with_requests).with_ours();
    let names = [
        "refs/pull/7/merge",
        "merge-requests/12/head",
        "refs/pull/13/head",
    ];
    let dirs = ["one", "two", "three"];
    for dir in dirs {
        stage.clone(&stage.url, dir).ok();
    }
    let paused = stage.gitlab.pause(On::LsRefs);
    let fetch = |at: usize| stage.git(dirs[at], &["fetch", "-q", "origin", names[at]]);
    let first = fetch(0).start();
    paused.reached();
    let running = [first, fetch(1).start(), fetch(2).start()];
    stage.world.wait_until_clients(3);
    paused.release();
    for ((name, dir), running) in names.into_iter().zip(dirs).zip(running) {
        let ran = running.wait();
        assert!(ran.status.success(), "{ran}");
        let full = format!("refs/{}", name.trim_start_matches("refs/"));
        assert_eq!(stage.tip(dir, "FETCH_HEAD"), stage.project.tip(&full));
    }
}

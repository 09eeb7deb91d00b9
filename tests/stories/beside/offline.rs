//! While upstream cannot be asked, what was fetched of it is served, and nothing is served as if it were all.

use super::fill_with_requests;
use crate::stage::Stage;

#[test]
fn what_was_fetched_once_is_served_with_its_age() {
    let stage = Stage::new(fill_with_requests).with_ours();
    let fetch = ["fetch", "-q", "origin", "refs/pull/7/merge"];
    stage.ours(&fetch).ok();
    stage.clone(&stage.url, "theirs").ok();
    stage.gitlab.stop();
    let served = stage.git("theirs", &fetch).ok();
    insta::assert_snapshot!(served.shown(), @"
    warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: serving the copy synced [time] ago
    ");
    assert_eq!(
        stage.tip("theirs", "FETCH_HEAD"),
        stage.project.tip("refs/pull/7/merge")
    );
    let unknown = ["fetch", "-q", "origin", "refs/pull/13/head"];
    let failed = stage.git("theirs", &unknown).code(128);
    insta::assert_snapshot!(failed.shown(), @"
    warning: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: serving the copy synced [time] ago
    fatal: couldn't find remote ref refs/pull/13/head
    ");
}

/// With `--prune`, git would delete what it is not shown.
#[test]
fn a_pattern_that_nobody_has_asked_for_is_not_served_in_part() {
    let stage = Stage::new(fill_with_requests).with_ours();
    stage
        .ours(&["fetch", "-q", "origin", "refs/merge-requests/12/head"])
        .ok();
    let all = [
        "fetch",
        "-q",
        "--prune",
        "origin",
        "+refs/merge-requests/*/head:refs/remotes/origin/mr/*",
    ];
    stage.gitlab.stop();
    let failed = stage.ours(&all).code(128);
    insta::assert_snapshot!(failed.shown(), @"
    error: cannot reach 'http://gitlab.example/group/project.git': connection refused
    hint: there is a copy here, but without 'refs/merge-requests/*/head'
    ");
    stage.gitlab.start();
    stage.ours(&all).ok();
    stage.gitlab.stop();
    stage.ours(&all).ok();
    let fetched = stage.ours(&["for-each-ref", "refs/remotes/origin/mr"]).ok();
    assert_eq!(fetched.stdout.lines().count(), 2, "{fetched}");
    // What the mirror tracks, it has all of.
    stage
        .ours(&[
            "fetch",
            "-q",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
        ])
        .ok();
}

//! The two ways out of a branch of one's own whose name is upstream's from now on: what `mirrord set` says works as it is
//! written.

use tests::Ran;

use super::{Change, Matrix};
use crate::{stage::Stage, tracking::NAME};

/// The git command that `mirrord set` prints for keeping a ref of this name.
#[track_caller]
fn way_to_keep(set: &Ran, name: &str) -> Vec<String> {
    let names_way = |line: &&str| line.contains(&format!("to keep '{name}'"));
    let line = set.stderr.lines().find(names_way);
    let line = line.unwrap_or_else(|| panic!("it names a way: {set}"));
    let (_, typed) = line.split_once(": git ").expect("the way is a line of git");
    typed.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_local_branch_can_be_kept_under_another_name() {
    let matrix = Matrix::new(Change::Tracked);
    let stage = &matrix.stage;
    let before = stage.project.refs();
    let set = matrix.set().ok();
    stage.git("ours", &["fetch", "-q"]).ok();
    for state in ["behind", "diverged"] {
        let args = way_to_keep(&set, &format!("x/{state}"));
        stage.world.git(args).at("ours").ok();
    }
    assert_eq!(stage.project.refs(), before, "none of it reaches upstream");
    let fetched = stage.git("ours", &["fetch", "-q", "--prune"]).ok();
    assert_eq!(
        fetched.stderr, "",
        "nothing is in the way any more: {fetched}"
    );
    matrix.shows("x", matrix.theirs().map(Some));
    let kept = |name: &str| stage.mirror_tip(&format!("refs/heads/local/x/{name}"));
    assert_eq!(kept("behind").as_ref(), Some(&matrix.behind));
    assert_eq!(kept("diverged").as_ref(), Some(&matrix.diverged));
    insta::assert_snapshot!(stage.shown_refs(), @r"
    track: +refs/heads/main:refs/heads/main +refs/heads/x/*:refs/heads/x/*
    tracked refs: 5
    local: refs/heads/local/x/behind [oid]
    local: refs/heads/local/x/diverged [oid]
    ");
    let moved = stage.project.commit("x/diverged", "x", "3");
    stage.git("ours", &["fetch", "-q"]).ok();
    assert_eq!(stage.tip("ours", "origin/x/diverged"), Some(moved));
}

#[test]
fn a_local_branch_can_be_sent_to_upstream_when_it_contains_upstreams() {
    let matrix = Matrix::new(Change::Tracked);
    let stage = &matrix.stage;
    let set = matrix.set().ok();
    insta::assert_snapshot!(set.shown(), @r"
    project: changed
    --- stderr
    warning: 'refs/heads/x/behind' is local to this mirror and has a tracked name now; if upstream has another one, yours stays
    warning: to keep 'x/behind' and see upstream's: git push --atomic origin origin/x/behind:refs/heads/local/x/behind :refs/heads/x/behind
    warning: to send 'x/behind' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin x/behind
    warning: 'refs/heads/x/diverged' is local to this mirror and has a tracked name now; if upstream has another one, yours stays
    warning: to keep 'x/diverged' and see upstream's: git push --atomic origin origin/x/diverged:refs/heads/local/x/diverged :refs/heads/x/diverged
    warning: to send 'x/diverged' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin x/diverged
    warning: 'refs/heads/x/equal' is local to this mirror and has a tracked name now; if upstream has another one, yours stays
    warning: to keep 'x/equal' and see upstream's: git push --atomic origin origin/x/equal:refs/heads/local/x/equal :refs/heads/x/equal
    warning: to send 'x/equal' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin x/equal
    ");
    stage.git("ours", &["fetch", "-q"]).ok();
    // 'mirrord show' names the commit, and 'git fetch origin COMMIT' brings it.
    let theirs = stage.project.commit("x/diverged", "x", "3");
    stage.sync();
    let refs = stage.refs_in_show(NAME).replace(&theirs, "THEIRS");
    insta::assert_snapshot!(tests::shown(&refs), @"
    track: +refs/heads/main:refs/heads/main +refs/heads/x/*:refs/heads/x/*
    tracked refs: 3
    local: refs/heads/x/behind [oid]
    local: refs/heads/x/diverged [oid]
    held: 'refs/heads/x/behind' is local to this mirror; upstream's is [oid]
    held: to keep 'x/behind' and see upstream's: git push --atomic origin origin/x/behind:refs/heads/local/x/behind :refs/heads/x/behind
    held: to send 'x/behind' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin x/behind
    held: 'refs/heads/x/diverged' is local to this mirror; upstream's is THEIRS
    held: to keep 'x/diverged' and see upstream's: git push --atomic origin origin/x/diverged:refs/heads/local/x/diverged :refs/heads/x/diverged
    held: to send 'x/diverged' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin x/diverged
    ");
    stage.git("ours", &["fetch", "-q", "origin", &theirs]).ok();
    stage
        .git(
            "ours",
            &["checkout", "-q", "-b", "x/diverged", &matrix.diverged],
        )
        .ok();
    // One that does not have upstream's is not sent, whatever is said.
    let push = ["push", "--force", "origin", "x/diverged"];
    stage
        .git("ours", &["commit", "-q", "--amend", "-m", "again"])
        .ok();
    let pushed = stage.world.git(push).at("ours").fails();
    insta::assert_snapshot!(pushed.shown(), @r"
    warning: 'refs/heads/x/behind' is local to this mirror; upstream's 'refs/heads/x/behind' is not shown
    warning: 'refs/heads/x/diverged' is local to this mirror; upstream's 'refs/heads/x/diverged' is not shown
    To mirror::project
     ! [remote rejected] x/diverged -> x/diverged (upstream has another one; see 'mirrord show')
    error: failed to push some refs to 'mirror::project'
    ");
    assert_eq!(stage.project.tip("x/diverged"), Some(theirs.clone()));
    stage.git("ours", &["rebase", "-q", &theirs]).ok();
    stage
        .git(
            "ours",
            &["push", "-q", "--force-with-lease", "origin", "x/diverged"],
        )
        .ok();
    let sent = stage.tip("ours", "HEAD");
    assert_eq!(stage.project.tip("x/diverged"), sent);
    assert_eq!(stage.mirror_tip("refs/heads/x/diverged"), sent);
    let fetched = stage.git("ours", &["fetch", "-q"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
    warning: 'refs/heads/x/behind' is local to this mirror; upstream's 'refs/heads/x/behind' is not shown
    ");
}

#[test]
fn a_local_branch_that_is_only_behind_follows_upstream_when_upstreams_commit_is_pushed_there() {
    let matrix = Matrix::new(Change::Tracked);
    let stage = &matrix.stage;
    matrix.set().ok();
    stage.git("ours", &["fetch", "-q"]).ok();
    let push = [
        "push",
        "origin",
        &format!("{}:refs/heads/x/behind", matrix.theirs()[2]),
    ];
    stage.git("ours", &push).ok();
    let fetched = stage.git("ours", &["fetch", "-q"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
    warning: 'refs/heads/x/diverged' is local to this mirror; upstream's 'refs/heads/x/diverged' is not shown
    ");
    assert_eq!(
        stage.mirror_tip("refs/heads/x/behind"),
        Some(matrix.upstream[2].clone())
    );
    let moved = stage.project.commit("x/behind", "x", "3");
    stage.git("ours", &["fetch", "-q"]).ok();
    assert_eq!(stage.tip("ours", "origin/x/behind"), Some(moved));
}

#[test]
fn a_local_tag_has_a_way_out_too() {
    let stage = Stage::new(|project| {
        project.history(3);
        project.tag("v1", "main");
    });
    stage.add_tracking(NAME, &["+refs/heads/main"]).ok();
    stage.clone(NAME, "ours").ok();
    stage.git("ours", &["tag", "v1", "origin/main~1"]).ok();
    stage.git("ours", &["push", "-q", "origin", "v1"]).ok();
    let mine = stage.tip("ours", "v1");
    let set = stage.set_track(&["+refs/heads/main", "+refs/tags/v*"]).ok();
    let fetched = stage.git("ours", &["fetch", "-q"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
    warning: 'refs/tags/v1' is local to this mirror; upstream's 'refs/tags/v1' is not shown
    ");
    assert_eq!(stage.mirror_tip("refs/tags/v1"), mine);
    let names_way = |line: &&str| line.contains("to keep '") && line.contains("v1'");
    let line = set.stderr.lines().find(names_way).expect("it names a way");
    let (_, typed) = line.split_once(": git ").expect("the way is a line of git");
    stage.world.git(typed.split_whitespace()).at("ours").ok();
    stage.sync();
    assert_eq!(
        stage.mirror_tip("refs/tags/v1"),
        stage.project.tip("refs/tags/v1")
    );
    assert_eq!(stage.mirror_tip("refs/tags/local/v1"), mine);
}

#[test]
fn set_warns_of_nothing_where_nothing_is_in_the_way() {
    let stage = Stage::new(|project| {
        project.history(3);
        project.commit("topic", "topic", "1");
    });
    stage.add_tracking(NAME, &["+refs/heads/main"]).ok();
    let lists: [&[&str]; 6] = [
        &["+refs/heads/main:refs/heads/upstream/main"],
        &["+refs/heads/*:refs/heads/upstream/*"],
        &["+refs/heads/*"],
        &["refs/heads/*"],
        &["+refs/heads/*", "^refs/heads/topic"],
        &[],
    ];
    for track in lists {
        let set = stage.set_track(track).ok();
        assert_eq!(set.stderr, "", "{track:?}: {set}");
        let synced = stage.sync();
        assert_eq!(synced.stderr, "", "{track:?}: {synced}");
    }
}

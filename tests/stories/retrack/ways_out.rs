//! The two ways out of a branch of one's own whose name is upstream's from now on: what `mirrord set` says works as it is
//! written.

use tests::Ran;

use super::{Change, Matrix};
use crate::tracking::Tracking;

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
    let tracking = &matrix.tracking;
    let before = tracking.project.refs();
    let set = matrix.set().ok();
    tracking.git("ours", &["fetch", "-q"]);
    for state in ["behind", "diverged"] {
        let args = way_to_keep(&set, &format!("x/{state}"));
        tracking.world.git(args).at("ours").ok();
    }
    assert_eq!(
        tracking.project.refs(),
        before,
        "none of it reaches upstream"
    );
    let fetched = tracking.git("ours", &["fetch", "-q", "--prune"]);
    assert_eq!(
        fetched.stderr, "",
        "nothing is in the way any more: {fetched}"
    );
    matrix.shows("x", matrix.theirs().map(Some));
    let kept = |name: &str| tracking.shown(&format!("refs/heads/local/x/{name}"));
    assert_eq!(kept("behind").as_ref(), Some(&matrix.behind));
    assert_eq!(kept("diverged").as_ref(), Some(&matrix.diverged));
    assert!(!tracking.show().contains("held: "), "{}", tracking.show());
    let moved = tracking.project.commit("x/diverged", "x", "3");
    tracking.git("ours", &["fetch", "-q"]);
    assert_eq!(tracking.tip("ours", "origin/x/diverged"), Some(moved));
}

#[test]
fn a_local_branch_can_be_sent_to_upstream_when_it_contains_upstreams() {
    let matrix = Matrix::new(Change::Tracked);
    let tracking = &matrix.tracking;
    let set = matrix.set().ok();
    assert!(
        set.stderr
            .contains("to send 'x/diverged' to upstream: rebase it"),
        "{set}"
    );
    tracking.git("ours", &["fetch", "-q"]);
    // 'mirrord show' names the commit, and 'git fetch origin COMMIT' brings it.
    let theirs = tracking.project.commit("x/diverged", "x", "3");
    tracking.sync();
    assert!(tracking.show().contains(&theirs), "{}", tracking.show());
    tracking.git("ours", &["fetch", "-q", "origin", &theirs]);
    tracking.git(
        "ours",
        &["checkout", "-q", "-b", "x/diverged", &matrix.diverged],
    );
    // One that does not have upstream's is not sent, whatever is said.
    let push = ["push", "--force", "origin", "x/diverged"];
    tracking.git("ours", &["commit", "-q", "--amend", "-m", "again"]);
    let pushed = tracking.world.git(push).at("ours").fails();
    assert!(pushed.stderr.contains("mirrord show"), "{pushed}");
    assert_eq!(tracking.project.tip("x/diverged"), Some(theirs.clone()));
    tracking.git("ours", &["rebase", "-q", &theirs]);
    tracking.git(
        "ours",
        &["push", "-q", "--force-with-lease", "origin", "x/diverged"],
    );
    let sent = tracking.tip("ours", "HEAD");
    assert_eq!(tracking.project.tip("x/diverged"), sent);
    assert_eq!(tracking.shown("refs/heads/x/diverged"), sent);
    let fetched = tracking.git("ours", &["fetch", "-q"]);
    assert!(!fetched.stderr.contains("x/diverged"), "{fetched}");
}

#[test]
fn a_local_branch_that_is_only_behind_follows_upstream_when_upstreams_commit_is_pushed_there() {
    let matrix = Matrix::new(Change::Tracked);
    let tracking = &matrix.tracking;
    matrix.set().ok();
    tracking.git("ours", &["fetch", "-q"]);
    let push = [
        "push",
        "origin",
        &format!("{}:refs/heads/x/behind", matrix.theirs()[2]),
    ];
    tracking.git("ours", &push);
    let fetched = tracking.git("ours", &["fetch", "-q"]);
    assert!(!fetched.stderr.contains("x/behind"), "{fetched}");
    assert_eq!(
        tracking.shown("refs/heads/x/behind"),
        Some(matrix.upstream[2].clone())
    );
    let moved = tracking.project.commit("x/behind", "x", "3");
    tracking.git("ours", &["fetch", "-q"]);
    assert_eq!(tracking.tip("ours", "origin/x/behind"), Some(moved));
}

#[test]
fn a_local_tag_has_a_way_out_too() {
    let tracking = Tracking::new(|project| {
        project.history(3);
        project.tag("v1", "main");
    });
    tracking.add(&["+refs/heads/main"]);
    tracking.clone("ours");
    tracking.git("ours", &["tag", "v1", "origin/main~1"]);
    tracking.git("ours", &["push", "-q", "origin", "v1"]);
    let mine = tracking.tip("ours", "v1");
    let set = tracking.set(&["+refs/heads/main", "+refs/tags/v*"]).ok();
    let fetched = tracking.git("ours", &["fetch", "-q"]);
    assert!(
        fetched.stderr.contains("'refs/tags/v1' is local"),
        "{fetched}"
    );
    assert_eq!(tracking.shown("refs/tags/v1"), mine);
    let names_way = |line: &&str| line.contains("to keep '") && line.contains("v1'");
    let line = set.stderr.lines().find(names_way).expect("it names a way");
    let (_, typed) = line.split_once(": git ").expect("the way is a line of git");
    tracking.world.git(typed.split_whitespace()).at("ours").ok();
    tracking.sync();
    assert_eq!(
        tracking.shown("refs/tags/v1"),
        tracking.project.tip("refs/tags/v1")
    );
    assert_eq!(tracking.shown("refs/tags/local/v1"), mine);
}

#[test]
fn set_warns_of_nothing_where_nothing_is_in_the_way() {
    let tracking = Tracking::new(|project| {
        project.history(3);
        project.commit("topic", "topic", "1");
    });
    tracking.add(&["+refs/heads/main"]);
    let lists: [&[&str]; 6] = [
        &["+refs/heads/main:refs/heads/upstream/main"],
        &["+refs/heads/*:refs/heads/upstream/*"],
        &["+refs/heads/*"],
        &["refs/heads/*"],
        &["+refs/heads/*", "^refs/heads/topic"],
        &[],
    ];
    for track in lists {
        let set = tracking.set(track).ok();
        assert_eq!(set.stderr, "", "{track:?}: {set}");
        let synced = tracking.sync();
        assert_eq!(synced.stderr, "", "{track:?}: {synced}");
    }
}

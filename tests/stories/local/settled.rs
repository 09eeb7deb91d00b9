//! Tracked names of which no local branch hides upstream's, or none any more.

use super::{
    fork,
    taken::{taken, widen},
};

#[test]
fn a_local_branch_that_hides_upstreams_is_deleted_and_upstreams_is_seen() {
    let (fork, theirs) = taken();
    fork.ours(&["fetch", "-q"]).ok();
    let ran = fork.upstream_stays(|| fork.push("ours", &[":feat"]).ok());
    insta::assert_snapshot!(ran.shown(), @r"
        warning: 'refs/heads/feat' is local to this mirror; upstream's 'refs/heads/feat' is not shown
        remote: feat was local to this mirror; the next fetch shows what 127.0.0.1 has
        To mirror::fork
         - [deleted]         feat
    ");
    fork.ours(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("ours", "origin/feat"), Some(theirs));
    fork.world
        .mirrord(["restore", "fork", "feat", "--as", "wip/feat"])
        .ok();
    assert_eq!(
        fork.mirror_tip("refs/heads/wip/feat"),
        fork.tip("ours", "feat")
    );
}

#[test]
fn a_local_branch_that_equals_what_upstream_makes_simply_moves_on() {
    let fork = fork();
    fork.begin("feat");
    fork.push("ours", &["feat"]).ok();
    widen(&fork);
    let send = ["push", "-q", &fork.url, "feat"];
    fork.ours(&send).ok();
    let fetched = fork.theirs(&["fetch"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
        From mirror::fork
         * [new branch]      feat       -> origin/feat
         * [new branch]      spare      -> origin/spare
         * [new branch]      topic      -> origin/topic
         * [new tag]         light      -> light
         * [new tag]         v1         -> v1
    ");
    let next = fork.project.commit("feat", "next", "next");
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("theirs", "origin/feat"), Some(next));
}

#[test]
fn a_tracked_name_that_upstream_does_not_have_yet_goes_upstream() {
    let fork = fork();
    fork.begin("new");
    fork.push("ours", &["new", "new:refs/heads/wip/new"]).ok();
    widen(&fork);
    let before = fork.project.tip("new");
    assert_eq!(before, None, "a change of the refspecs sends nothing");
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.project.tip("new"), None, "nor does a fetch");
    fork.commit("ours", "more");
    let ran = fork
        .push("ours", &["new", "new:refs/heads/other", "new:refs/tags/t"])
        .ok();
    insta::assert_snapshot!(ran.shown(), @r"
        To mirror::fork
           [oid]..[oid]  new -> new
         * [new branch]      new -> other
         * [new tag]         new -> t
    ");
    let tip = fork.tip("ours", "new");
    for name in ["new", "other", "refs/tags/t"] {
        assert_eq!(fork.project.tip(name), tip, "{name}");
    }
    assert_eq!(fork.project.tip("wip/new"), None);
    fork.is_sound();
}

//! A change of refspecs for a ref in each state: no longer tracked, newly tracked, or tracked under another name.

use super::{Change, Matrix, STATES};
use crate::{stage::Stage, tracking::NAME};

#[test]
fn branches_that_are_no_longer_tracked_go_to_the_history_and_local_changes_stay() {
    let mut shown = Vec::new();
    for change in [Change::Untracked, Change::Negative] {
        let matrix = Matrix::new(change);
        let (behind, diverged) = (matrix.behind.as_str(), matrix.diverged.as_str());
        let before = [None, Some(matrix.theirs()[1]), Some(behind), Some(diverged)];
        matrix.shows("x", before);
        let tips = matrix.tips();
        let set = matrix.set().ok();
        assert_eq!(set.stderr, "", "nothing is in the way any more: {set}");
        let after = [None, None, Some(behind), Some(diverged)];
        matrix.shows("x", after);
        matrix.lost_nothing(&tips);
        assert_eq!(
            matrix
                .stage
                .mirror_tip("refs/heads/x/absent/not")
                .as_deref(),
            Some(diverged)
        );
        shown.push(matrix.stage.shown_refs());
        shown.push(tests::shown(&matrix.history()));

        // Whatever upstream does with them now is none of ours.
        for state in STATES {
            matrix.stage.project.commit(&format!("x/{state}"), "x", "3");
        }
        matrix.stage.project.delete("x/equal");
        let fetched = matrix.stage.git("ours", &["fetch", "-q", "--prune"]).ok();
        assert_eq!(fetched.stderr, "", "{fetched}");
        matrix.shows("x", after);

        // And what went comes back as one's own.
        let restore = ["restore", NAME, "x/equal"];
        matrix.stage.world.mirrord(restore).ok();
        matrix.shows("x", before);
        matrix.stage.git("ours", &["fetch", "-q"]).ok();
        assert_eq!(
            matrix.stage.tip("ours", "origin/x/equal"),
            Some(matrix.upstream[1].clone())
        );
        matrix.stage.sync();
        matrix.shows("x", before);
    }
    insta::assert_snapshot!(shown.join("\n"), @r"
    track: +refs/heads/main:refs/heads/main
    tracked refs: 1
    local: refs/heads/x/absent/not [oid]
    local: refs/heads/x/behind [oid]
    local: refs/heads/x/diverged [oid]
    [date]  refs/heads/x/equal  [oid]  untracked

    track: +refs/heads/*:refs/heads/* ^refs/heads/x/*
    tracked refs: 1
    local: refs/heads/x/absent/not [oid]
    local: refs/heads/x/behind [oid]
    local: refs/heads/x/diverged [oid]
    [date]  refs/heads/x/equal  [oid]  untracked
    ");
}

#[test]
fn a_local_branch_whose_name_becomes_tracked_is_not_overwritten_and_every_fetch_says_so() {
    let matrix = Matrix::new(Change::Tracked);
    let (behind, diverged) = (matrix.behind.clone(), matrix.diverged.clone());
    let tips = matrix.tips();
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
    matrix.lost_nothing(&tips);
    let [absent, equal, _, theirs] = matrix.theirs();
    let (mut fetches, mut shows) = (Vec::new(), Vec::new());
    for round in 0..3 {
        if round == 2 {
            matrix.stage.world.kill_daemon();
        }
        let fetched = matrix.stage.git("ours", &["fetch", "-q"]).ok();
        fetches.push(fetched.shown());
        shows.push(matrix.stage.shown_refs());
        matrix.shows(
            "x",
            [Some(absent), Some(equal), Some(&behind), Some(&diverged)],
        );
    }
    insta::assert_snapshot!(fetches[0], @r"
    warning: 'refs/heads/x/behind' is local to this mirror; upstream's 'refs/heads/x/behind' is not shown
    warning: 'refs/heads/x/diverged' is local to this mirror; upstream's 'refs/heads/x/diverged' is not shown
    ");
    insta::assert_snapshot!(shows[0], @r"
    track: +refs/heads/main:refs/heads/main +refs/heads/x/*:refs/heads/x/*
    tracked refs: 3
    local: refs/heads/x/behind [oid]
    local: refs/heads/x/diverged [oid]
    held: 'refs/heads/x/behind' is local to this mirror; upstream's is [oid]
    held: to keep 'x/behind' and see upstream's: git push --atomic origin origin/x/behind:refs/heads/local/x/behind :refs/heads/x/behind
    held: to send 'x/behind' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin x/behind
    held: 'refs/heads/x/diverged' is local to this mirror; upstream's is [oid]
    held: to keep 'x/diverged' and see upstream's: git push --atomic origin origin/x/diverged:refs/heads/local/x/diverged :refs/heads/x/diverged
    held: to send 'x/diverged' to upstream: rebase it onto upstream's ('mirrord show' names the commit, 'git fetch origin COMMIT' brings it), then git push --force-with-lease origin x/diverged
    ");
    assert!(
        fetches.iter().all(|fetch| *fetch == fetches[0]),
        "{fetches:?}"
    );
    assert!(shows.iter().all(|show| *show == shows[0]), "{shows:?}");
    assert!(
        matrix
            .stage
            .show(NAME)
            .contains(&format!("upstream's is {theirs}")),
        "show names the commit that is not shown"
    );
    // The others move on with upstream, and these do not.
    for state in STATES {
        matrix.stage.project.commit(&format!("x/{state}"), "x", "3");
    }
    let moved = matrix.stage.project.tip("x/equal").expect("it is there");
    let fetched = matrix.stage.git("ours", &["fetch", "-q"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
    warning: 'refs/heads/x/behind' is local to this mirror; upstream's 'refs/heads/x/behind' is not shown
    warning: 'refs/heads/x/diverged' is local to this mirror; upstream's 'refs/heads/x/diverged' is not shown
    ");
    let absent = matrix.stage.project.tip("x/absent").expect("it is there");
    matrix.shows(
        "x",
        [
            Some(absent.as_str()),
            Some(&moved),
            Some(&behind),
            Some(&diverged),
        ],
    );
    // Nor do they go when upstream's go.
    for state in STATES {
        matrix.stage.project.delete(&format!("x/{state}"));
    }
    let fetched = matrix.stage.git("ours", &["fetch", "-q"]).ok();
    assert_eq!(fetched.stderr, "", "nobody is in anybody's way: {fetched}");
    matrix.shows("x", [None, None, Some(&behind), Some(&diverged)]);
}

#[test]
fn a_branch_that_is_tracked_under_another_name_moves_there_at_once_and_overwrites_nothing() {
    let matrix = Matrix::new(Change::Renamed);
    let (behind, diverged) = (matrix.behind.clone(), matrix.diverged.clone());
    let [absent, equal, ..] = matrix.theirs();
    matrix.shows("x", matrix.theirs().map(Some));
    let tips = matrix.tips();
    matrix.stage.gitlab.stop();
    matrix.set().ok();
    matrix.shows("x", [None; 4]);
    let renamed = [Some(absent), Some(equal), Some(&behind), Some(&diverged)];
    // Nothing has to be asked for it.
    matrix.shows("up", renamed);
    matrix.lost_nothing(&tips);
    let history = matrix.history();
    insta::assert_snapshot!(tests::shown(&history), @r"
    [date]  refs/heads/x/absent    [oid]  untracked
    [date]  refs/heads/x/behind    [oid]  untracked
    [date]  refs/heads/x/diverged  [oid]  untracked
    [date]  refs/heads/x/equal     [oid]  untracked
    ");
    matrix.stage.gitlab.start();
    let fetched = matrix.stage.git("ours", &["fetch", "-q", "--prune"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
    warning: 'refs/heads/up/behind' is local to this mirror; upstream's 'refs/heads/x/behind' is not shown
    warning: 'refs/heads/up/diverged' is local to this mirror; upstream's 'refs/heads/x/diverged' is not shown
    ");
    matrix.shows("up", renamed);
    let moved = matrix.stage.project.commit("x/equal", "x", "3");
    matrix.stage.git("ours", &["fetch", "-q", "--prune"]).ok();
    matrix.shows(
        "up",
        [Some(absent), Some(&moved), Some(&behind), Some(&diverged)],
    );
}

#[test]
fn a_kept_branch_is_local_and_follows_upstream_when_it_is_tracked_again() {
    let matrix = Matrix::new(Change::Kept);
    let tips = matrix.tips();
    let before = [
        None,
        Some(matrix.theirs()[1]),
        Some(&matrix.behind),
        Some(&matrix.diverged),
    ];
    matrix.set().ok();
    matrix.shows("x", before);
    matrix.lost_nothing(&tips);
    insta::assert_snapshot!(matrix.stage.shown_refs(), @r"
    track: +refs/heads/main:refs/heads/main
    tracked refs: 1
    local: refs/heads/x/absent/not [oid]
    local: refs/heads/x/behind [oid]
    local: refs/heads/x/diverged [oid]
    local: refs/heads/x/equal [oid]
    ");
    // Nothing went.
    insta::assert_snapshot!(tests::shown(&matrix.history()), @"nothing is in the history of 'project'");
    let moved = matrix.stage.project.commit("x/equal", "x", "3");
    let fetched = matrix.stage.git("ours", &["fetch", "-q"]).ok();
    assert_eq!(fetched.stderr, "", "it is local: {fetched}");
    matrix.shows("x", before);
    matrix.stage.set_track(matrix.change.before()).ok();
    let fetched = matrix.stage.git("ours", &["fetch", "-q"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
    warning: 'refs/heads/x/behind' is local to this mirror; upstream's 'refs/heads/x/behind' is not shown
    warning: 'refs/heads/x/diverged' is local to this mirror; upstream's 'refs/heads/x/diverged' is not shown
    warning: 'refs/heads/x/absent' is not shown: 'refs/heads/x/absent/not' exists
    ");
    let after = [
        None,
        Some(moved.as_str()),
        Some(&matrix.behind),
        Some(&matrix.diverged),
    ];
    matrix.shows("x", after);
}

#[test]
fn a_kept_branch_with_local_changes_stays_local_when_it_is_tracked_again() {
    let matrix = Matrix::new(Change::Kept);
    matrix.set().ok();
    let mine = matrix.stage.commit_onto("ours", matrix.theirs()[1], "more");
    let push = [
        "push",
        "-q",
        "origin",
        &format!("{mine}:refs/heads/x/equal"),
    ];
    matrix.stage.git("ours", &push).ok();
    assert_eq!(
        matrix.stage.project.tip("x/equal"),
        Some(matrix.upstream[1].clone()),
        "it is local"
    );
    let moved = matrix.stage.project.commit("x/equal", "x", "3");
    matrix.stage.set_track(matrix.change.before()).ok();
    let fetched = matrix.stage.git("ours", &["fetch", "-q"]).ok();
    insta::assert_snapshot!(fetched.shown(), @r"
    warning: 'refs/heads/x/behind' is local to this mirror; upstream's 'refs/heads/x/behind' is not shown
    warning: 'refs/heads/x/diverged' is local to this mirror; upstream's 'refs/heads/x/diverged' is not shown
    warning: 'refs/heads/x/equal' is local to this mirror; upstream's 'refs/heads/x/equal' is not shown
    warning: 'refs/heads/x/absent' is not shown: 'refs/heads/x/absent/not' exists
    ");
    assert_eq!(matrix.stage.mirror_tip("refs/heads/x/equal"), Some(mine));
    assert!(
        matrix.stage.show(NAME).contains(&moved),
        "{}",
        matrix.stage.show(NAME)
    );
}

#[test]
fn a_change_of_refspecs_that_is_undone_leaves_tracked_branches_as_they_were() {
    let matrix = Matrix::new(Change::Negative);
    for _ in 0..2 {
        let tips = matrix.tips();
        matrix.stage.set_track(matrix.change.after()).ok();
        matrix.stage.set_track(&[]).ok();
        matrix.stage.sync();
        matrix.lost_nothing(&tips);
        matrix.shows(
            "x",
            [
                None,
                Some(matrix.theirs()[1]),
                Some(&matrix.behind),
                Some(&matrix.diverged),
            ],
        );
    }
    let main = matrix.stage.project.tip("main");
    assert_eq!(matrix.stage.mirror_tip("refs/heads/main"), main);
}

#[test]
fn the_next_fetch_goes_by_the_new_refspecs_however_fresh_the_mirror_is() {
    let stage = Stage::new(|project| {
        project.history(3);
        project.commit("topic", "topic", "1");
    });
    stage.add_tracking(NAME, &["+refs/heads/main"]).ok();
    let fresh = ["set", NAME, "--fresh-for", "1d"];
    stage.world.mirrord(fresh).ok();
    stage.clone(NAME, "ours").ok();
    stage.set_track(&[]).ok();
    stage.git("ours", &["fetch", "-q"]).ok();
    let topic = stage.project.tip("topic");
    assert_eq!(stage.tip("ours", "origin/topic"), topic);
}

#[test]
fn a_mirror_that_was_never_in_step_can_be_told_other_refspecs() {
    let stage = Stage::new(|project| {
        project.history(3);
        project.commit("topic", "topic", "1");
    });
    stage
        .add_tracking(NAME, &["+refs/heads/main"])
        .arg("--no-sync")
        .ok();
    let set = stage
        .set_track(&["+refs/heads/topic:refs/heads/theirs"])
        .ok();
    assert_eq!(set.stderr, "", "{set}");
    stage.clone(NAME, "ours").ok();
    let refs = tests::public_refs(&stage.world, &stage.world.only_mirror());
    let topic = stage.project.tip("topic").expect("it is there");
    assert_eq!(refs, [("refs/heads/theirs".to_owned(), topic)]);
}

#[test]
fn names_that_change_places_are_shown_without_upstream() {
    let stage = Stage::new(|project| {
        project.history(3);
        project.commit("topic", "topic", "1");
    });
    stage
        .add_tracking(NAME, &["+refs/heads/main", "+refs/heads/topic"])
        .ok();
    stage.clone(NAME, "ours").ok();
    let [main, topic] = ["main", "topic"].map(|name| stage.project.tip(name));
    stage.gitlab.stop();
    let track = [
        "+refs/heads/main:refs/heads/topic",
        "+refs/heads/topic:refs/heads/main",
    ];
    stage.set_track(&track).ok();
    stage
        .git("ours", &["fetch", "-q", "--prune", "--force"])
        .ok();
    assert_eq!(stage.tip("ours", "origin/main"), topic);
    assert_eq!(stage.tip("ours", "origin/topic"), main);
}

#[test]
fn a_name_may_become_a_directory_of_itself() {
    let stage = Stage::new(|project| drop(project.history(3)));
    stage.add_tracking(NAME, &["+refs/heads/main"]).ok();
    stage.clone(NAME, "ours").ok();
    let main = stage.project.tip("main");
    for name in ["main/upstream", "main"] {
        stage
            .set_track(&[&format!("+refs/heads/main:refs/heads/{name}")])
            .ok();
        assert_eq!(stage.mirror_tip(&format!("refs/heads/{name}")), main);
        let fetched = stage.git("ours", &["fetch", "-q", "--prune"]).ok();
        assert_eq!(fetched.stderr, "", "{fetched}");
        assert_eq!(stage.tip("ours", &format!("origin/{name}")), main);
    }
}

#[test]
fn tags_and_whatever_else_is_no_longer_tracked_can_be_brought_back() {
    let stage = Stage::new(|project| {
        project.history(3);
        project.annotated_tag("v1", "main");
        project.tag("v2", "main~1");
        project.force("refs/notes/commits", "main~1");
    });
    stage.add_tracking(NAME, &["+refs/*:refs/*"]).ok();
    stage.clone(NAME, "ours").ok();
    let names = ["refs/tags/v1", "refs/tags/v2", "refs/notes/commits"];
    let before = names.map(|name| stage.mirror_tip(name));
    assert!(before.iter().all(Option::is_some), "{before:?}");
    stage.set_track(&["+refs/heads/*"]).ok();
    assert_eq!(names.map(|name| stage.mirror_tip(name)), [None, None, None]);
    for name in names {
        stage.world.mirrord(["restore", NAME, name]).ok();
    }
    stage.sync();
    assert_eq!(names.map(|name| stage.mirror_tip(name)), before);
}

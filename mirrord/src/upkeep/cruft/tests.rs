//! What nothing reaches goes, after a while; what anything reaches, or comes to reach, never does.

use super::{super::store::Store, *};
use crate::upkeep::store;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A mirror with a branch of upstream's, and another one that is worth a repack when it goes.
fn two_branches() -> Store {
    let mut store = Store::new();
    store.history("main", 10);
    store.history("gone", 3);
    store.big("gone");
    for branch in ["main", "gone"] {
        store.git(&["update-ref", &record(branch), branch], "");
    }
    store
}

fn record(branch: &str) -> String {
    format!("refs/upstream/heads/{branch}")
}

/// Deletes a branch and its record, of which no copy knows then.
fn delete(store: &Store, branch: &str) {
    for name in [format!("refs/heads/{branch}"), record(branch)] {
        let _ = fs::remove_file(store.path().join("packed-refs.copy"));
        store.git(&["update-ref", "-d", &name], "");
    }
}

fn with_git<T>(work: impl FnOnce(&Watch) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let watch = Watch::new("", tokio::sync::broadcast::channel(1).0, Vec::new());
    work(&watch)
}

/// Measures, so much later, and writes what is cruft into a pack of its own. Returns what may go.
fn collected(store: &Store, after: Duration) -> io::Result<Option<Expired>> {
    let mirror = store::mirror(store.path());
    with_git(
        |watch| match measure(&mirror, SystemTime::now() + after, watch)? {
            Todo::Nothing => Ok(None),
            Todo::Write => {
                write(store.path(), &packs::all(store.path())?, watch)?;
                Ok(None)
            }
            Todo::Drop(expired) => Ok(Some(expired)),
        },
    )
}

fn dropped(store: &Store, expired: &Expired) -> io::Result<()> {
    with_git(|watch| drop_expired(store.path(), expired, watch))
}

/// Measures once, so much later, and drops what may go.
fn measure_and_drop(store: &Store, after: Duration) {
    let expired = collected(store, after).expect("collected");
    store.drop_replaced();
    if let Some(expired) = expired {
        dropped(store, &expired).expect("dropped");
    }
    store.git(&["fsck", "--full", "--strict", "--no-dangling"], "");
}

fn cruft(store: &Store) -> usize {
    packs::cruft(store.path()).expect("readable").len()
}

#[test]
fn cruft_is_measured_once_a_week() {
    let mut store = Store::new();
    store.history("main", 1);
    let is_due = |after| is_due(store.path(), SystemTime::now() + after).expect("readable");
    assert!(!is_due(6 * DAY));
    assert!(is_due(8 * DAY));
    measure_and_drop(&store, 8 * DAY);
    assert!(!is_due(14 * DAY));
    assert!(is_due(16 * DAY));
    assert!(!is_due(Duration::ZERO), "the clock was set back");
}

#[test]
fn what_nothing_reaches_goes_two_weeks_after_it_was_found() {
    let store = two_branches();
    let lost = store.git(&["rev-parse", "gone"], "");
    measure_and_drop(&store, 7 * DAY);
    assert_eq!(cruft(&store), 0, "all is reached");
    delete(&store, "gone");
    measure_and_drop(&store, 7 * DAY);
    assert_eq!(cruft(&store), 1);
    assert_eq!(store.names().len(), 2);
    assert!(store.has(&lost), "nothing goes at once");
    assert!(store.has_all());
    measure_and_drop(&store, 13 * DAY);
    assert!(store.has(&lost));
    measure_and_drop(&store, 15 * DAY);
    assert!(!store.has(&lost));
    assert_eq!(cruft(&store), 0);
    assert_eq!(store.leftovers(), [""; 0]);
    let listed = store.git(&["rev-list", "--all", "--objects"], "");
    assert_eq!(listed.lines().count(), 30);
}

#[test]
fn a_pack_all_of_which_is_not_reached_goes_as_any_other() {
    let store = two_branches();
    measure_and_drop(&store, 7 * DAY);
    let names = store.names();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    store.together(&names);
    store.drop_replaced();
    delete(&store, "main");
    delete(&store, "gone");
    measure_and_drop(&store, 7 * DAY);
    assert_eq!((store.names().len(), cruft(&store)), (1, 1));
    assert!(store.has_all());
    measure_and_drop(&store, 15 * DAY);
    assert_eq!(store.names(), [""; 0]);
}

#[test]
fn what_is_reached_again_before_it_goes_stays() {
    let store = two_branches();
    let back = store.git(&["rev-parse", "gone"], "");
    delete(&store, "gone");
    measure_and_drop(&store, 7 * DAY);
    let expired = collected(&store, 15 * DAY).expect("collected");
    let expired = expired.expect("it may go");
    // A sync finds it there, after the walk and before it goes.
    store.git(&["update-ref", "refs/heads/back", &back], "");
    let err = dropped(&store, &expired).expect_err("it is needed");
    assert!(!err.to_string().is_empty());
    assert!(store.has_all());
    // From now on it is as any other.
    measure_and_drop(&store, 15 * DAY);
    assert_eq!(cruft(&store), 0);
    assert!(store.has_all());
    measure_and_drop(&store, 60 * DAY);
    assert!(store.has_all());
}

#[test]
fn what_is_reached_by_part_again_stays_as_far_as_it_is() {
    let store = two_branches();
    let tip = store.git(&["rev-parse", "gone"], "");
    let back = store.git(&["rev-parse", "gone~1"], "");
    delete(&store, "gone");
    measure_and_drop(&store, 7 * DAY);
    store.git(&["update-ref", "refs/heads/back", &back], "");
    measure_and_drop(&store, 15 * DAY);
    assert!(store.has_all());
    measure_and_drop(&store, 29 * DAY);
    assert!(!store.has(&tip));
    let listed = store.git(&["rev-list", "--all", "--objects"], "");
    assert_eq!(listed.lines().count(), 39);
}

#[test]
fn packs_of_a_sync_that_comes_meanwhile_are_no_cruft() {
    let mut store = two_branches();
    delete(&store, "gone");
    let listed = packs::all(store.path()).expect("readable");
    store.history("late", 3);
    let late = store.git(&["rev-parse", "late"], "");
    delete(&store, "late");
    with_git(|watch| write(store.path(), &listed, watch)).expect("written");
    store.git(&["update-ref", "refs/heads/late", &late], "");
    store.drop_replaced();
    for week in 3..6 {
        measure_and_drop(&store, week * 7 * DAY);
    }
    assert!(store.has(&late));
    assert_eq!(cruft(&store), 0, "it went in due time");
    let listed = store.git(&["rev-list", "--all", "--objects"], "");
    assert_eq!(listed.lines().count(), 39);
}

#[test]
fn whoever_is_killed_before_anything_went_has_lost_nothing() {
    let store = two_branches();
    delete(&store, "gone");
    for later in [7 * DAY, 15 * DAY, 16 * DAY] {
        collected(&store, later).expect("collected");
        assert!(store.has_all());
    }
    for later in [16 * DAY, 32 * DAY, 48 * DAY] {
        measure_and_drop(&store, later);
    }
    assert_eq!(cruft(&store), 0);
    let listed = store.git(&["cat-file", "--batch-all-objects", "--batch-check"], "");
    assert_eq!(listed.lines().count(), 30);
}

#[test]
fn a_local_branch_at_a_commit_of_upstreams_makes_nothing_cruft() {
    let store = two_branches();
    store.git(&["update-ref", "refs/heads/mine", "gone"], "");
    let before = store.names();
    measure_and_drop(&store, 7 * DAY);
    assert_eq!(store.names(), before);
}

#[test]
fn a_little_cruft_is_left_where_it_is() {
    let mut store = Store::new();
    store.history("main", 10);
    store.history("gone", 9);
    delete(&store, "gone");
    let before = store.names();
    measure_and_drop(&store, 7 * DAY);
    assert_eq!(store.names(), before);
}

#[test]
fn where_somebody_has_a_work_tree_nothing_goes() {
    let store = two_branches();
    delete(&store, "gone");
    fs::create_dir(store.path().join("worktrees")).expect("created");
    let before = store.names();
    measure_and_drop(&store, 7 * DAY);
    assert_eq!(store.names(), before);
}

#[test]
fn a_head_on_no_branch_reaches_as_a_branch_does() {
    let store = two_branches();
    let tip = store.git(&["rev-parse", "gone"], "");
    delete(&store, "gone");
    fs::write(store.path().join("HEAD"), format!("{tip}\n")).expect("written");
    for week in 1..5 {
        measure_and_drop(&store, week * 7 * DAY);
    }
    assert!(store.has_all());
}

#[test]
fn where_anything_is_missing_nothing_goes() {
    let mut store = two_branches();
    delete(&store, "gone");
    measure_and_drop(&store, 7 * DAY);
    let before = store.names();
    store.history("late", 2);
    let late: Vec<_> = store.names();
    let late = late.into_iter().find(|name| !before.contains(name));
    let late = late.expect("it came");
    for ending in ["idx", "pack"] {
        fs::remove_file(store.file(&format!("{late}.{ending}"))).expect("removed");
    }
    assert!(collected(&store, 22 * DAY).is_err());
    assert_eq!(store.names(), before);
    assert!(
        !is_due(store.path(), SystemTime::now() + 23 * DAY).expect("readable"),
        "not over and over"
    );
}

#[test]
fn what_is_kept_apart_neither_goes_nor_is_it_copied() {
    let mut store = Store::new();
    store.history("main", 10);
    let before = store.names();
    store.history("mine", 3);
    store.big("mine");
    let mut mine = store.names();
    mine.retain(|name| !before.contains(name));
    let mine: Vec<_> = mine.iter().map(String::as_str).collect();
    store.mark(&mine);
    for is_there in [true, false] {
        if !is_there {
            delete(&store, "mine");
        }
        measure_and_drop(&store, 7 * DAY);
        measure_and_drop(&store, 30 * DAY);
        assert_eq!(store.names().len(), before.len() + mine.len());
        assert!(store.has_all());
    }
}

#[test]
fn no_graph_of_commits_knows_what_has_gone() {
    let store = two_branches();
    let lost = store.git(&["rev-parse", "gone"], "");
    store.git(&["commit-graph", "write", "--reachable"], "");
    delete(&store, "gone");
    measure_and_drop(&store, 7 * DAY);
    measure_and_drop(&store, 22 * DAY);
    assert!(!store.has(&lost));
    assert!(!store.path().join("objects/info/commit-graph").exists());
    let repo = refs::open(store.path()).expect("a repository");
    let lost = ObjectId::from_hex(lost.as_bytes()).expect("hex");
    assert!(!repo.has_object(lost));
}

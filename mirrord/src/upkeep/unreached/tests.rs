//! What nothing reaches goes, after a while; what anything reaches, or comes to reach, never does.

use super::{super::store::Store, *};
use crate::repository::refs;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A mirror with a branch, and another one that is worth it when it goes.
fn two_branches() -> Store {
    let mut store = Store::new();
    store.history("main", 10);
    store.history("gone", 3);
    store.big("gone");
    store
}

/// Deletes a branch, of which no copy knows then.
fn delete(store: &Store, branch: &str) {
    let _ = fs::remove_file(store.path().join("packed-refs.copy"));
    store.git(&["update-ref", "-d", &format!("refs/heads/{branch}")], "");
}

fn with_git<T>(work: impl FnOnce(&Watch) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let watch = Watch::new("", tokio::sync::broadcast::channel(1).0, Vec::new());
    work(&watch)
}

fn sorted(store: &Store, after: Duration) -> io::Result<Going> {
    with_git(|watch| sort(store.path(), SystemTime::now() + after, watch))
}

fn dropped(store: &Store, going: &Going) -> io::Result<()> {
    with_git(|watch| drop_all(store.path(), going, watch))
}

/// Looks once, so much later, and drops what may go.
fn look(store: &Store, after: Duration) {
    let going = sorted(store, after).expect("sorted");
    dropped(store, &going).expect("dropped");
    store.git(&["fsck", "--full", "--strict", "--no-dangling"], "");
}

fn aging(store: &Store) -> usize {
    packs::aging(store.path()).expect("readable").len()
}

#[test]
fn they_are_looked_for_once_a_week() {
    let mut store = Store::new();
    store.history("main", 1);
    let is_time = |after| is_time(store.path(), SystemTime::now() + after).expect("readable");
    assert!(!is_time(6 * DAY));
    assert!(is_time(8 * DAY));
    look(&store, 8 * DAY);
    assert!(!is_time(14 * DAY));
    assert!(is_time(16 * DAY));
    assert!(!is_time(Duration::ZERO), "the clock was set back");
}

#[test]
fn what_nothing_reaches_goes_two_weeks_after_it_was_found() {
    let store = two_branches();
    let lost = store.git(&["rev-parse", "gone"], "");
    look(&store, 7 * DAY);
    assert_eq!(aging(&store), 0, "all is reached");
    delete(&store, "gone");
    look(&store, 14 * DAY);
    assert_eq!(aging(&store), 1);
    assert!(store.has(&lost), "nothing goes at once");
    assert!(store.has_all());
    look(&store, 21 * DAY);
    assert!(store.has(&lost));
    look(&store, 29 * DAY);
    assert!(!store.has(&lost));
    assert_eq!(aging(&store), 0);
    assert_eq!(store.leftovers(), [""; 0]);
    let listed = store.git(&["rev-list", "--all", "--objects"], "");
    assert_eq!(listed.lines().count(), 30);
}

#[test]
fn a_little_is_not_worth_it() {
    let mut store = Store::new();
    store.history("main", 10);
    store.history("gone", 9);
    delete(&store, "gone");
    let before = store.names();
    look(&store, 7 * DAY);
    assert_eq!(store.names(), before);
}

#[test]
fn what_has_only_just_come_is_left_as_it_is() {
    let store = two_branches();
    // It is there, and no ref says so yet.
    delete(&store, "gone");
    let before = store.names();
    look(&store, Duration::ZERO);
    assert_eq!(store.names(), before);
    look(&store, MIN_AGE + DAY);
    assert_eq!(aging(&store), 1);
    assert!(store.has_all());
}

#[test]
fn where_somebody_has_a_work_tree_nothing_goes() {
    let store = two_branches();
    delete(&store, "gone");
    fs::create_dir(store.path().join("worktrees")).expect("created");
    let before = store.names();
    look(&store, 7 * DAY);
    assert_eq!(store.names(), before);
}

#[test]
fn a_pack_all_of_which_is_not_reached_goes_as_any_other() {
    let mut store = Store::new();
    store.history("main", 10);
    let before = store.names();
    store.history("gone", 3);
    store.big("gone");
    let names = store.names().into_iter();
    let names: Vec<_> = names.filter(|name| !before.contains(name)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    store.together(&names);
    store.drop_replaced();
    delete(&store, "gone");
    look(&store, 7 * DAY);
    assert_eq!(store.names().len(), 2);
    assert_eq!(aging(&store), 1);
    assert!(store.has_all());
    // The same again, with what it was there already.
    look(&store, 14 * DAY);
    assert!(store.has_all());
    look(&store, 29 * DAY);
    assert_eq!(store.names(), before);
}

#[test]
fn packs_without_any_of_it_are_left_as_they_are() {
    let mut store = two_branches();
    store.history("main", 5);
    let last = store.names();
    delete(&store, "gone");
    look(&store, 7 * DAY);
    let left = store.names();
    assert!(left.iter().filter(|name| last.contains(name)).count() >= 2);
    assert!(store.has_all());
}

#[test]
fn what_is_reached_again_before_it_goes_stays() {
    let store = two_branches();
    let back = store.git(&["rev-parse", "gone"], "");
    delete(&store, "gone");
    look(&store, 7 * DAY);
    let going = sorted(&store, 22 * DAY).expect("sorted");
    assert!(!going.is_empty());
    // A sync finds it there, after the walk and before it goes.
    store.git(&["update-ref", "refs/heads/back", &back], "");
    let err = dropped(&store, &going).expect_err("it is needed");
    assert!(!err.to_string().is_empty());
    assert!(store.has_all());
    // From now on it is as any other.
    look(&store, 29 * DAY);
    assert_eq!(aging(&store), 0);
    assert!(store.has_all());
    look(&store, 60 * DAY);
    assert!(store.has_all());
}

#[test]
fn what_is_reached_by_part_again_stays_as_far_as_it_is() {
    let store = two_branches();
    let tip = store.git(&["rev-parse", "gone"], "");
    let back = store.git(&["rev-parse", "gone~1"], "");
    delete(&store, "gone");
    look(&store, 7 * DAY);
    store.git(&["update-ref", "refs/heads/back", &back], "");
    look(&store, 22 * DAY);
    assert!(!store.has(&tip));
    let listed = store.git(&["rev-list", "--all", "--objects"], "");
    assert_eq!(listed.lines().count(), 39);
}

#[test]
fn a_head_on_no_branch_reaches_as_a_branch_does() {
    let store = two_branches();
    let tip = store.git(&["rev-parse", "gone"], "");
    delete(&store, "gone");
    fs::write(store.path().join("HEAD"), format!("{tip}\n")).expect("written");
    for week in 1..5 {
        look(&store, week * 7 * DAY);
    }
    assert!(store.has_all());
}

#[test]
fn where_anything_is_missing_nothing_goes() {
    let mut store = two_branches();
    delete(&store, "gone");
    look(&store, 7 * DAY);
    let before = store.names();
    store.history("late", 2);
    let late: Vec<_> = store.names();
    let late = late.into_iter().find(|name| !before.contains(name));
    let late = late.expect("it came");
    for ending in ["idx", "pack"] {
        fs::remove_file(store.file(&format!("{late}.{ending}"))).expect("removed");
    }
    assert!(sorted(&store, 22 * DAY).is_err());
    assert_eq!(store.names(), before);
    assert!(
        !is_time(store.path(), SystemTime::now() + 23 * DAY).expect("readable"),
        "not over and over"
    );
}

#[test]
fn whoever_is_killed_in_between_has_lost_nothing() {
    let store = two_branches();
    delete(&store, "gone");
    for week in 1..3 {
        let going = sorted(&store, week * 7 * DAY).expect("sorted");
        assert!(!going.is_empty());
        // Killed before anything went.
        assert!(store.has_all());
    }
    look(&store, 15 * DAY);
    assert!(store.has_all());
    look(&store, 22 * DAY);
    look(&store, 40 * DAY);
    assert_eq!(aging(&store), 0);
    let listed = store.git(&["cat-file", "--batch-all-objects", "--batch-check"], "");
    assert_eq!(listed.lines().count(), 30);
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
        look(&store, 7 * DAY);
        look(&store, 30 * DAY);
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
    look(&store, 7 * DAY);
    look(&store, 22 * DAY);
    assert!(!store.has(&lost));
    assert!(!store.path().join("objects/info/commit-graph").exists());
    let repo = refs::open(store.path()).expect("a repository");
    let lost = ObjectId::from_hex(lost.as_bytes()).expect("hex");
    assert!(!repo.has_object(lost));
}

//! Pushes beside each other.

use tests::{On, Part};

use super::{good, race, refused};

const TEN: [&str; 10] = ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"];

#[test]
fn of_two_pushes_of_one_branch_one_wins_and_the_other_can_go_on() {
    let race = race(&["one", "two"]);
    let first = race.commit("one", "a");
    race.commit("two", "b");
    let on_its_way = race.gitlab.pause(On::Push);
    let winner = race.git("one", &["push", "-q", "origin", "main"]).start();
    on_its_way.reached();
    let loser = race.git("two", &["push", "-q", "origin", "main"]).start();
    race.world.wait_for_part(&loser, Part::Hook);
    on_its_way.release();
    good(winner);
    refused(loser, "stale info");
    assert_eq!(race.project.tip("main"), Some(first), "nothing is lost");
    race.git("two", &["pull", "-q", "--rebase"]).ok();
    race.git("two", &["push", "-q", "origin", "main"]).ok();
    assert_eq!(race.project.tip("main"), race.tip("two", "HEAD"));
    race.next_fetch_shows_upstream("one");
    race.all_is_well();
}

#[test]
fn a_forced_push_that_waited_does_not_overwrite_what_it_never_saw() {
    let race = race(&["one", "two"]);
    let first = race.commit("one", "a");
    race.commit("two", "b");
    let on_its_way = race.gitlab.pause(On::Push);
    let winner = race.git("one", &["push", "-q", "origin", "main"]).start();
    on_its_way.reached();
    let loser = race
        .git("two", &["push", "-q", "--force", "origin", "main"])
        .start();
    race.world.wait_for_part(&loser, Part::Hook);
    on_its_way.release();
    good(winner);
    refused(loser, "stale info");
    assert_eq!(race.project.tip("main"), Some(first));
    race.all_is_well();
}

#[test]
fn two_people_who_push_the_same_commit_at_once_both_hear_that_it_is_there() {
    let race = race(&["one", "two"]);
    let same = race.commit("one", "a");
    let path = race.world.path("one");
    race.git("two", &["pull", "-q", &path.to_string_lossy(), "main"])
        .ok();
    let on_its_way = race.gitlab.pause(On::Push);
    let first = race.git("one", &["push", "-q", "origin", "main"]).start();
    on_its_way.reached();
    let second = race.git("two", &["push", "-q", "origin", "main"]).start();
    race.world.wait_for_part(&second, Part::Hook);
    on_its_way.release();
    good(first);
    let second = second.wait();
    // Plain git's server says that the old value is not what it was told; both are no loss.
    assert_eq!(race.project.tip("main"), Some(same));
    assert!(
        second.status.success() || second.stderr.contains("stale info"),
        "{second}"
    );
    let again = race.git("two", &["push", "origin", "main"]).ok();
    insta::assert_snapshot!(again.shown(), @"Everything up-to-date");
    race.all_is_well();
}

#[test]
fn a_push_that_waited_for_one_which_gitlab_refuses_is_accepted() {
    let race = race(&["one", "two"]);
    let hook = "git log -1 --format=%s $3 | grep -q secret && { echo no secrets; exit 1; }; exit 0";
    race.project.hook("update", hook);
    race.commit("one", "secret");
    let second = race.commit("two", "b");
    let on_its_way = race.gitlab.pause(On::Push);
    let rejected = race.git("one", &["push", "-q", "origin", "main"]).start();
    on_its_way.reached();
    let waiting = race.git("two", &["push", "-q", "origin", "main"]).start();
    race.world.wait_for_part(&waiting, Part::Hook);
    on_its_way.release();
    refused(rejected, "hook declined");
    good(waiting);
    assert_eq!(race.project.tip("main"), Some(second));
    race.next_fetch_shows_upstream("one");
    race.all_is_well();
}

#[test]
fn pushes_of_different_branches_do_not_wait_for_each_other() {
    let race = race(&["one", "two"]);
    race.commit("one", "a");
    race.commit("two", "b");
    for (file, step) in [("c", On::PushInfoRefs), ("d", On::Push)] {
        let paused = race.gitlab.pause(step);
        let slow = race
            .git("one", &["push", "-q", "-f", "origin", "HEAD:topic"])
            .start();
        paused.reached();
        race.git("two", &["push", "-q", "origin", "HEAD:new", ":side"])
            .ok();
        race.next_fetch_shows_upstream("two");
        race.project.branch("side", "main");
        race.project.delete("new");
        paused.release();
        good(slow);
        race.next_fetch_shows_upstream("two");
        race.commit("one", file);
    }
    race.all_is_well();
}

#[test]
fn a_push_that_overlaps_another_in_one_of_its_branches_waits_and_then_is_judged_by_each() {
    let race = race(&["one", "two"]);
    let first = race.commit("one", "a");
    let second = race.commit("two", "b");
    let on_its_way = race.gitlab.pause(On::Push);
    let winner = race.git("one", &["push", "-q", "origin", "main"]).start();
    on_its_way.reached();
    let both = ["push", "-q", "origin", "main", "HEAD:new"];
    let half = race.git("two", &both).start();
    race.world.wait_for_part(&half, Part::Hook);
    on_its_way.release();
    good(winner);
    refused(half, "stale info");
    assert_eq!(race.project.tip("main"), Some(first));
    assert_eq!(
        race.project.tip("new"),
        Some(second),
        "the other is no part of the quarrel"
    );
    race.next_fetch_shows_upstream("one");
    race.all_is_well();
}

#[test]
fn ten_people_push_ten_branches_at_once_and_all_arrive() {
    let race = race(&TEN);
    let tips = TEN.map(|person| race.commit(person, person));
    let pushes = TEN.map(|person| {
        race.git(person, &["push", "-q", "origin", &format!("HEAD:{person}")])
            .start()
    });
    pushes.into_iter().for_each(|push| drop(good(push)));
    for (person, tip) in TEN.iter().zip(tips) {
        assert_eq!(race.project.tip(person), Some(tip));
    }
    race.all_is_well();
}

/// Takes long: the ten of them need up to ten rounds of pull and push.
#[test]
fn ten_people_push_one_branch_until_everything_is_in_and_nothing_is_lost() {
    let race = race(&TEN);
    TEN.iter()
        .for_each(|person| drop(race.commit(person, person)));
    let script = "for try in $(seq 40); do
            git push -q origin main && exit 0
            git pull -q --rebase || exit 2
        done; exit 3";
    let loops = TEN.map(|person| race.world.program("sh", ["-c", script]).at(person).start());
    loops.into_iter().for_each(|done| drop(good(done)));
    let files = race.project.git(["ls-tree", "--name-only", "main"]).ok();
    for person in TEN {
        assert!(files.stdout.lines().any(|file| file == person), "{files}");
    }
    let count = race.project.git(["rev-list", "--count", "main"]).ok();
    assert_eq!(count.line(), "15", "each commit is in once");
    race.all_is_well();
}

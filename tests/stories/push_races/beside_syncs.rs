//! Pushes beside fetches, and beside people who use GitLab directly.

use std::fs;

use tests::{GitLab, On, Paused};

use super::{good, race};

/// A push that creates, moves and deletes.
const THREE: [&str; 6] = ["push", "-q", "origin", "HEAD:new", "main", ":topic"];

#[test]
fn a_fetch_that_asked_before_a_push_and_ends_after_it_undoes_nothing() {
    let race = race(&["pusher", "fetcher"]);
    race.commit("pusher", "a");
    let at_upstream = race.gitlab.pause(On::PushInfoRefs);
    let push = race.git("pusher", &THREE).start();
    at_upstream.reached();
    let old_answer = race.gitlab.pause_answer(On::LsRefs);
    let fetch = race.git("fetcher", &["fetch", "-q"]).start();
    old_answer.reached();
    at_upstream.release();
    good(push);
    old_answer.release();
    good(fetch);
    race.next_fetch_shows_upstream("fetcher");
    assert_eq!(race.project.tip("topic"), None);
    race.all_is_well();
}

#[test]
fn a_fetch_that_asks_before_a_push_and_is_answered_after_it_shows_it() {
    let race = race(&["pusher", "fetcher"]);
    let pushed = race.commit("pusher", "a");
    let at_upstream = race.gitlab.pause(On::PushInfoRefs);
    let push = race.git("pusher", &THREE).start();
    at_upstream.reached();
    let question = race.gitlab.pause(On::LsRefs);
    let fetch = race.git("fetcher", &["fetch", "-q", "--prune"]).start();
    question.reached();
    at_upstream.release();
    good(push);
    question.release();
    good(fetch);
    let fetched_tip = race.tip("fetcher", "refs/remotes/origin/main");
    assert_eq!(
        fetched_tip,
        Some(pushed),
        "upstream had it when it answered"
    );
    race.next_fetch_shows_upstream("fetcher");
    race.all_is_well();
}

#[test]
fn a_download_that_spans_a_whole_push_undoes_nothing() {
    let race = race(&["pusher", "fetcher"]);
    race.commit("pusher", "a");
    let at_upstream = race.gitlab.pause(On::PushInfoRefs);
    let push = race.git("pusher", &THREE).start();
    at_upstream.reached();
    race.project.commit("side", "by", "somebody else");
    let download = race.gitlab.pause_answer(On::Fetch);
    let fetch = race.git("fetcher", &["fetch", "-q"]).start();
    download.reached();
    at_upstream.release();
    good(push);
    download.release();
    good(fetch);
    race.next_fetch_shows_upstream("fetcher");
    race.all_is_well();
}

#[test]
fn a_push_whose_sync_lies_wholly_inside_another_push_is_settled_too() {
    let race = race(&["one", "two"]);
    race.commit("one", "a");
    let accepted = race.gitlab.pause_answer(On::Push);
    let first = race
        .git("one", &["push", "-q", "origin", "HEAD:topic", "--force"])
        .start();
    accepted.reached();
    // It sees the first as upstream has it, and so does its sync.
    race.git("two", &["fetch", "-q"]).ok();
    let fetched_tip = race.tip("two", "refs/remotes/origin/topic");
    assert_eq!(fetched_tip, race.project.tip("topic"));
    accepted.release();
    good(first);
    race.next_fetch_shows_upstream("two");
    race.all_is_well();
}

#[test]
fn a_commit_on_top_of_a_push_is_not_rolled_back_when_that_push_is_settled() {
    let race = race(&["pusher", "fetcher"]);
    race.commit("pusher", "a");
    let accepted = race.gitlab.pause_answer(On::Push);
    let push = race
        .git("pusher", &["push", "-q", "origin", "main"])
        .start();
    accepted.reached();
    let newest = race.project.commit("main", "b", "by somebody else");
    accepted.release();
    good(push);
    race.next_fetch_shows_upstream("fetcher");
    let fetched_tip = race.tip("fetcher", "refs/remotes/origin/main");
    assert_eq!(fetched_tip, Some(newest));
    race.all_is_well();
}

#[test]
fn a_state_that_a_fetch_has_shown_is_not_rolled_back_by_a_push_that_is_settled_later() {
    let race = race(&["pusher", "fetcher"]);
    race.commit("pusher", "a");
    let accepted = race.gitlab.pause_answer(On::Push);
    let push = race.git("pusher", &THREE).start();
    accepted.reached();
    race.project.commit("main", "b", "by somebody else");
    race.project.branch("topic", "main");
    race.project.delete("new");
    race.next_fetch_shows_upstream("fetcher");
    race.gitlab.forget_requests();
    accepted.release();
    good(push);
    let stale = race.world.git(["for-each-ref", "refs/heads"]);
    let mirror = stale.env("GIT_DIR", race.world.only_mirror()).ok();
    let upstream = race.project.git(["for-each-ref", "refs/heads"]).ok();
    assert_eq!(
        mirror.stdout, upstream.stdout,
        "the mirror keeps the last word"
    );
    race.next_fetch_shows_upstream("fetcher");
    race.all_is_well();
}

#[test]
fn a_branch_that_is_reset_to_its_old_value_is_shown_as_upstream_has_it() {
    let race = race(&["pusher", "fetcher"]);
    let old = race.project.tip("main").expect("it has a history");
    race.commit("pusher", "a");
    let push = ["push", "-q", "origin", "main"];
    // Right after it was accepted, and when all is said and done.
    let accepted = race.gitlab.pause_answer(On::Push);
    let pushing = race.git("pusher", &push).start();
    accepted.reached();
    race.project.force("main", &old);
    accepted.release();
    good(pushing);
    race.next_fetch_shows_upstream("fetcher");
    race.git("pusher", &push).ok();
    race.project.force("main", &old);
    race.next_fetch_shows_upstream("fetcher");
    race.next_fetch_shows_upstream("pusher");
    // And once more there and back, without a fetch in between.
    race.git("pusher", &push).ok();
    assert_eq!(race.project.tip("main"), race.tip("pusher", "main"));
    race.next_fetch_shows_upstream("fetcher");
    race.all_is_well();
}

#[test]
fn a_branch_that_is_deleted_and_made_again_is_there() {
    let race = race(&["pusher", "fetcher"]);
    let old = race.project.tip("topic").expect("it is there");
    let accepted = race.gitlab.pause_answer(On::Push);
    let push = race
        .git("pusher", &["push", "-q", "origin", ":topic"])
        .start();
    accepted.reached();
    race.project.branch("topic", &old);
    accepted.release();
    good(push);
    race.next_fetch_shows_upstream("fetcher");
    race.git("pusher", &["push", "-q", "origin", ":topic"]).ok();
    race.git("fetcher", &["push", "-q", "origin", "main:topic"])
        .ok();
    race.next_fetch_shows_upstream("pusher");
    race.git("fetcher", &["push", "-q", "origin", ":topic"])
        .ok();
    race.git(
        "fetcher",
        &["push", "-q", "origin", &format!("{old}:refs/heads/topic")],
    )
    .ok();
    race.next_fetch_shows_upstream("pusher");
    race.all_is_well();
}

#[test]
fn a_branch_that_somebody_moves_while_a_push_is_on_its_way_is_never_overwritten() {
    let race = race(&["pusher", "fetcher"]);
    race.commit("pusher", "a");
    for force in ["--no-force", "--force"] {
        let moments = [
            (GitLab::pause as fn(&GitLab, On) -> Paused, On::PushInfoRefs),
            (GitLab::pause_answer, On::PushInfoRefs),
            (GitLab::pause, On::Push),
        ];
        for (pause, step) in moments {
            if step == On::PushInfoRefs {
                race.world.forget_advertisement();
            }
            let paused = pause(&race.gitlab, step);
            let push = ["push", "-q", force, "origin", "HEAD:side"];
            let push = race.git("pusher", &push).start();
            paused.reached();
            let theirs = race.project.commit("side", "by", "somebody else");
            paused.release();
            let ran = push.wait();
            assert_eq!(ran.status.code(), Some(1), "{ran}");
            assert!(!ran.stderr.contains("may have"), "upstream answered: {ran}");
            assert_eq!(race.project.tip("side"), Some(theirs), "{ran}");
            race.next_fetch_shows_upstream("fetcher");
            race.project.force("side", "main~1");
            race.next_fetch_shows_upstream("fetcher");
        }
    }
    race.all_is_well();
}

#[test]
fn a_slow_push_holds_up_no_fetch_and_no_clone() {
    let race = race(&["pusher", "fetcher"]);
    race.commit("pusher", "a");
    let moments = [
        ("b", GitLab::pause as fn(&GitLab, On) -> Paused),
        ("c", GitLab::pause_answer),
    ];
    for (file, pause) in moments {
        let paused = pause(&race.gitlab, On::Push);
        race.commit("pusher", file);
        let push = race
            .git("pusher", &["push", "-q", "origin", "main"])
            .start();
        paused.reached();
        race.next_fetch_shows_upstream("fetcher");
        race.project.commit("side", "by", "somebody else");
        race.next_fetch_shows_upstream("fetcher");
        race.git("pusher", &["fetch", "-q"]).ok();
        let clone = race.world.clone_mirror(&race.url, "late");
        clone.ok();
        fs::remove_dir_all(race.world.path("late")).expect("it was just made");
        paused.release();
        good(push);
        race.next_fetch_shows_upstream("fetcher");
    }
    race.all_is_well();
}

//! Answers that upstream was not asked for: silent while they are young, else with their age, and only for who has read
//! it before. Nobody waits: a mirror is made old by what it notes of its last sync, while no daemon runs.

mod logins;

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tests::{Fault, On, Run, shown};

use crate::{named::small, stage::Stage};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// A mirror called `work` with a clone called `ours`.
#[track_caller]
fn stage(options: &[&str]) -> Stage {
    let stage = Stage::new(small);
    stage.add("work", options).ok();
    stage.clone("work", "ours").ok();
    stage
}

impl Stage {
    /// Notes in the mirror that it was last in step so many seconds ago. Ends the daemon.
    #[track_caller]
    fn age(&self, seconds: u64) {
        self.note(SystemTime::now() - Duration::from_secs(seconds));
    }

    #[track_caller]
    fn note(&self, time: SystemTime) {
        self.mirrord(&["stop"]).ok();
        let since = time.duration_since(UNIX_EPOCH).expect("after 1970");
        let note = self.world.only_mirror().join("synced");
        fs::write(note, format!("{}\n", since.as_secs())).expect("the mirror is ours");
    }

    /// Runs a command that asks upstream nothing and succeeds, and returns what it prints on stderr, as a person reads it.
    #[track_caller]
    fn unasked(&self, run: Run) -> String {
        self.gitlab.forget_requests();
        let ran = run.ok();
        let requests = self.gitlab.requests();
        assert!(requests.is_empty(), "nobody is asked: {requests:?}");
        ran.stderr
    }

    /// Asserts that a command succeeds, in silence, and asks upstream nothing.
    #[track_caller]
    fn silent(&self, run: Run) {
        assert_eq!(self.unasked(run), "");
    }

    /// Asserts that a command succeeds, and says that there was trouble until now.
    #[track_caller]
    fn is_told_that_it_is_over(&self, run: Run) {
        let ran = run.ok();
        let over = "warning: in step again after ";
        assert!(ran.stderr.starts_with(over), "{ran}");
    }

    /// Asserts that a command succeeds, in silence, and asks upstream.
    #[track_caller]
    fn asks(&self, run: Run) {
        self.gitlab.forget_requests();
        let ran = run.ok();
        assert_eq!(ran.stderr, "", "silent: {ran}");
        assert!(!self.gitlab.requests().is_empty(), "upstream is asked");
    }

    #[track_caller]
    fn has(&self, dir: &str, tip: Option<String>) {
        assert_eq!(Some(self.rev_parse(dir, "origin/main")), tip);
    }
}

#[test]
fn every_fetch_asks_unless_it_is_told_otherwise() {
    let stage = stage(&[]);
    for _ in 0..3 {
        stage.asks(stage.fetch("ours"));
    }
}

#[test]
fn without_sync_on_fetch_a_fetch_and_a_clone_are_silent_and_do_not_ask_upstream() {
    let stage = stage(&["--sync-on-fetch", "no"]);
    let old = stage.project.tip("main");
    stage.project.commit("main", "new", "new");
    stage.silent(stage.fetch("ours"));
    stage.silent(stage.clone("work", "again"));
    for dir in ["ours", "again"] {
        stage.has(dir, old.clone());
    }
    stage.gitlab.stop();
    stage.silent(stage.fetch("ours"));
}

#[test]
fn mirrord_sync_brings_what_a_fetch_without_asking_does_not() {
    let stage = stage(&["--sync-on-fetch", "no", "--fresh-for", "1d"]);
    stage.project.commit("main", "new", "new");
    stage.gitlab.forget_requests();
    let synced = stage.mirrord(&["sync", "work"]).ok();
    assert_eq!(synced.stdout, "work: 1 ref changed\n");
    stage.silent(stage.fetch("ours"));
    stage.has("ours", stage.project.tip("main"));
    stage.project.commit("main", "new", "newer");
    stage.mirrord(&["sync", "--all"]).ok();
    stage.silent(stage.fetch("ours"));
    stage.has("ours", stage.project.tip("main"));
}

#[test]
fn within_fresh_for_upstream_is_not_asked_and_after_it_upstream_is_asked() {
    let stage = stage(&["--fresh-for", "2h"]);
    let old = stage.project.tip("main");
    stage.project.commit("main", "new", "new");
    stage.silent(stage.fetch("ours"));
    stage.age(HOUR);
    stage.silent(stage.fetch("ours"));
    stage.has("ours", old);
    stage.age(3 * HOUR);
    stage.asks(stage.fetch("ours"));
    stage.has("ours", stage.project.tip("main"));
    stage.project.commit("main", "new", "newer");
    stage.silent(stage.fetch("ours"));
}

#[test]
fn after_a_day_an_answer_that_was_not_checked_says_its_age() {
    for options in [["--sync-on-fetch", "no"], ["--fresh-for", "10d"]] {
        let stage = stage(&options);
        let old = |run| {
            assert_eq!(
                stage.unasked(run),
                "warning: serving the copy synced 2 days ago\n"
            );
        };
        stage.age(23 * HOUR);
        stage.silent(stage.fetch("ours"));
        stage.age(2 * DAY);
        for _ in 0..2 {
            old(stage.fetch("ours"));
        }
        old(stage.clone("work", "again"));
        stage.mirrord(&["sync", "work"]).ok();
        stage.silent(stage.fetch("ours"));
    }
}

#[test]
fn remind_after_sets_when_the_age_is_printed() {
    let stage = stage(&["--sync-on-fetch", "no"]);
    stage.mirrord(&["config", "remind-after", "3d"]).ok();
    stage.age(2 * DAY);
    stage.silent(stage.fetch("ours"));
    stage.age(4 * DAY);
    insta::assert_snapshot!(stage.unasked(stage.fetch("ours")), @"warning: serving the copy synced 4 days ago");
    stage.mirrord(&["config", "remind-after", "1h"]).ok();
    stage.age(2 * HOUR);
    insta::assert_snapshot!(stage.unasked(stage.fetch("ours")), @"warning: serving the copy synced 2 hours ago");
}

#[test]
fn an_answer_of_the_future_is_of_unknown_age() {
    let stage = stage(&["--sync-on-fetch", "no"]);
    stage.note(SystemTime::now() + Duration::from_secs(2 * DAY));
    insta::assert_snapshot!(stage.unasked(stage.fetch("ours")), @"warning: serving the copy of unknown age");
    stage
        .mirrord(&["set", "work", "--sync-on-fetch", "yes", "--fresh-for", "1d"])
        .ok();
    stage.asks(stage.fetch("ours"));
}

#[test]
fn after_a_sync_that_failed_an_answer_is_not_silent() {
    for options in [["--sync-on-fetch", "no"], ["--fresh-for", "1h"]] {
        let stage = stage(&options);
        stage.gitlab.stop();
        stage.mirrord(&["sync", "work"]).fails();
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown(&stage.unasked(stage.fetch("ours"))), @"warning: serving the copy synced [time] ago: cannot reach 'http://gitlab.example/group/project.git': connection refused");
        }
        stage.gitlab.start();
        stage.mirrord(&["sync", "work"]).ok();
        stage.is_told_that_it_is_over(stage.fetch("ours"));
        stage.silent(stage.fetch("ours"));
    }
}

#[test]
fn a_sync_that_failed_is_not_forgotten_with_the_daemon() {
    let stage = stage(&["--sync-on-fetch", "no"]);
    stage.gitlab.stop();
    stage.mirrord(&["sync", "work"]).fails();
    for kill in [false, true] {
        match kill {
            false => drop(stage.mirrord(&["stop"]).ok()),
            true => stage.world.kill_daemon(),
        }
        let ran = stage.fetch("ours").ok();
        insta::allow_duplicates! {
            insta::assert_snapshot!(ran.shown(), @"warning: serving the copy synced [time] ago: cannot reach 'http://gitlab.example/group/project.git': connection refused");
        }
    }
    stage.gitlab.start();
    stage.mirrord(&["sync", "work"]).ok();
    stage.mirrord(&["stop"]).ok();
    stage.is_told_that_it_is_over(stage.fetch("ours"));
    stage.silent(stage.fetch("ours"));
}

#[test]
fn a_sync_of_an_upstream_that_looks_wiped_does_not_count_as_a_success() {
    let stage = stage(&["--sync-on-fetch", "no"]);
    for (name, _) in stage.project.refs() {
        stage.project.delete(&name);
    }
    stage.mirrord(&["sync", "work"]).fails();
    insta::assert_snapshot!(shown(&stage.unasked(stage.fetch("ours"))), @"warning: serving the copy synced [time] ago: 'http://gitlab.example/group/project.git' looks wiped: upstream has no refs any more, and had 3: the mirror keeps what it has; 'mirrord accept work' takes upstream as it is now");
    stage.mirrord(&["accept", "work"]).ok();
    stage.silent(stage.fetch("ours"));
}

#[test]
fn a_fetch_of_a_mirror_that_was_never_in_step_asks_upstream() {
    let quiet = ["--sync-on-fetch", "no", "--fresh-for", "10d"];
    for options in [&["--no-sync"][..], &["--no-test", "--no-sync"]] {
        let stage = Stage::new(small);
        stage.add("work", &[&quiet, options].concat()).ok();
        stage.asks(stage.clone("work", "ours"));
        stage.has("ours", stage.project.tip("main"));
        stage.silent(stage.fetch("ours"));
    }
}

#[test]
fn a_fetch_of_a_mirror_whose_time_of_sync_is_lost_or_torn_asks_upstream() {
    let stage = stage(&["--sync-on-fetch", "no"]);
    let note = stage.world.only_mirror().join("synced");
    for torn in [None, Some(""), Some("12 o'clock\n"), Some("-1\n")] {
        stage.mirrord(&["stop"]).ok();
        match torn {
            None => fs::remove_file(&note),
            Some(text) => fs::write(&note, text),
        }
        .expect("the mirror is ours");
        stage.asks(stage.fetch("ours"));
    }
}

#[test]
fn a_push_asks_upstream_however_fresh_the_mirror_is() {
    let stage = stage(&["--sync-on-fetch", "no", "--fresh-for", "10d"]);
    let theirs = stage.project.commit("main", "theirs", "theirs");
    stage.commit("ours", "mine");
    let ran = stage.push("ours", &["main"]).code(1);
    insta::assert_snapshot!(ran.shown(), @"
    To mirror::work
     ! [rejected]        main -> main (fetch first)
    error: failed to push some refs to 'mirror::work'
    hint: Updates were rejected because the remote contains work that you do not
    hint: have locally. This is usually caused by another repository pushing to
    hint: the same ref. If you want to integrate the remote changes, use
    hint: 'git pull' before pushing again.
    hint: See the 'Note about fast-forwards' in 'git push --help' for details.
    ");
    assert_eq!(stage.project.tip("main"), Some(theirs.clone()));
    // Whoever was refused for what upstream has can fetch it.
    stage.silent(stage.fetch("ours"));
    stage.has("ours", Some(theirs));
    stage
        .world
        .git(["rebase", "-q", "origin/main"])
        .at("ours")
        .ok();
    stage.push("ours", &["main"]).ok();
    stage.silent(stage.clone("work", "again"));
    assert_eq!(
        stage.project.tip("main"),
        Some(stage.rev_parse("again", "HEAD"))
    );
}

#[test]
fn a_push_that_a_sync_ran_beside_is_seen_by_the_next_fetch() {
    let stage = stage(&["--sync-on-fetch", "no"]);
    let mine = stage.commit("ours", "mine");
    let paused = stage.gitlab.pause(On::PushInfoRefs);
    let push = stage.push("ours", &["main"]).start();
    paused.reached();
    stage.mirrord(&["sync", "work"]).ok();
    paused.release();
    let ran = push.wait();
    assert!(ran.status.success(), "{ran}");
    assert_eq!(stage.project.tip("main").as_deref(), Some(&*mine));
    stage.clone("work", "again").ok();
    assert_eq!(
        stage.rev_parse("again", "HEAD"),
        mine,
        "what was said ok is served"
    );
}

#[test]
fn a_newly_tracked_branch_is_not_missing_from_a_fresh_answer() {
    let stage = stage(&["--fresh-for", "1d", "--track", "+refs/heads/main"]);
    let track = [
        "--track",
        "+refs/heads/main",
        "--track",
        "+refs/heads/topic",
    ];
    stage.mirrord(&[&["set", "work"][..], &track].concat()).ok();
    stage.fetch("ours").ok();
    let topic = stage.rev_parse("ours", "origin/topic");
    assert_eq!(Some(topic), stage.project.tip("topic"));
}

#[test]
fn the_settings_can_be_changed_back() {
    let stage = stage(&["--sync-on-fetch", "no"]);
    stage.silent(stage.fetch("ours"));
    stage
        .mirrord(&["set", "work", "--sync-on-fetch", "yes"])
        .ok();
    stage.asks(stage.fetch("ours"));
    stage.mirrord(&["set", "work", "--fresh-for", "1h"]).ok();
    stage.silent(stage.fetch("ours"));
    stage.mirrord(&["set", "work", "--fresh-for", "0s"]).ok();
    stage.asks(stage.fetch("ours"));
}

#[test]
fn mirror_stale_does_not_make_a_fresh_answer_stale() {
    let stage = stage(&["--sync-on-fetch", "no", "--stale", "fail"]);
    for stale in ["", "fail", "serve"] {
        stage.silent(stage.fetch("ours").env("MIRROR_STALE", stale));
    }
}

#[test]
fn after_fresh_for_the_settings_and_mirror_stale_decide_what_is_served() {
    let stage = stage(&["--fresh-for", "1h", "--stale", "fail"]);
    stage.age(2 * HOUR);
    stage.gitlab.fault(Fault::status(503));
    let ran = stage.fetch("ours").code(128);
    insta::assert_snapshot!(ran.shown(), @"error: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503");
    let ran = stage.fetch("ours").env("MIRROR_STALE", "serve").ok();
    insta::assert_snapshot!(ran.shown(), @"
    warning: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503
    hint: serving the copy synced [time] ago
    ");
    stage.mirrord(&["set", "work", "--stale", "serve"]).ok();
    let ran = stage.fetch("ours").ok();
    insta::assert_snapshot!(ran.shown(), @"
    warning: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503
    hint: serving the copy synced [time] ago
    ");
    stage.fetch("ours").env("MIRROR_STALE", "fail").code(128);
}

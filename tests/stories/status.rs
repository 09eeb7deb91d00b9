//! `mirrord status` and `mirrord why`: how fresh each mirror is, what it does about it, and what decides that.

use std::fs;

use rustix::process::Signal;
use tests::{Fault, On};

use crate::{named::small, stage::Stage};

impl Stage {
    /// The line of a mirror in `mirrord status`.
    #[track_caller]
    fn state(&self, name: &str) -> String {
        let status = self.mirrord(&["status"]).ok();
        let line = status
            .stdout
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}  ")));
        line.unwrap_or_else(|| panic!("nothing of '{name}' in {status}"))
            .to_owned()
    }

    /// The output of `mirrord why`, on one line.
    #[track_caller]
    fn why(&self, name: &str) -> String {
        let why = self.mirrord(&["why", name]).ok().stdout;
        why.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_mirror_says_how_fresh_it_is_when_it_goes_next_and_what_it_holds() {
    let stage = Stage::new(small);
    stage.add_with_local();
    let state = stage.state("work");
    assert!(
        state.starts_with("in step ") && state.contains(" ago; next sync in "),
        "{state}"
    );
    assert!(
        state.contains(" minutes; ") && state.contains(", 1 ref of its own; saved "),
        "{state}"
    );
    let status = stage.mirrord(&["status"]).ok().stdout;
    for line in ["webhook: off\n", "mirrors: 1 in ", "socket:  "] {
        assert!(status.contains(line), "{status}");
    }
    let json = stage.mirrord(&["status", "--json"]).ok().stdout;
    for line in [
        "\"webhook\": null",
        "\"behind_since\": null,",
        "\"next_sync_why\": \"interval\"",
        "\"local_refs\": 1,",
        "\"progress\": null,",
    ] {
        assert!(json.contains(line), "'{line}' in {json}");
    }
    stage.mirrord(&["set", "work", "--every", "never"]).ok();
    let state = stage.state("work");
    assert!(
        state.contains("; next sync when somebody asks; "),
        "{state}"
    );
}

#[test]
fn the_line_of_a_mirror_that_is_behind_has_since_when_why_and_the_next_try() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.gitlab.stop();
    stage.mirrord(&["sync", "work"]).code(1);
    let state = stage.state("work");
    assert!(
        state.starts_with("behind since ") && state.contains(": cannot reach 'http://127.0.0.1:"),
        "{state}"
    );
    assert!(
        state.contains(": connection refused; next try in "),
        "{state}"
    );
    // It is not younger for having failed again, or for another daemon.
    stage.mirrord(&["stop"]).ok();
    let failing = stage.world.only_mirror().join("failing");
    let recorded = fs::read_to_string(&failing).expect("noted");
    let (message, _) = recorded.split_once('\n').expect("two lines");
    fs::write(&failing, format!("{message}\n1000000000\n")).expect("the mirror is ours");
    stage.mirrord(&["sync", "work"]).code(1);
    let state = stage.state("work");
    assert!(
        state.contains("000 days: cannot reach") || state.contains(" days: cannot reach"),
        "{state}"
    );
    let why = stage.why("work");
    for text in [
        "now: behind since ",
        "it was last in step (",
        "next try in ",
        "'mirrord sync work' tries now",
        "upstream down: a fetch is served from here",
    ] {
        assert!(why.contains(text), "'{text}' in {why}");
    }
    stage.gitlab.start();
    stage.mirrord(&["sync", "work"]).ok();
    let state = stage.state("work");
    assert!(state.starts_with("in step "), "{state}");
}

#[test]
fn the_first_fetch_after_trouble_says_one_line_about_it() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.clone("work", "ours").ok();
    stage.gitlab.stop();
    stage.mirrord(&["sync", "work"]).code(1);
    stage.mirrord(&["stop"]).ok();
    stage.gitlab.start();
    // Nobody fetches here, so nobody is told.
    stage.mirrord(&["sync", "work"]).ok();
    stage.mirrord(&["stop"]).ok();
    let fetched = stage.fetch("ours").ok();
    assert_eq!(fetched.stderr.lines().count(), 1, "{fetched}");
    assert!(
        fetched.stderr.starts_with("warning: in step again after ")
            && fetched.stderr.ends_with(": connection refused\n"),
        "{fetched}"
    );
    assert_eq!(stage.fetch("ours").ok().stderr, "");
    // One that is served without asking tells it as well.
    stage.gitlab.stop();
    stage.mirrord(&["sync", "work"]).code(1);
    stage.gitlab.start();
    stage.mirrord(&["sync", "work"]).ok();
    stage.mirrord(&["set", "work", "--fresh-for", "1h"]).ok();
    let fetched = stage.fetch("ours").ok();
    assert!(fetched.stderr.contains("in step again"), "{fetched}");
    assert_eq!(stage.fetch("ours").ok().stderr, "");
}

#[test]
fn a_running_sync_is_seen_while_it_runs() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let paused = stage.gitlab.pause_answer(On::LsRefs);
    let syncing = stage.mirrord(&["sync", "work"]).start();
    paused.reached();
    while !stage.state("work").starts_with("syncing: no answer from ") {}
    let why = stage.why("work");
    assert!(why.contains("now: syncing"), "{why}");
    paused.release();
    syncing.wait();
    assert!(stage.state("work").starts_with("in step "));
}

#[test]
fn status_is_watched_until_it_is_interrupted() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let watching = stage.mirrord(&["status", "--watch"]).start();
    watching.printed("work  in step ");
    stage.gitlab.stop();
    stage.mirrord(&["sync", "work"]).code(1);
    watching.printed("work  behind since ");
    stage.mirrord(&["stop"]).ok();
    watching.printed("mirrord does not run");
    watching.kill(Signal::INT);
    watching.wait();
    let scripted = stage.mirrord(&["status", "--watch", "--json"]).start();
    scripted.printed("{\"running\":false}\n");
    stage.mirrord(&["list"]).ok();
    scripted.printed("\"states\":[{");
    scripted.kill(Signal::INT);
    scripted.wait();
}

#[test]
fn why_says_what_decides_and_what_would_change_it() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    let table = [
        (
            "every",
            "1h",
            "nobody asking: next sync in ",
            "--every 10m' goes more often",
        ),
        (
            "sync-on-fetch",
            "no",
            "served from here without asking: sync-on-fetch is 'no'",
            "--sync-on-fetch yes'",
        ),
        (
            "fresh-for",
            "1h",
            "served from here without asking: fresh-for is '1h'",
            "--fresh-for 0s'",
        ),
        (
            "stale",
            "fail",
            "a fetch fails: stale is 'fail'",
            "--stale serve'",
        ),
        (
            "every",
            "never",
            "next sync when somebody asks: every is 'never'",
            "--every 1h'",
        ),
        (
            "track",
            "+refs/heads/main",
            "asks upstream, however fresh the mirror is",
            "",
        ),
    ];
    let why = stage.why("work");
    assert!(
        why.contains("a fetch: asks upstream first: sync-on-fetch is 'yes', fresh-for is '0s'"),
        "{why}"
    );
    for (key, value, text, change) in table {
        stage
            .mirrord(&["set", "work", &format!("--{key}={value}")])
            .ok();
        let why = stage.why("work");
        assert!(why.contains(text) && why.contains(change), "{key}: {why}");
    }
    let json = stage.mirrord(&["why", "work", "--json"]).ok().stdout;
    assert!(json.contains("\"about\": \"a fetch\""), "{json}");
    let unknown = stage.mirrord(&["why", "nothing"]).code(1);
    assert!(
        unknown.stderr.contains("no mirror is called 'nothing'"),
        "{unknown}"
    );
}

#[test]
fn why_says_that_somebody_is_needed_and_for_what() {
    let private = Stage::private();
    private.add_with_password("project", "right").ok();
    private.gitlab.revoke("me");
    private.look_at("project").code(128);
    private.world.mirrord(["sync", "project"]).code(1);
    let why = private.world.mirrord(["why", "project"]).ok().stdout;
    for text in [
        "needs you: Authentication failed",
        "mirrord set project",
        "not before its login is mended",
    ] {
        assert!(why.contains(text), "{why}");
    }
}

#[test]
fn why_says_that_upstream_refuses_it() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.gitlab.fault(Fault::status(403));
    stage.mirrord(&["sync", "work"]).code(1);
    let why = stage.why("work");
    assert!(
        why.contains("upstream refuses it") && why.contains("'mirrord test work'"),
        "{why}"
    );
}

#[test]
fn a_first_clone_is_seen_with_how_far_it_is() {
    let stage = Stage::new(small);
    let mut seed = 7_u64;
    let mut noise = String::new();
    while noise.len() < 200_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{:016x}", seed ^ (seed >> 29)));
    }
    stage.project.commit("main", "noise", &noise);
    stage.gitlab.fault(Fault::rate_limit(20_000).on(On::Fetch));
    let address = format!("mirror::{}", stage.url);
    let clone = stage.world.git(["clone", "-q", &address, "ours"]).start();
    let wait_for = |command: &[&str], has: &str| {
        loop {
            // Where the clone has not started the daemon yet, status fails.
            let output = stage.mirrord(command).run().stdout;
            if output.contains(has) {
                return output;
            }
            assert!(!clone.has_ended(), "{command:?} never shows '{has}'");
        }
    };
    let far = "first clone: receiving objects, ";
    let status = wait_for(&["status"], far);
    let line = status.lines().find(|line| line.contains(far));
    assert!(
        line.is_some_and(|line| line.contains(&stage.url)),
        "{status}"
    );
    let list = wait_for(&["list"], far);
    assert!(list.contains(&stage.url), "{list}");
    for command in ["status", "list"] {
        let json = wait_for(&[command, "--json"], "\"received_bytes\": ");
        for field in ["\"first_clone\": {", "\"done\": ", "\"total\": "] {
            assert!(json.contains(field), "'{field}' in {json}");
        }
    }
    let ended = clone.wait();
    assert!(ended.status.success(), "{ended}");
    for command in ["status", "list"] {
        let output = stage.mirrord(&[command]).ok().stdout;
        assert!(!output.contains("first clone"), "{output}");
        assert!(output.contains("in step"), "{output}");
    }
}

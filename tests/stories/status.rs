//! `mirrord status`: how fresh each mirror is, and what it does about it.

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
}

/// What `mirrord status` prints, without what differs from run to run.
#[track_caller]
fn status(stage: &Stage) -> String {
    stage.mirrord_shows(&["status"])
}

#[test]
fn a_mirror_says_how_fresh_it_is_when_it_goes_next_and_what_it_holds() {
    let stage = Stage::new(small);
    stage.add_with_local();
    insta::assert_snapshot!(status(&stage), @"
    mirrord 0.1.0 runs as process [pid] for [time]
    socket:  /world/m/socket
    webhook: off
    mirrors: 1 in /world/m/mirrors
    clients: 0, 0 of them waiting for a sync
    disk:    [size] of [size]
    saved:   [size] in 1 clone and 0 fetches

    work  in step [time] ago; next sync in [time]; [size], 1 ref of its own; saved [size]
    ");
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
    insta::assert_snapshot!(status(&stage), @"
    mirrord 0.1.0 runs as process [pid] for [time]
    socket:  /world/m/socket
    webhook: off
    mirrors: 1 in /world/m/mirrors
    clients: 0, 0 of them waiting for a sync
    disk:    [size] of [size]
    saved:   [size] in 1 clone and 0 fetches

    work  in step [time] ago; next sync when somebody asks; [size], 1 ref of its own; saved [size]
    ");
}

#[test]
fn the_line_of_a_mirror_that_is_behind_has_since_when_why_and_the_next_try() {
    let stage = Stage::new(small);
    stage.add("work", &[]).ok();
    stage.gitlab.stop();
    stage.mirrord(&["sync", "work"]).code(1);
    insta::assert_snapshot!(status(&stage), @"
    mirrord 0.1.0 runs as process [pid] for [time]
    socket:  /world/m/socket
    webhook: off
    mirrors: 1 in /world/m/mirrors
    clients: 0, 0 of them waiting for a sync
    disk:    [size] of [size]

    work  behind since [time]: cannot reach 'http://gitlab.example/group/project.git': connection refused; next try in [time]; [size]
    ");
    // It is not younger for having failed again, or for another daemon.
    stage.mirrord(&["stop"]).ok();
    let failing = stage.world.only_mirror().join("failing");
    let recorded = fs::read_to_string(&failing).expect("noted");
    let (message, _) = recorded.split_once('\n').expect("two lines");
    fs::write(&failing, format!("{message}\n1000000000\n")).expect("the mirror is ours");
    stage.mirrord(&["sync", "work"]).code(1);
    let state = stage.state("work");
    assert!(state.contains(" days: cannot reach"), "{state}");
    insta::assert_snapshot!(stage.why("work"), @"
    work
      now: behind since [days]: cannot reach 'http://gitlab.example/group/project.git': connection refused; it was last in step ([date])
        'mirrord sync work' brings it in step now
      a fetch: asks upstream first: sync-on-fetch is 'yes', fresh-for is '[time]'
        'mirrord set work --fresh-for 10m' lets an answer be ten minutes old, --sync-on-fetch no any age
      upstream down: a fetch is served from here, and says how old that is: stale is 'serve'
        'mirrord set work --stale fail' lets it fail; MIRROR_STALE=fail does for one command
      nobody asking: next try in [time]: it waits longer after each failure, up to a quarter of an hour, or as long as upstream asks
        'mirrord sync work' tries now
      on disk: [size], last used [time] ago; it stays until it is removed
        'mirrord remove work' removes it
    ");
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
    insta::assert_snapshot!(fetched.shown(), @"warning: in step again after [time]: cannot reach 'http://gitlab.example/group/project.git': connection refused");
    assert_eq!(stage.fetch("ours").ok().stderr, "");
    // One that is served without asking tells it as well.
    stage.gitlab.stop();
    stage.mirrord(&["sync", "work"]).code(1);
    stage.gitlab.start();
    stage.mirrord(&["sync", "work"]).ok();
    stage.mirrord(&["set", "work", "--fresh-for", "1h"]).ok();
    let fetched = stage.fetch("ours").ok();
    insta::assert_snapshot!(fetched.shown(), @"warning: in step again after [time]: cannot reach 'http://gitlab.example/group/project.git': connection refused");
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
    insta::assert_snapshot!(stage.why("work"), @"
    work
      now: syncing: no answer from 127.0.0.1 for [time] ([date])
      a fetch: asks upstream first: sync-on-fetch is 'yes', fresh-for is '[time]'
        'mirrord set work --fresh-for 10m' lets an answer be ten minutes old, --sync-on-fetch no any age
      upstream down: a fetch is served from here, and says how old that is: stale is 'serve'
        'mirrord set work --stale fail' lets it fail; MIRROR_STALE=fail does for one command
      nobody asking: it runs: every is '1h'
        'mirrord set work --every 10m' goes more often, --every never not at all; 'mirrord webhook on' lets upstream tell
      on disk: [size], last used [time] ago; it stays until it is removed
        'mirrord remove work' removes it
    ");
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
fn a_first_clone_is_seen_with_how_far_it_is() {
    let stage = Stage::new(small);
    let mut seed = 7_u64;
    let mut noise = String::new();
    while noise.len() < 200_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        noise.push_str(&format!("{:016x}", seed ^ (seed >> 29)));
    }
    stage.project.commit("main", "noise", &noise);
    stage.gitlab.fault(Fault::rate_limit(30_000).on(On::Fetch));
    let clone = stage.clone(&stage.url, "ours").start();
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
    let ran = clone.wait();
    assert!(ran.status.success(), "{ran}");
    let mut ended = String::new();
    for command in ["status", "list"] {
        ended.push_str(&stage.mirrord_shows(&[command]));
    }
    insta::assert_snapshot!(ended, @"
    mirrord 0.1.0 runs as process [pid] for [time]
    socket:  /world/m/socket
    webhook: off
    mirrors: 1 in /world/m/mirrors
    clients: 0, 0 of them waiting for a sync
    disk:    [size] of [size]

    http+gitlab.example/group/project  in step [time] ago; next sync in [time]; [size]
    http+gitlab.example/group/project  http://gitlab.example/group/project.git  in step [time] ago
    ");
}

//! `mirrord log`: each sync and each push is a line that says why it was done and what the outcome was, and that stays.

mod following;
mod keeping;
mod mirrors;

use std::{fs, path::PathBuf};

use tests::{Fault, On, Part, Signal, World, shown};

use crate::stage::Stage;

/// A project, and a mirror of it that is called `project` and tracks `main` alone.
fn mirrored() -> Stage {
    Stage::new(|project| project.history(3)).mirrored("project", &["--track", "+refs/heads/main"])
}

/// The same, with a clone.
fn cloned() -> Stage {
    mirrored().cloned("project", "ours")
}

impl Stage {
    /// The output of `mirrord log` with these arguments, each line as [`read`] returns it.
    #[track_caller]
    fn log(&self, args: &[&str]) -> Vec<String> {
        let ran = self.mirrord(&[&["log"], args].concat()).ok();
        assert_eq!(ran.stderr, "", "{ran}");
        ran.stdout.lines().map(read).collect()
    }

    /// The last line of it.
    #[track_caller]
    fn last(&self) -> String {
        self.log(&[]).pop().expect("something is in the log")
    }

    fn journal(&self) -> PathBuf {
        self.world.mirror_home().join("journal")
    }
}

/// A line of the log with one space between its columns, and without what differs each time: when, how long, and how
/// many bytes.
#[track_caller]
fn read(line: &str) -> String {
    let mut columns = line.split("  ").filter(|column| !column.is_empty());
    let time = columns.next().expect("a time");
    assert_eq!(time.len(), "2026-01-01 00:00:00 +0000".len(), "{line}");
    let columns: Vec<_> = columns.map(str::trim).collect();
    let [before @ .., outcome] = columns.as_slice() else {
        panic!("a line without columns: {line}");
    };
    let outcome = match outcome.split_once(" after ") {
        Some((how, rest)) => {
            let reason = rest
                .split_once(": ")
                .map(|(_, reason)| format!(": {reason}"));
            format!("{how}{}", reason.unwrap_or_default())
        }
        None => {
            let (outcome, took) = outcome.rsplit_once(", ").expect("how long it took");
            assert!(took.ends_with(" s") || took.ends_with(" ms"), "{line}");
            match outcome.rsplit_once(", ") {
                Some((outcome, bytes)) if bytes.ends_with("B") || bytes.ends_with("bytes") => {
                    assert!(!bytes.starts_with("0 "), "{line}");
                    format!("{outcome}, bytes")
                }
                _ => outcome.to_owned(),
            }
        }
    };
    format!("{} {outcome}", before.join(" "))
}

#[test]
fn the_line_of_a_sync_has_its_cause_and_its_outcome() {
    let stage = cloned();
    stage.project.commit("main", "file", "more");
    stage.ours(&["fetch", "-q"]).ok();
    stage.ours(&["fetch", "-q"]).ok();
    stage.mirrord(&["sync", "project"]).ok();
    stage.project.commit("main", "file", "and more");
    stage.mirrord(&["accept", "project"]).ok();
    stage.ours(&["push", "-q", "origin", "main"]).fails();
    assert_eq!(
        stage.log(&[]),
        [
            "project sync (command) in step, 1 ref moved, bytes",
            "project sync (fetch) unchanged",
            "project sync (fetch) in step, 1 ref moved, bytes",
            "project sync (fetch) unchanged",
            "project sync (command) unchanged",
            "project sync (command) in step, 1 ref moved, bytes",
            "project sync (push) unchanged",
        ]
    );
}

#[test]
fn the_line_of_a_scheduled_sync_has_the_cause_schedule() {
    let stage = mirrored();
    let follow = stage.mirrord(&["log", "-f"]).start();
    let every = ["set", "project", "--every", "1s"];
    stage.mirrord(&every).ok();
    follow.printed("sync (schedule)  unchanged");
    stage.project.commit("main", "file", "more");
    follow.printed("sync (schedule)  in step, 1 ref moved");
    stage.gitlab.stop();
    follow.printed("sync (schedule)  failed after");
}

#[test]
fn the_line_of_a_push_says_where_each_ref_went() {
    let stage = cloned();
    let push = |args: &[&str]| stage.ours(&[&["push", "-q", "origin"], args].concat());
    stage.commit("ours", "file-1");
    push(&["main:refs/heads/mine"]).ok();
    assert_eq!(stage.last(), "project push 1 ref kept here, bytes");
    push(&["main"]).ok();
    insta::assert_snapshot!(shown(&stage.last()), @"project push 1 ref sent to upstream");
    stage.commit("ours", "file-2");
    push(&["main", "main:other", "main:another"]).ok();
    let line = stage.last();
    insta::assert_snapshot!(shown(&line), @"project push 1 ref sent to upstream, 2 refs kept here, bytes");
    stage.commit("ours", "file-3");
    stage.project.hook("update", "exit 1");
    push(&["main", "main:more"]).fails();
    let line = stage.last();
    insta::assert_snapshot!(shown(&line), @"project push 1 ref kept here, 1 ref refused (by upstream), bytes");
    push(&["main"]).fails();
    insta::assert_snapshot!(shown(&stage.last()), @"project push 1 ref refused (by upstream)");
    push(&[":mine"]).ok();
    assert_eq!(stage.last(), "project push 1 ref kept here");
    stage.gitlab.stop();
    push(&["main"]).fails();
    let lines: [String; 2] = stage.log(&["-n", "2"]).try_into().expect("two");
    let [sync, line] = lines;
    insta::assert_snapshot!(shown(&sync), @"project sync (push) failed: cannot reach 'http://gitlab.example/group/project.git': connection refused");
    insta::assert_snapshot!(shown(&line), @"project push 1 ref refused (cannot reach 'http://gitlab.example/group/project.git': connection refused)");
    stage.mirrord(&["set", "project", "--push", "no"]).ok();
    push(&["main:mine"]).fails();
    assert_eq!(
        stage.last(),
        "project push failed: the mirror 'project' takes no pushes"
    );
}

#[test]
fn a_push_whose_parts_are_killed_may_have_reached_upstream() {
    let stage = cloned();
    stage.commit("ours", "file-4");
    let paused = stage.gitlab.pause(On::Push);
    let push = stage.ours(&["push", "-q", "origin", "main"]).start();
    paused.reached();
    stage.world.signal_part(&push, Part::Hook, Signal::KILL);
    paused.release();
    push.wait();
    let line = "project push failed: interrupted, and it may have reached upstream";
    // The daemon hears of it when the connection closes, which nobody waits for.
    let follow = stage.mirrord(&["log", "--follow"]).start();
    follow.printed(line.split_once(": ").expect("a colon").1);
}

#[test]
fn the_line_of_a_failed_sync_has_the_reason() {
    let stage = cloned();
    let fault = |fault: Fault| {
        stage.gitlab.fault(fault);
        stage.ours(&["fetch", "-q"]).run();
        stage.gitlab.clear_faults();
        stage.last()
    };
    insta::assert_snapshot!(shown(&fault(Fault::status(503))), @"project sync (fetch) failed: cannot reach 'http://gitlab.example/group/project.git': the server answered with error 503");
    insta::assert_snapshot!(shown(&fault(Fault::status(404))), @"project sync (fetch) failed: repository 'http://gitlab.example/group/project.git' not found");
    insta::assert_snapshot!(shown(&fault(Fault::hang_up())), @"project sync (fetch) failed: cannot reach 'http://gitlab.example/group/project.git': the connection was cut");
    stage.gitlab.stop();
    stage.mirrord(&["sync", "project"]).fails();
    let line = stage.last();
    insta::assert_snapshot!(shown(&line), @"project sync (command) failed: cannot reach 'http://gitlab.example/group/project.git': connection refused");
    stage.gitlab.start();
    stage.mirrord(&["sync", "project"]).ok();
    assert_eq!(stage.last(), "project sync (command) unchanged");
}

#[test]
fn a_sync_whose_client_is_interrupted_is_logged_as_cancelled() {
    let stage = mirrored();
    let paused = stage.gitlab.pause(On::LsRefs);
    let follow = stage.mirrord(&["log", "-f"]).start();
    let sync = stage.mirrord(&["sync", "project"]).start();
    paused.reached();
    sync.kill_group(Signal::INT);
    sync.wait();
    follow.printed("sync (command)   cancelled after");
    paused.release();
    // A first one leaves no mirror, and is known by what that would have been called.
    let url = stage.gitlab.url("group/other");
    stage.gitlab.project("group/other").history(1);
    let again = stage.gitlab.pause(On::Fetch);
    let clone = stage.world.clone_mirror(&url, "other").start();
    again.reached();
    clone.kill_group(Signal::INT);
    clone.wait();
    follow.printed("group/other  sync (fetch)     cancelled after");
}

#[test]
fn a_sync_for_which_many_clients_wait_is_one_line() {
    let stage = cloned();
    let before = stage.log(&[]).len();
    stage.project.commit("main", "file", "more");
    let paused = stage.gitlab.pause(On::LsRefs);
    let first = stage.ours(&["fetch", "-q"]).start();
    paused.reached();
    let waiting: Vec<_> = (0..5)
        .map(|_| stage.mirrord(&["sync", "project"]).start())
        .collect();
    stage.world.wait_until_clients(6);
    paused.release();
    for run in waiting.into_iter().chain([first]) {
        run.wait();
    }
    assert_eq!(
        stage.log(&[])[before..],
        [
            "project sync (fetch) in step, 1 ref moved, bytes",
            "project sync (command) unchanged"
        ]
    );
}

#[test]
fn log_json_prints_one_object_a_line() {
    let stage = cloned();
    stage.commit("ours", "file-5");
    stage.ours(&["push", "-q", "origin", "main"]).ok();
    let ran = stage.mirrord(&["log", "--json"]).ok();
    insta::assert_snapshot!(shown(&ran.stdout), @r#"
    {"at":[oid],"bytes":[size],"cause":"command","kept":null,"milliseconds":[time],"mirror":"project","outcome":"in-step","reason":null,"refs":1,"refused":null,"sent":null,"what":"sync"}
    {"at":[oid],"bytes":0,"cause":"fetch","kept":null,"milliseconds":[time],"mirror":"project","outcome":"unchanged","reason":null,"refs":0,"refused":null,"sent":null,"what":"sync"}
    {"at":[oid],"bytes":0,"cause":"push","kept":null,"milliseconds":[time],"mirror":"project","outcome":"unchanged","reason":null,"refs":0,"refused":null,"sent":null,"what":"sync"}
    {"at":[oid],"bytes":[size],"cause":"push","kept":0,"milliseconds":[time],"mirror":"project","outcome":"pushed","reason":null,"refs":1,"refused":0,"sent":1,"what":"push"}
    "#);
    let none = stage.mirrord(&["log", "--json", "-n", "0"]).ok();
    assert_eq!(none.stdout, "", "nothing is no line");
}

#[test]
fn no_login_is_in_the_log() {
    let world = World::new();
    let gitlab = world.gitlab();
    gitlab.project("group/project").history(1);
    gitlab.require_login("group/project", "me", "right");
    let url = gitlab.url("group/project");
    world.config("mirror.allowLoginInUrl", "true");
    let with = |token: &str| url.replace("http://", &format!("http://me:{token}@"));
    world.clone_mirror(&with("canary-wrong"), "one").fails();
    world.clone_mirror(&with("right"), "two").ok();
    gitlab.revoke("me");
    world.git(["fetch", "-q"]).at("two").fails();
    gitlab.stop();
    world.git(["fetch", "-q"]).at("two").run();
    let log = world.mirrord(["log"]).ok();
    assert_eq!(log.stdout.matches("failed after").count(), 3, "{log}");
    let file = fs::read_to_string(world.mirror_home().join("journal")).expect("text");
    for text in [&log.stdout, &file] {
        assert!(!text.contains("canary") && !text.contains("me:"), "{text}");
    }
}

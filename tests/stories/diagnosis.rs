//! `MIRROR_LOG=debug`: the lines of the helper and of the daemon say what was run, asked and decided, and a request has the
//! same id in both.

use tests::{Fault, Ran, Running};

use crate::stage::Stage;

/// A stage whose daemon logs at the level `debug`.
struct Debugged {
    stage: Stage,
    daemon: Running,
}

impl Debugged {
    fn new() -> Self {
        let stage = Stage::new(|project| drop(project.history(3)));
        let daemon = stage.mirrord(&["run"]).env("MIRROR_LOG", "debug").start();
        daemon.printed("listens at");
        Self { stage, daemon }
    }

    /// Clones at that level.
    fn clone(&self) -> Ran {
        let clone = self.stage.clone(&self.stage.url, "ours");
        clone.env("MIRROR_LOG", "debug").ok()
    }

    /// Runs git in the clone at that level.
    fn ours(&self, args: &[&str]) -> Ran {
        self.stage.ours(args).env("MIRROR_LOG", "debug").ok()
    }

    /// Waits until the daemon has logged the end of this conversation, and returns the lines of its request.
    fn logged(&self, id: &str, conversation: &str) -> Vec<String> {
        let end = format!("request{{id={id}}}: conversation: {conversation}");
        self.daemon.printed(&end);
        let (_, log) = self.daemon.so_far();
        let of_request = |line: &&str| line.contains(&format!("request{{id={id}}}"));
        log.lines().filter(of_request).map(str::to_owned).collect()
    }
}

/// The id of the only request that the helper logs.
#[track_caller]
fn id(ran: &Ran) -> String {
    let ids = ran.stderr.split("request{id=").skip(1);
    let ids: std::collections::BTreeSet<_> = ids.map(|rest| &rest[..8]).collect();
    assert_eq!(ids.len(), 1, "{}", ran.stderr);
    ids.first().expect("there is one").to_string()
}

#[track_caller]
fn has(lines: &[String], parts: &[&str]) {
    let has = |line: &String| parts.iter().all(|part| line.contains(part));
    assert!(lines.iter().any(has), "{parts:?} in {lines:#?}");
}

fn lines(ran: &Ran) -> Vec<String> {
    ran.stderr.lines().map(str::to_owned).collect()
}

#[test]
fn the_log_ties_the_helper_and_the_daemon_of_a_clone_a_fetch_and_a_push_together() {
    let debugged = Debugged::new();

    let clone = debugged.clone();
    has(&lines(&clone), &["decision: linked, all packs"]);
    has(
        &lines(&clone),
        &["child: git config -z --list", "exit 0", " ms"],
    );
    let logged = debugged.logged(&id(&clone), "fetch of 'http");
    has(
        &logged,
        &["conversation: fetch of", "in step after", "closed after"],
    );
    has(&logged, &["sync{upstream=", "in step after"]);

    debugged.stage.project.commit("main", "file", "more");
    let fetch = debugged.ours(&["fetch", "-q"]);
    has(&lines(&fetch), &["decision: linked, what is new"]);
    assert_ne!(id(&fetch), id(&clone));
    debugged.logged(&id(&fetch), "fetch of 'http");

    debugged.stage.commit("ours", "mine");
    let push = debugged.ours(&["push", "-q", "origin", "HEAD:refs/heads/topic"]);
    has(&lines(&push), &["child: git receive-pack", "exit 0"]);
    debugged.logged(&id(&push), "push of 'http");
    // Another conversation, which may end later.
    let logged = debugged.logged(&id(&push), "reservation of a push");
    has(
        &logged,
        &["conversation: reservation of a push", "done after"],
    );
}

#[test]
fn the_log_says_why_an_answer_is_stale_and_why_packs_are_sent() {
    let debugged = Debugged::new();
    debugged.clone();
    debugged.stage.gitlab.fault(Fault::status(503));
    let fetch = debugged.ours(&["-c", "mirror.link=off", "fetch", "-q"]);
    has(
        &lines(&fetch),
        &["decision: streamed, the options of this fetch"],
    );
    has(&lines(&fetch), &["child: git upload-pack", "exit 0"]);
    let logged = debugged.logged(&id(&fetch), "fetch of 'http");
    has(&logged, &["decision: stale, ", "503"]);
}

#[test]
fn a_level_that_is_none_is_named_and_the_fetch_goes_on() {
    let stage = Stage::new(|project| drop(project.history(1)));
    let ran = stage.ls_remote().env("MIRROR_LOG", "loud").ok();
    insta::assert_snapshot!(ran.shown(), @"
    [oid]	HEAD
    [oid]	refs/heads/main
    --- stderr
    warning: 'MIRROR_LOG' is none of error, warn, info, debug, trace
    ");
}

//! An upstream that stops in the middle of something, and one that goes on without getting anywhere.

use tests::{Fault, On, World};

use super::{failed, impatient, is_back, on, served, stage};
use crate::{ssh, stage::Stage};

mod pushes;

const SILENT: &str = "no answer for 1 second";

/// Whether a silence of a second was given up; by whom, what waits for a connection or what waits for all, is open where
/// both wait as long.
fn says(text: &str) -> bool {
    text.contains(SILENT) || text.contains("connection timed out")
}

/// Meets a silence in one phase: with a copy, on a first clone, with `mirrord sync` and in a push.
#[track_caller]
fn given_up(stage: &Stage, phase: &str, fault: impl Fn() -> Fault) {
    let begin = || {
        stage.forget_session();
        stage.gitlab.clear_faults();
        stage.gitlab.fault(fault());
    };
    begin();
    // The two wait at the same time.
    let other = stage.gitlab.url("group/other");
    let clone = stage.clone(&other, "theirs").start();
    let ran = served(stage.ours(&["fetch"]), "cannot reach");
    assert!(says(&ran.stderr), "{phase}: {ran}");
    let ran = clone.wait();
    assert!(!ran.status.success() && says(&ran.stderr), "{phase}: {ran}");
    assert_eq!(stage.world.mirrors().len(), 1, "no mirror is left");
    begin();
    let ran = failed(stage.mirrord(&["sync", "work"]), "cannot reach");
    assert!(says(&ran.stderr), "{phase}: {ran}");
    stage.commit_empty();
    let ran = stage.ours(&["push", "origin", "main"]).fails();
    assert!(says(&ran.stderr), "{phase}: {ran}");
    assert!(!ran.stderr.contains("may have reached"), "{phase}: {ran}");
    stage
        .ours(&["push", "-q", "-f", "origin", "main:idea"])
        .ok();
    stage.ours(&["reset", "-q", "--hard", "origin/main"]).ok();
    stage.gitlab.clear_faults();
}

/// Takes about 20 s: in each of five phases a sync, a fetch and a push wait for the shortest time that can be configured.
#[test]
fn an_upstream_that_hangs_is_given_up_in_each_phase() {
    let stage = stage();
    stage.impatient(1);
    given_up(&stage, "before headers", || {
        Fault::hang_before_headers().on(On::InfoRefs)
    });
    given_up(&stage, "advertisement", || {
        Fault::hang_after(20).on(On::InfoRefs)
    });
    given_up(&stage, "list of refs", || {
        Fault::hang_before_headers().on(On::LsRefs)
    });
    given_up(&stage, "amid the refs", || {
        Fault::hang_after(10).on(On::LsRefs)
    });
    // Something to fetch, for each of them.
    stage.project.history(30);
    given_up(&stage, "pack", || Fault::hang_after(100).on(On::Fetch));
    stage.patient();
    let fetched = stage.ours(&["fetch"]).ok();
    assert!(!fetched.stderr.contains("serving"), "{fetched}");
    is_back(|| stage.ours(&["fetch"]));
}

/// Takes about 5 s: three commands wait for the shortest time that can be configured.
#[test]
fn an_upstream_whose_tls_hangs_is_given_up() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
    let stage = on(world, gitlab);
    stage.impatient(1);
    given_up(&stage, "TLS", Fault::hang_on_accept);
}

#[test]
fn an_upstream_that_does_not_answer_a_connection_is_given_up() {
    let stage = stage();
    stage.impatient(1);
    stage.gitlab.vanish();
    let ran = served(stage.ours(&["fetch"]), "cannot reach");
    assert!(says(&ran.stderr), "{ran}");
    let ran = failed(stage.mirrord(&["sync", "work"]), "cannot reach");
    assert!(says(&ran.stderr), "{ran}");
    let ran = stage.mirrord(&["test", "work"]).code(1);
    assert!(ran.stdout.contains("connection timed out"), "{ran}");
    stage.commit_empty();
    stage.ours(&["push", "-q", "origin", "main:idea"]).ok();
    stage.gitlab.start();
    stage.patient();
    is_back(|| stage.ours(&["fetch"]));
}

#[test]
fn a_push_of_which_no_report_comes_may_have_reached_upstream() {
    let stage = stage();
    stage.impatient(2);
    stage.commit_empty();
    let paused = stage.gitlab.pause_answer(On::Push);
    let ran = stage.ours(&["push", "origin", "main"]).fails();
    // The rest of the reason is curl's.
    assert!(ran.stderr.contains("may have reached upstream"), "{ran}");
    paused.release();
    stage.patient();
    let mine = stage.ours(&["rev-parse", "HEAD"]).ok().line().to_owned();
    assert_eq!(stage.project.tip("main"), Some(mine), "and it has");
    stage.ours(&["push", "-q", "origin", "main"]).ok();
}

#[test]
fn a_push_that_hangs_before_it_is_sent_has_not_reached_upstream() {
    let stage = stage();
    stage.impatient(2);
    stage.commit_empty();
    let fault = Fault::hang_before_headers().on(On::PushInfoRefs);
    stage.gitlab.fault(fault);
    let ran = stage.ours(&["push", "origin", "main"]).fails();
    assert!(ran.stderr.contains("! [remote rejected]"), "{ran}");
    assert!(!ran.stderr.contains("may have reached"), "{ran}");
    stage.gitlab.clear_faults();
    stage.patient();
    stage.ours(&["push", "-q", "origin", "main"]).ok();
}

/// Takes about 8 s: the bytes of a trickle are counted for several seconds before it is given up.
#[test]
fn a_slow_trickle_of_useless_bytes_is_given_up() {
    let stage = stage();
    stage.impatient(1);
    let kind = ("Content-Type", "application/x-git-upload-pack-result");
    let endless = [b"ffe0".as_slice(), &[b'x'; 60_000]].concat();
    let drops = || {
        stage.gitlab.fault(Fault::rate_limit(50));
        let answer = Fault::status(200).header(kind.0, kind.1).body(&endless);
        stage.gitlab.fault(answer.on(On::LsRefs));
    };
    drops();
    served(stage.ours(&["fetch"]), SILENT);
    let sync = stage.mirrord(&["sync", "work"]);
    failed(sync, SILENT);
    stage.gitlab.clear_faults();
    stage.patient();
    is_back(|| stage.ours(&["fetch"]));
}

/// Takes about 6 s: git gives each of two connections up after its shortest time.
#[test]
fn where_git_itself_asks_an_upstream_that_hangs_is_given_up_too() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
    // Something that only git's own client can use.
    world.config("http.cookieFile", "/dev/null");
    let stage = on(world, gitlab);
    stage.impatient(1);
    for fault in [Fault::hang_on_accept(), Fault::hang_before_headers()] {
        stage.gitlab.close_connections();
        stage.gitlab.fault(fault);
        let sync = stage.mirrord(&["sync", "work"]);
        failed(sync, &stage.url);
        stage.gitlab.clear_faults();
    }
    stage.patient();
    stage.mirrord(&["sync", "work"]).ok();
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_git_behind_ssh_that_says_nothing_is_given_up() {
    let stage = ssh::Stage::small();
    stage.clone("ours").ok();
    impatient(&stage.world, 1);
    // ssh itself is well; what it runs waits for ever.
    stage.sshd.fault("exec cat >/dev/null");
    served(stage.world.git(["fetch"]).at("ours"), SILENT);
    stage.sshd.clear_fault();
    impatient(&stage.world, 600);
    is_back(|| stage.world.git(["fetch"]).at("ours"));
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_gitlab_behind_ssh_that_has_too_much_to_do_is_answered_for_by_the_copy() {
    let stage = ssh::Stage::small();
    stage.clone("ours").ok();
    let load = "GitLab is currently unable to handle this request due to load";
    let fetch = || stage.world.git(["fetch"]).at("ours");
    let line = format!("ERR {load}");
    let line = format!("printf '%s' '{:04x}{line}'", line.len() + 4);
    stage.sshd.fault(&line);
    served(fetch(), load);
    let args = format!("printf 'remote: ERROR: {load}\\n' >&2; exit 1");
    stage.sshd.fault(&args);
    served(fetch(), load);
    stage.sshd.clear_fault();
    is_back(fetch);
}

#[test]
fn an_upstream_on_this_machine_that_hangs_is_given_up() {
    let world = World::new();
    let project = world.project("upstream.git");
    project.commit("main", "a", "a");
    let url = project.dir().display().to_string();
    world.clone_mirror(&url, "ours").ok();
    impatient(&world, 1);
    // As on a disk far away that has gone: whoever opens it waits.
    let packed = project.dir().join("packed-refs");
    let _ = std::fs::remove_file(&packed);
    world.program("mkfifo", [&packed]).ok();
    served(world.git(["fetch"]).at("ours"), SILENT);
    std::fs::remove_file(&packed).expect("the world is ours");
    impatient(&world, 600);
    is_back(|| world.git(["fetch"]).at("ours"));
}

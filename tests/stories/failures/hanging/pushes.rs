//! A push to an upstream that has taken it, or has not, and says nothing more: over ssh, on this machine, and before
//! curl is connected.

use std::fs;

use tests::{Fault, Project, Ran, World};

use super::{SILENT, impatient, on};
use crate::ssh;

/// Makes the hook of a project wait until the returned pipe is opened; receive-pack says nothing meanwhile.
fn pause(world: &World, project: &Project) -> std::path::PathBuf {
    let paused = world.path("held");
    world.program("mkfifo", [&paused]).ok();
    let line = format!("cat >/dev/null; cat '{}'", paused.display());
    project.hook("pre-receive", &line);
    project.config("receive.keepAlive", "0");
    paused
}

/// Lets a hook that was held go on, if it is still there.
fn release(project: &Project, paused: &std::path::Path) {
    project.hook("pre-receive", "cat >/dev/null");
    fs::remove_file(paused).expect("the world is ours");
}

fn commit(world: &World, content: &[u8]) {
    fs::write(world.path("ours/new"), content).expect("the world is ours");
    world.git(["add", "new"]).at("ours").ok();
    world.git(["commit", "-q", "-m", "mine"]).at("ours").ok();
}

fn push(world: &World, args: &[&str]) -> Ran {
    world.git(args).at("ours").run()
}

/// Asserts that a push was given up and that nobody knows what became of it.
#[track_caller]
fn may_have_reached(ran: &Ran) {
    let reason = format!("({SILENT}; it may have reached upstream");
    assert!(ran.stderr.contains(&reason), "{ran}");
    assert_eq!(ran.status.code(), Some(1), "{ran}");
}

/// Takes about 7 s: two pushes over ssh wait for the shortest time that can be configured.
#[test]
#[cfg_attr(not(all(sshd, ps)), ignore = "needs sshd and ps")]
fn a_push_over_ssh_of_which_no_report_comes_is_given_up() {
    let stage = ssh::Stage::small();
    let world = &stage.world;
    stage.project.commit("old", "b", "b");
    stage.clone("ours").ok();
    impatient(world, 1);
    let paused = pause(world, &stage.project);
    commit(world, b"mine");
    let before = stage.project.refs();
    may_have_reached(&push(world, &["push", "origin", "main"]));
    let programs = world.program("ps", ["-A", "-o", "args"]).ok();
    let root = world.root().display().to_string();
    let left: Vec<_> = programs
        .stdout
        .lines()
        .filter(|line| line.contains(&root) && line.contains("ssh ") && line.contains("receive"))
        .collect();
    assert!(left.is_empty(), "no ssh is left: {left:?}");
    assert_eq!(stage.project.refs(), before);
    may_have_reached(&push(world, &["push", "origin", ":old"]));
    release(&stage.project, &paused);
    impatient(world, 600);
    push(world, &["push", "-q", "origin", "main"]);
    let mine = world.git(["rev-parse", "HEAD"]).at("ours").ok();
    assert_eq!(stage.project.tip("main").as_deref(), Some(mine.line()));
}

/// Takes about 6 s: 12 MiB fill what lies between git and the server, and the push then waits for two seconds.
#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_server_behind_ssh_that_stops_reading_is_given_up() {
    let stage = ssh::Stage::small();
    let world = &stage.world;
    stage.clone("ours").ok();
    impatient(world, 2);
    // It tells what it has, and then looks at nothing that comes.
    stage.sshd.fault(
        "case \"$SSH_ORIGINAL_COMMAND\" in git-receive-pack*)\n\
         \teval \"$SSH_ORIGINAL_COMMAND\" </dev/null 2>/dev/null; exec sleep 1000\nesac",
    );
    commit(world, &noise(12 << 20));
    let ran = push(world, &["push", "origin", "main"]);
    assert!(ran.stderr.contains("no answer for 2 seconds"), "{ran}");
    stage.sshd.clear_fault();
    impatient(world, 600);
    push(world, &["push", "-q", "origin", "main"]);
    let mine = world.git(["rev-parse", "HEAD"]).at("ours").ok();
    assert_eq!(stage.project.tip("main").as_deref(), Some(mine.line()));
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_server_at_work_on_a_push_is_waited_for_as_long_as_it_gives_signs_of_life() {
    let stage = ssh::Stage::small();
    let world = &stage.world;
    stage.clone("ours").ok();
    impatient(world, 2);
    stage.project.hook("pre-receive", "cat >/dev/null; sleep 4");
    stage.project.config("receive.keepAlive", "1");
    commit(world, b"mine");
    let ran = push(world, &["push", "-q", "origin", "main"]);
    assert_eq!((ran.status.code(), &*ran.stderr), (Some(0), ""), "{ran}");
}

#[test]
#[cfg_attr(not(sshd), ignore = "needs sshd")]
fn a_person_may_take_longer_to_sign_in_than_upstream_to_answer() {
    let stage = ssh::Stage::small();
    let world = &stage.world;
    stage.clone("ours").ok();
    impatient(world, 1);
    // Seen from here it is the same, whoever keeps the first word back.
    stage
        .sshd
        .fault("case \"$SSH_ORIGINAL_COMMAND\" in git-receive-pack*) sleep 4; esac");
    commit(world, b"mine");
    let ran = push(world, &["push", "-q", "origin", "main"]);
    assert_eq!((ran.status.code(), &*ran.stderr), (Some(0), ""), "{ran}");
}

#[test]
fn a_push_to_an_upstream_on_this_machine_of_which_no_report_comes_is_given_up() {
    let world = World::new();
    let project = world.project("upstream.git");
    project.commit("main", "a", "a");
    let url = project.dir().display().to_string();
    world.clone_mirror(&url, "ours").ok();
    impatient(&world, 1);
    let paused = pause(&world, &project);
    commit(&world, b"mine");
    may_have_reached(&push(&world, &["push", "origin", "main"]));
    may_have_reached(&push(&world, &["push", "--progress", "origin", "main"]));
    release(&project, &paused);
    impatient(&world, 600);
    world.git(["push", "-q", "origin", "main"]).at("ours").ok();
    let mine = world.git(["rev-parse", "HEAD"]).at("ours").ok();
    assert_eq!(project.tip("main").as_deref(), Some(mine.line()));
}

#[test]
fn a_push_whose_connection_hangs_has_not_reached_upstream() {
    let world = World::new();
    let gitlab = world.gitlab_tls();
    world.config("http.sslCAInfo", gitlab.ca_file().to_str().expect("text"));
    let stage = on(world, gitlab);
    stage.impatient(1);
    // The daemon's own connection is kept, and answers.
    stage.ours(&["fetch"]).ok();
    stage.gitlab.fault(Fault::hang_on_accept());
    stage.commit_empty();
    stage.ours(&["push", "-q", "origin", "main"]).ok();
    stage.commit_empty();
    stage.gitlab.fault(Fault::leaves_push_to_git());
    let ran = stage.ours(&["push", "origin", "main"]).fails();
    assert!(ran.stderr.contains(&format!("({SILENT})")), "{ran}");
    stage.gitlab.clear_faults();
    stage.patient();
    stage.ours(&["push", "-q", "origin", "main"]).ok();
}

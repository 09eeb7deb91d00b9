//! A command that goes past the mirror ends at Ctrl-C as one of plain git does.

use std::{fs, os::unix::process::ExitStatusExt, thread::yield_now, time::Instant};

use tests::{Fault, On, Run, Signal, World};

use crate::{clone::fill, linked::EVENT_TIMEOUT, passing_through::fetches, stage::Stage};

/// How the name of a pack begins that git has not read to its end. An interrupted git leaves it, for `git gc` to remove.
const TEMPORARY: &str = "/tmp_pack_";

/// What git says of a child that has ended too early.
const CHILD_IS_GONE: &str = "fetch-pack: unexpected disconnect";

/// Interrupts a command as a terminal does, when upstream has got so far. Returns how it ended, and what it said.
#[track_caller]
fn interrupted(command: Run, has_begun: impl FnOnce()) -> (Option<i32>, String) {
    let running = command.start();
    has_begun();
    running.kill_group(Signal::INT);
    let ran = running.wait();
    assert!(!ran.status.success(), "{ran}");
    // git may notice before it ends that its child has ended.
    let lines = ran.stderr.lines();
    let said = lines.filter(|line| !line.starts_with(CHILD_IS_GONE));
    (ran.status.signal(), said.collect::<Vec<_>>().join("\n"))
}

/// The files of a repository, without the numbers in the names of temporary ones.
fn files(world: &World, dir: &str) -> Vec<String> {
    let find = ["-c", "find .git -type f | sort"];
    let found = world.program("sh", find).at(dir).ok();
    let lines = found.stdout.lines().map(|line| {
        let end = line.find(TEMPORARY).map(|at| at + TEMPORARY.len());
        line[..end.unwrap_or(line.len())].to_owned()
    });
    lines.collect()
}

/// Two clones, one by plain git.
fn twins(stage: &Stage, url: &str) {
    for (dir, address) in [
        ("plain", url.to_owned()),
        ("ours", format!("mirror::{url}")),
    ] {
        stage.world.git(["clone", "-q", &address, dir]).ok();
    }
}

/// Asserts that git itself has asked for the objects, and not the daemon.
#[track_caller]
fn goes_past_the_mirror(stage: &Stage) {
    let fetches = fetches(&stage.gitlab.requests());
    assert!(fetches.iter().all(|(of_git, _)| *of_git), "{fetches:?}");
}

/// Asserts that a fetch which was interrupted has left as much as plain git's leaves, and that the next one works.
#[track_caller]
fn nothing_is_left_behind(stage: &Stage, before: &[Vec<String>; 2], fetch: &[&str]) {
    let [plain, ours] = ["plain", "ours"].map(|dir| files(&stage.world, dir));
    let new = |now: &[String], before: &[String]| {
        let new = now.iter().filter(|file| !before.contains(file));
        new.cloned().collect::<Vec<_>>()
    };
    assert_eq!(new(&ours, &before[1]), new(&plain, &before[0]));
    stage.ours(fetch).ok();
    assert_eq!(
        stage.rev_parse("ours", "origin/main"),
        stage.upstream_tip("main")
    );
}

#[test]
fn before_upstream_has_answered() {
    let stage = Stage::new(fill);
    twins(&stage, &stage.url);
    stage.project.commit("main", "later", "later");
    let before = ["plain", "ours"].map(|dir| files(&stage.world, dir));
    let fetch = ["fetch", "-4", "-q"];
    let ends = ["plain", "ours"].map(|dir| {
        let paused = stage.gitlab.pause(On::Fetch);
        stage.gitlab.forget_requests();
        let end = interrupted(stage.git(dir, &fetch), || paused.reached());
        paused.release();
        end
    });
    goes_past_the_mirror(&stage);
    assert_eq!(ends[0], ends[1], "it ends as plain git does");
    nothing_is_left_behind(&stage, &before, &fetch);
}

/// Waits until git writes a pack into a clone.
#[track_caller]
fn a_pack_has_begun(world: &World, dir: &str) {
    let deadline = Instant::now() + EVENT_TIMEOUT;
    while !files(world, dir)
        .iter()
        .any(|file| file.ends_with(TEMPORARY))
    {
        assert!(Instant::now() < deadline, "no pack is begun");
        yield_now();
    }
}

#[test]
fn in_the_middle_of_a_pack() {
    let stage = Stage::new(fill);
    twins(&stage, &stage.url);
    let noise: String = (0..900_000).map(|number| format!("{number:x}")).collect();
    stage.project.commit("main", "large", &noise);
    let before = ["plain", "ours"].map(|dir| files(&stage.world, dir));
    let fetch = ["-c", "fetch.unpackLimit=1", "fetch", "-4", "-q"];
    stage.gitlab.fault(Fault::rate_limit(200_000));
    stage.gitlab.forget_requests();
    let ends = ["plain", "ours"].map(|dir| {
        interrupted(stage.git(dir, &fetch), || {
            a_pack_has_begun(&stage.world, dir);
        })
    });
    assert_eq!(ends[0], ends[1], "it ends as plain git does");
    goes_past_the_mirror(&stage);
    stage.gitlab.clear_faults();
    nothing_is_left_behind(&stage, &before, &fetch);
}

#[test]
fn while_the_program_on_this_machine_that_was_named_says_nothing() {
    let stage = Stage::new(fill);
    let url = stage.project.url();
    twins(&stage, &url);
    stage.project.commit("main", "later", "later");
    let before = ["plain", "ours"].map(|dir| files(&stage.world, dir));
    let [begun, held] = ["begun", "held"].map(|pipe| stage.world.path(pipe));
    stage.world.program("mkfifo", [&begun, &held]).ok();
    let slow = format!(
        "exec 2>/dev/null; echo >'{}'; read _ <'{}'; git-upload-pack",
        begun.display(),
        held.display()
    );
    let fetch = ["fetch", "-q", "--upload-pack", &slow];
    let ends = ["plain", "ours"].map(|dir| {
        interrupted(stage.git(dir, &fetch), || {
            fs::read(&begun).expect("it writes when it has begun");
        })
    });
    assert_eq!(ends[0], ends[1], "it ends as plain git does");
    let fetch = ["fetch", "-q"];
    nothing_is_left_behind(&stage, &before, &fetch);
}

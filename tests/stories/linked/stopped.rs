//! Clones that are stopped after they have planned which packs to take, and before they have them all.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::PathBuf,
    thread::yield_now,
    time::Instant,
};

use common::packs::{
    listing::pack_dir,
    verified::{Record, packs},
};
use rustix::process::{Pid, Signal, kill_process};
use tests::{Running, World, same_clone};

use super::{EVENT_TIMEOUT, files, inode, is_linked, is_not_linked, objects, shared, with_an_idea};
use crate::clone::fill;
use crate::stage::Stage;

/// Prepares a clone whose helper strace stops, kills or fails at a system call by which files are hard-linked or copied.
/// `action` is the action as in strace's option `inject`.
fn strace_clone(stage: &Stage, call: &str, action: &str, dir: &str) -> tests::Run {
    let world = &stage.world;
    let url = format!("mirror::{}", stage.url);
    let trace = world.path(format!("{dir}.trace")).display().to_string();
    let inject = format!("inject={call}:{action}");
    let calls = format!("trace={call}");
    let link = match call {
        "linkat" => "mirror.link=hardlink",
        _ => "mirror.link=copy",
    };
    let strace = ["-f", "-qq", "-o", &trace, "-e", &calls];
    let args = strace.into_iter().chain(["-e", &inject]);
    let git = ["git", "-c", link, "clone", "-q", &url, dir];
    world.program("strace", args.chain(git))
}

/// A clone whose helper has been handed one file of many and is stopped.
struct StoppedClone {
    running: Running,
    helper: Pid,
}

impl StoppedClone {
    #[track_caller]
    fn new(stage: &Stage, dir: &str) -> Self {
        let running = strace_clone(stage, "linkat", "signal=STOP:when=1", dir).start();
        let trace = stage.world.path(format!("{dir}.trace"));
        let deadline = Instant::now() + EVENT_TIMEOUT;
        let helper = loop {
            let text = fs::read_to_string(&trace).unwrap_or_default();
            let stopped = text
                .lines()
                .find(|line| line.contains("stopped by SIGSTOP"));
            let pid = stopped.and_then(|line| line.split(' ').next()?.parse().ok());
            if let Some(helper) = pid.and_then(Pid::from_raw) {
                break helper;
            }
            assert!(Instant::now() < deadline, "never links: {text}");
            yield_now();
        };
        Self { running, helper }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.helper, signal).expect("it is there");
    }
}

/// A stage of which a first clone has been taken, and a plain clone of it.
fn stage() -> Stage {
    let stage = Stage::new(fill);
    stage.clone(&stage.url, "first").ok();
    is_linked(&stage.world, "first");
    stage.world.git(["clone", "-q", &stage.url, "plain"]).ok();
    stage
}

#[track_caller]
fn is_like_plain(stage: &Stage, dir: &str) {
    let world = &stage.world;
    same_clone(world, &world.path(dir), &world.path("plain"));
    let whole = ["fsck", "--full", "--strict"];
    world.git(whole).at(dir).ok();
}

/// Repacks a mirror as somebody may who knows nothing of leases: what was planned is gone.
#[track_caller]
fn repack_by_hand(world: &World) -> PathBuf {
    let mirror = world.only_mirror();
    let before = files(&mirror.join("objects"));
    let repack = ["repack", "-q", "-a", "-d", "-f", "--window=1"];
    world.git(repack).env("GIT_DIR", &mirror).ok();
    let is_pack = |file: &&PathBuf| file.extension() == Some("pack".as_ref());
    assert!(before.iter().filter(is_pack).all(|file| !file.exists()));
    mirror
}

/// Takes six seconds under load: strace stops the helper between two system calls of one clone, and the mirror is
/// repacked by hand.
#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn a_clone_whose_packs_go_while_it_is_handed_them_is_handed_those_that_came() {
    let stage = stage();
    let world = &stage.world;
    stage.project.commit("main", "more", "more");
    world.git(["pull", "-q"]).at("plain").ok();
    world.git(["pull", "-q"]).at("first").ok();
    let clone = StoppedClone::new(&stage, "ours");
    let mirror = repack_by_hand(world);
    // The daemon verifies what it finds, as soon as somebody wants it.
    stage.clone(&stage.url, "second").ok();
    let deadline = Instant::now() + EVENT_TIMEOUT;
    let is_verified = || {
        let record = Record::read(&mirror).expect("it can be read");
        record.is_of(&packs(&pack_dir(&mirror)).expect("it is there"))
    };
    while !is_verified() {
        assert!(Instant::now() < deadline, "never verified");
        yield_now();
    }
    clone.signal(Signal::CONT);
    assert!(clone.running.wait().status.success());
    is_linked(world, "ours");
    is_like_plain(&stage, "ours");
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn a_clone_whose_packs_go_and_of_which_nobody_knows_those_that_came_is_sent_it_by_git() {
    let stage = stage();
    let world = &stage.world;
    let clone = StoppedClone::new(&stage, "ours");
    repack_by_hand(world);
    clone.signal(Signal::CONT);
    assert!(clone.running.wait().status.success());
    is_not_linked(world, "ours");
    is_like_plain(&stage, "ours");
}

/// Whether some object of a mirror is in more than one pack: what has been put together is there, and what it was before
/// is, too.
fn is_between(world: &World) -> bool {
    let mirror = world.only_mirror();
    let git = |args: &[&str]| world.git(args).env("GIT_DIR", &mirror).ok().stdout;
    let counted = git(&["count-objects", "-v"]);
    let packed = counted
        .lines()
        .find_map(|line| line.strip_prefix("in-pack: "));
    let packed: usize = packed.and_then(|it| it.parse().ok()).expect("git says it");
    let all = [
        "cat-file",
        "--batch-all-objects",
        "--unordered",
        "--batch-check=.",
    ];
    packed > git(&all).lines().count()
}

/// Takes five seconds: it needs as many packs as a mirror may have, and each comes from a sync of its own.
#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn an_upkeep_while_a_clone_is_handed_packs_takes_none_of_them_away_before_it_has_ended() {
    let stage = stage();
    let world = &stage.world;
    let sync = |number: usize| {
        stage.project.commit("main", "more", &number.to_string());
        world.mirrord(["sync", "-q", &stage.url]).ok();
    };
    // As many packs as it may have, of which some are in the way of a geometric progression.
    (1..50).for_each(sync);
    world.git(["pull", "-q"]).at("plain").ok();
    let before = files(&world.only_mirror().join("objects"));
    let planned: Vec<_> = before.iter().map(inode).collect();
    let clone = StoppedClone::new(&stage, "ours");
    stage.project.branch("late", "main~1");
    stage
        .project
        .commit("late", "late", "comes when the clone has been planned");
    world.mirrord(["sync", "-q", &stage.url]).ok();
    let deadline = Instant::now() + EVENT_TIMEOUT;
    while !is_between(world) {
        assert!(Instant::now() < deadline, "never repacked: {}", world.log());
    }
    assert!(before.iter().all(|file| file.exists()));
    clone.signal(Signal::CONT);
    assert!(clone.running.wait().status.success());
    let handed = files(&objects(world, "ours"));
    assert!(handed.iter().any(|file| planned.contains(&inode(file))));
    is_like_plain(&stage, "ours");
    while !world.log().contains(" had 51 packs and has ") {
        assert!(Instant::now() < deadline, "never ends: {}", world.log());
        yield_now();
    }
    assert!(before.iter().any(|file| !file.exists()));
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn a_clone_whose_helper_is_killed_while_it_is_handed_packs_leaves_nothing_and_works_the_next_time()
{
    let stage = stage();
    let world = &stage.world;
    let clone = StoppedClone::new(&stage, "ours");
    clone.signal(Signal::KILL);
    let ran = clone.running.wait();
    assert!(!ran.status.success(), "{ran}");
    assert!(!world.path("ours").exists(), "git takes it away");
    stage.clone(&stage.url, "ours").ok();
    is_linked(world, "ours");
    is_like_plain(&stage, "ours");
}

#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn a_clone_that_is_killed_with_all_its_programs_can_be_brought_to_its_end_and_keeps_no_lock() {
    let stage = stage();
    let world = &stage.world;
    let clone = StoppedClone::new(&stage, "ours");
    clone.running.kill_group(Signal::KILL);
    // strace, which held it, may be gone before it.
    let _ = kill_process(clone.helper, Signal::KILL);
    drop(clone);
    assert!(
        world.path("ours/.git").exists(),
        "nobody could take it away"
    );
    let left = files(&objects(world, "ours"));
    let is_lock = |file: &&PathBuf| file.extension() == Some("keep".as_ref());
    assert_eq!(left.iter().find(is_lock), None);
    world.git(["fetch", "-q"]).at("ours").ok();
    let theirs = world.git(["rev-parse", "origin/main"]).at("ours").ok();
    assert_eq!(Some(theirs.line().to_owned()), stage.project.tip("main"));
    let head = ["symbolic-ref", "HEAD", "refs/heads/main"];
    world.git(head).at("ours").ok();
    world
        .git(["reset", "-q", "--hard", "origin/main"])
        .at("ours")
        .ok();
    world.git(["fsck", "--full", "--strict"]).at("ours").ok();
}

/// Takes five seconds: each of seven errors is given to each of two system calls, and the clone is compared with a
/// plain one.
#[test]
#[cfg_attr(not(strace), ignore = "needs strace")]
fn a_clone_whose_files_cannot_be_linked_or_written_is_done_by_git() {
    let stage = stage();
    let world = &stage.world;
    for error in [
        "EXDEV", "EPERM", "EMLINK", "EROFS", "ENOSPC", "EDQUOT", "EIO",
    ] {
        for call in ["linkat", "copy_file_range"] {
            let dir = format!("{call}-{error}");
            // A copy is then made by other means, where there are some.
            strace_clone(&stage, call, &format!("error={error}"), &dir).ok();
            assert!(shared(world, &objects(world, &dir)).is_empty());
            is_like_plain(&stage, &dir);
        }
    }
}

#[test]
fn a_client_that_scribbles_into_its_packs_costs_the_mirror_no_branch_of_its_own() {
    let stage = with_an_idea();
    let world = &stage.world;
    for file in files(&objects(world, "theirs")) {
        fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("theirs");
        let open = fs::OpenOptions::new().write(true).open(&file);
        let open = open.expect("theirs");
        let length = open.metadata().expect("there").len();
        for at in (0..length).step_by(16) {
            open.write_all_at(b"?", at).expect("theirs");
        }
    }
    // A daemon looks at what it finds when it starts.
    world.mirrord(["stop"]).ok();
    world.mirrord(["sync", "-q", "work"]).ok();
    world.git(["clone", "-q", "mirror::work", "fresh"]).ok();
    let of = |dir: &str, name: &str| {
        let found = world.git(["rev-parse", name]).at(dir).ok();
        found.line().to_owned()
    };
    assert_eq!(of("fresh", "origin/idea"), of("ours", "HEAD"));
    assert_eq!(Some(of("fresh", "origin/main")), stage.project.tip("main"));
    let whole = ["fsck", "--full", "--strict"];
    world.git(whole).at("fresh").ok();
}

//! Others use, stop and remove a mirror that is being repacked, and nothing that somebody reads is dropped.

use std::{fs, thread::yield_now, time::Instant};

use tests::Running;

use super::{EVENT_TIMEOUT, MANY, Shelf, packs, unfinished};

impl Shelf {
    /// Starts a client that plays git, reads the mirror until [`lets_go`](Self::lets_go), and then wants all of it.
    #[track_caller]
    fn reader(&self) -> Running {
        let script = "mkfifo more; { echo option followtags true; echo connect git-upload-pack; cat more; } | git-remote-mirror origin fork";
        let reader = self.fork.world.program("sh", ["-c", script]).start();
        reader.printed("version 2");
        reader
    }

    /// Lets that client read on, and asserts that it gets everything.
    #[track_caller]
    fn lets_go(&self, reader: Running, commit: &str) {
        let want = format!("want {commit}\n");
        let question = format!(
            "0011command=fetch0001{:04x}{want}0009done\n00000000",
            want.len() + 4
        );
        fs::write(self.fork.world.path("more"), question).expect("it is read");
        let ran = reader.wait();
        assert!(ran.status.success(), "{ran}");
        let output = ["packfile", "PACK", "100% ("];
        let all = output.iter().all(|word| ran.stdout.contains(word));
        assert!(all && !ran.stdout.contains("fatal"), "{ran}");
    }

    /// Makes the daemon's next repacks wait before they do anything.
    #[track_caller]
    fn hold_repacks(&self) {
        self.fork.world.program("mkfifo", ["begun", "go-on"]).ok();
        let root = self.fork.world.root().display();
        self.install_nice(&format!(
            "printf '%s\\n' \"$*\" >'{root}/begun'\nread line <'{root}/go-on'\nPATH=${{PATH#*:}} exec nice \"$@\"\n"
        ));
    }

    /// Waits until a repack has begun; returns its command line.
    #[track_caller]
    fn repack_begins(&self) -> String {
        let begun = self.fork.world.program("cat", ["begun"]).ok();
        begun.line().to_owned()
    }

    /// Releases a repack that waits.
    #[track_caller]
    fn repack_goes_on(&self) {
        let tell = self.fork.world.program("sh", ["-c", "echo >go-on"]);
        tell.ok();
    }
}

#[test]
fn nobody_waits_for_a_repack() {
    let mut shelf = Shelf::new();
    shelf.hold_repacks();
    shelf.add_packs(MANY);
    shelf.sync("one");
    let command = shelf.repack_begins();
    assert!(command.starts_with("-n 10 "), "{command}");
    assert!(command.contains("/git "), "{command}");
    let fork = &shelf.fork;
    fork.world.clone_mirror("fork", "fresh").ok();
    shelf.sync("two");
    fork.ours(&["pull", "-q", "origin", "main"]).ok();
    fork.commit("ours", "three");
    fork.push("ours", &["-q", "HEAD:main"]).ok();
    fork.push("ours", &["-q", "HEAD:mine"]).ok();
    fork.theirs(&["fetch", "-q"]).ok();
    fork.set("fork", &["--push", "yes"]).ok();
    fork.world.mirrord(["rename", "fork", "other"]).ok();
    fork.world.mirrord(["rename", "other", "fork"]).ok();
    assert!(
        packs(&shelf.mirror(), "pack").len() > MANY,
        "it still waits"
    );
    shelf.repack_goes_on();
    shelf.settles();
    shelf.is_whole();
    for name in ["two", "three"] {
        let path = format!("origin/main:{name}");
        assert!(fork.tip("theirs", &path).is_some(), "{name}");
    }
}

#[test]
fn packs_that_a_clone_reads_are_not_removed_before_its_end() {
    let mut shelf = Shelf::new();
    shelf.sync("before");
    let commit = shelf.fork.project.tip("main").expect("there");
    let reader = shelf.reader();
    shelf.add_packs(MANY);
    let before = packs(&shelf.mirror(), "pack");
    shelf.sync("after");
    let new = || &packs(&shelf.mirror(), "pack") - &before;
    // What the sync has brought, and what the repack has made.
    let deadline = Instant::now() + EVENT_TIMEOUT;
    while new().len() < 2 {
        assert!(Instant::now() < deadline, "there is no new pack");
        yield_now();
    }
    // Others come and go, and it is waited for all the same.
    shelf.fork.world.clone_mirror("fork", "fresh").ok();
    shelf.sync("meanwhile");
    let there = packs(&shelf.mirror(), "pack");
    assert!(before.is_subset(&there), "all that is read is there");
    shelf.lets_go(reader, &commit);
    shelf.settles();
    shelf.is_whole();
}

#[test]
fn a_reader_that_outlives_its_daemon_keeps_what_it_reads() {
    let mut shelf = Shelf::new();
    shelf.sync("before");
    let commit = shelf.fork.project.tip("main").expect("there");
    let reader = shelf.reader();
    shelf.fork.world.kill_daemon();
    shelf.add_packs(MANY);
    let before = packs(&shelf.mirror(), "pack");
    shelf.sync("after");
    let new = || &packs(&shelf.mirror(), "pack") - &before;
    let deadline = Instant::now() + EVENT_TIMEOUT;
    while new().len() < 2 {
        assert!(Instant::now() < deadline, "there is no new pack");
        yield_now();
    }
    shelf.sync("meanwhile");
    assert!(before.is_subset(&packs(&shelf.mirror(), "pack")));
    shelf.lets_go(reader, &commit);
    shelf.settles();
    shelf.is_whole();
}

#[test]
fn the_end_of_the_daemon_ends_a_repack_at_once_and_leaves_nothing() {
    let mut shelf = Shelf::new();
    shelf.hold_repacks();
    shelf.add_packs(MANY);
    shelf.sync("one");
    shelf.repack_begins();
    let before = packs(&shelf.mirror(), "pack");
    let began = Instant::now();
    shelf.fork.world.mirrord(["stop"]).ok();
    assert!(began.elapsed() < EVENT_TIMEOUT / 2, "{:?}", began.elapsed());
    assert_eq!(packs(&shelf.mirror(), "pack"), before);
    assert_eq!(unfinished(&shelf.mirror()), [""; 0]);
    assert_eq!(shelf.fork.world.left_running(EVENT_TIMEOUT / 6), [""; 0]);
    let log = shelf.fork.world.log();
    assert!(!log.contains("cannot repack"), "that is no failure: {log}");
    shelf.is_whole();
    // The next daemon does it.
    fs::remove_file(shelf.fork.world.path("bin/nice")).expect("removed");
    shelf.sync("two");
    shelf.settles();
    shelf.is_whole();
}

#[test]
fn a_mirror_is_removed_in_the_middle_of_its_repack() {
    let mut shelf = Shelf::new();
    shelf.hold_repacks();
    shelf.add_packs(MANY);
    shelf.sync("one");
    shelf.repack_begins();
    shelf.fork.world.mirrord(["remove", "fork"]).ok();
    shelf.repack_goes_on();
    shelf.fork.world.mirrord(["stop"]).ok();
    assert_eq!(shelf.fork.world.mirrors(), [""; 0]);
    let log = shelf.fork.world.log();
    assert!(!log.contains("cannot repack"), "that is no failure: {log}");
}

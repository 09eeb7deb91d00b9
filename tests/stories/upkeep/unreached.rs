//! Unreachable objects are removed from the disk, long after they have left the history, and no client ever misses one.

use std::{
    fs::File,
    path::Path,
    thread::yield_now,
    time::{Duration, Instant, SystemTime},
};

use super::{EVENT_TIMEOUT, Shelf, packs};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Shelf {
    /// Makes a file of the mirror look as if it had been written so many days ago.
    #[track_caller]
    fn ages(&self, file: &str, days: u32) {
        let file = File::open(self.mirror().join(file));
        let written = SystemTime::now() - days * DAY;
        let aged = file.expect("it is there").set_modified(written);
        aged.expect("it is ours");
    }

    /// Makes the next change one after which the daemon looks for unreachable objects.
    #[track_caller]
    fn is_time_to_look(&self) {
        let looked = self.mirror().join("looked");
        let last = match looked.exists() {
            true => "looked",
            false => "description",
        };
        self.ages(last, 8);
        for name in packs(&self.mirror(), "idx") {
            self.ages(&format!("objects/pack/{name}.idx"), 1);
        }
    }

    /// Makes such a change, and waits until all is done.
    #[track_caller]
    fn is_looked_through(&self, file: &str) {
        self.is_time_to_look();
        self.sync(file);
        let deadline = Instant::now() + EVENT_TIMEOUT;
        while !is_done(&self.mirror()) {
            assert!(Instant::now() < deadline, "nobody looks");
            yield_now();
        }
    }

    /// Has upstream rewrite something large away, and forgets that it was ever there; returns what that was.
    #[track_caller]
    fn loses_something(&self, seed: u64) -> String {
        let mut state = seed;
        let digits = (0..2_400_000).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from_digit((state >> 60) as u32, 16).unwrap_or('0')
        });
        let digits: String = digits.collect();
        let lost = self.fork.project.commit("main", "large", &digits);
        self.fork.world.mirrord(["sync", "-q", "fork"]).ok();
        self.fork.project.force("main", "main~1");
        self.fork.project.commit("main", "next", "next");
        self.fork.world.mirrord(["sync", "-q", "fork"]).ok();
        self.fork.world.mirrord(["stop"]).ok();
        let mirror = self.mirror();
        let script = r#"git for-each-ref --format='delete %(refname)' refs/mirror/history | git update-ref --stdin && git pack-refs --all && rm "$GIT_DIR/packed-refs.copy""#;
        let forget = self.fork.world.program("sh", ["-c", script]);
        forget.env("GIT_DIR", mirror).ok();
        lost
    }

    fn has_object(&self, oid: &str) -> bool {
        let check = self.fork.world.git(["cat-file", "-e", oid]);
        let ran = check.env("GIT_DIR", self.mirror()).run();
        ran.status.success()
    }

    /// The files with which git marks packs of what nothing reached, as files of the mirror.
    fn cruft(&self) -> Vec<String> {
        let names = packs(&self.mirror(), "mtimes").into_iter();
        names
            .map(|name| format!("objects/pack/{name}.mtimes"))
            .collect()
    }
}

/// Whether it has just been looked for what nothing reaches, and nobody is at it any more.
fn is_done(mirror: &Path) -> bool {
    let looked = mirror.join("looked").metadata();
    let looked = looked.and_then(|file| file.modified());
    let is_new = looked.is_ok_and(|at| at + DAY > SystemTime::now());
    let paused = File::options().append(true).open(mirror.join("upkeep"));
    is_new && paused.is_ok_and(|paused| paused.try_lock().is_ok())
}

#[test]
fn unreachable_objects_are_removed_two_weeks_after_they_were_found() {
    let shelf = Shelf::new();
    let fork = &shelf.fork;
    fork.begin("mine");
    fork.push("ours", &["-q", "mine"]).ok();
    let lost = shelf.loses_something(1);
    shelf.sync("soon");
    assert_eq!(shelf.cruft(), [""; 0], "it is not yet time");
    shelf.is_looked_through("a-week-later");
    assert_eq!(shelf.cruft().len(), 1);
    assert!(shelf.has_object(&lost), "nothing goes at once");
    shelf.is_whole();
    shelf.is_looked_through("another-week-later");
    assert!(shelf.has_object(&lost));
    assert_eq!(shelf.cruft().len(), 1);
    for mark in shelf.cruft() {
        shelf.ages(&mark, 15);
    }
    shelf.is_looked_through("two-weeks-later");
    assert!(!shelf.has_object(&lost));
    assert_eq!(shelf.cruft(), [""; 0]);
    shelf.is_whole();
    fork.theirs(&["fetch", "-q"]).ok();
    assert_eq!(fork.tip("theirs", "origin/mine"), fork.tip("ours", "mine"));
    fork.world.clone_mirror("fork", "fresh").ok();
    let fsck = ["fsck", "--full", "--strict"];
    fork.world.git(fsck).at("fresh").ok();
    // Upstream may come back to it.
    fork.project.force("main", &lost);
    fork.world.mirrord(["sync", "-q", "fork"]).ok();
    assert!(shelf.has_object(&lost));
    shelf.is_whole();
}

#[test]
fn unreachable_objects_that_upstream_brings_back_stay() {
    let shelf = Shelf::new();
    let lost = shelf.loses_something(1);
    shelf.is_looked_through("a-week-later");
    assert_eq!(shelf.cruft().len(), 1);
    // It is all there, and so it is not downloaded again.
    shelf.fork.project.force("main", &lost);
    shelf.fork.world.mirrord(["sync", "-q", "fork"]).ok();
    shelf.is_whole();
    for mark in shelf.cruft() {
        shelf.ages(&mark, 15);
    }
    shelf.is_looked_through("two-weeks-later");
    assert_eq!(shelf.cruft(), [""; 0], "it is as any other");
    assert!(shelf.has_object(&lost));
    shelf.is_whole();
    shelf.fork.world.clone_mirror("fork", "fresh").ok();
    let fsck = ["fsck", "--full", "--strict"];
    shelf.fork.world.git(fsck).at("fresh").ok();
}

#[test]
fn the_daemon_is_killed_at_any_step_of_it() {
    let (mut at, mut hits) = (1, 0);
    loop {
        let mut shelf = Shelf::new();
        shelf.fork.begin("mine");
        shelf.fork.push("ours", &["-q", "mine"]).ok();
        shelf.add_local_packs(3);
        let first = shelf.loses_something(1);
        shelf.is_looked_through("a-week-later");
        for mark in shelf.cruft() {
            shelf.ages(&mark, 15);
        }
        let second = shelf.loses_something(2);
        // Now one goes, and the other is found.
        shelf.is_time_to_look();
        let (hit, _) = shelf.is_killed_in_sync("killed", at, is_done);
        hits += usize::from(hit);
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        let fsck = shelf.fork.world.git(fsck);
        fsck.env("GIT_DIR", shelf.mirror()).ok();
        assert!(shelf.has_object(&second), "it has just been found");
        shelf.keeps_apart();
        shelf.is_looked_through("again");
        assert!(!shelf.has_object(&first));
        assert!(shelf.has_object(&second));
        shelf.settles();
        shelf.is_whole();
        shelf.keeps_apart();
        if !hit {
            break;
        }
        at += 13;
    }
    assert!(hits >= 3, "{hits} kills");
}

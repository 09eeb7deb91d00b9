//! The daemon is killed at every step on disk of mending a mirror: the next one goes on, and nothing is lost that was not.

use std::{
    fs::File,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, yield_now},
    time::Instant,
};

use serde_json::Value;
use tests::{Changes, Part, Signal};

use super::{EVENT_TIMEOUT, Hurt, flip, middle};

/// No mending makes so many changes on disk.
const MOST: usize = 2000;

impl Hurt {
    /// Whether the objects of all branches are complete, nothing is laid aside, and the daemon knows.
    fn is_mended(&self) -> bool {
        // Starts it, where it has been killed.
        self.fork.world.mirrord(["list"]).ok();
        let fsck = ["fsck", "--full", "--strict"];
        let fsck = self.fork.world.git(fsck).env("GIT_DIR", self.mirror());
        !self.mirror().join("damaged").exists()
            && self.damage() == Value::Null
            && fsck.run().status.success()
    }

    /// Harms packs of upstream's objects, and the indexes of the others, so that all of them can be had again. Kills the daemon at the so-manieth change on disk that it then makes; tells whether there was one, and how
    /// many there were.
    fn is_killed_at(&self, at: usize) -> (bool, usize) {
        let world = &self.fork.world;
        world.mirrord(["stop"]).ok();
        for pack in self.files(false, "pack") {
            flip(&pack, middle);
        }
        for index in self.files(true, "idx") {
            flip(&index, middle);
        }
        let verified = self.mirror().join("verified");
        File::create(verified).expect("ours");
        let mut changes = Changes::of(&self.mirror().join("objects"));
        let ends = |log: &str| log.matches("is whole again").count();
        let before = ends(&world.log());
        // Ends with the mending, of which nobody but the daemon has an end.
        let meanwhile = world.program("sleep", ["60"]).start();
        world.mirrord(["list"]).ok();
        let is_over = AtomicBool::new(false);
        let hit = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) && ends(&world.log()) == before {
                    yield_now();
                }
                meanwhile.kill(Signal::KILL);
            });
            let hit = world.kill_part_at(&meanwhile, Part::Daemon, &mut changes, at);
            is_over.store(true, Ordering::Relaxed);
            hit
        });
        (hit, changes.count())
    }
}

/// Takes about 40 s: each of eight kills is followed by a whole mending, which fetches and checks every object.
#[test]
fn the_daemon_is_killed_at_any_step_of_mending() {
    let hurt = Hurt::new();
    let (hit, all) = hurt.is_killed_at(MOST);
    assert!(!hit && all > 10, "{all} changes are watched");
    assert!(hurt.is_mended());
    let mut hits = 0;
    for at in (1..all).step_by(all.div_ceil(8)) {
        let (hit, _) = hurt.is_killed_at(at);
        hits += usize::from(hit);
        let deadline = Instant::now() + EVENT_TIMEOUT;
        while !hurt.is_mended() {
            let log = hurt.fork.world.log();
            assert!(Instant::now() < deadline, "killed at {at} of {all}:\n{log}");
        }
        for (branch, tip) in ["refs/heads/topic", "refs/heads/other"]
            .iter()
            .zip(&hurt.tips)
        {
            assert_eq!(hurt.fork.mirror_tip(branch).as_ref(), Some(tip), "at {at}");
        }
    }
    assert!(hits > 4, "{hits} kills of {all} changes");
    hurt.is_whole_again();
}

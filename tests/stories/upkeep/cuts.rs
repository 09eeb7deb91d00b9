//! The daemon is killed at every step of a repack that it makes on disk: nothing is missed, and the next one finishes.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, yield_now},
};

use tests::{Changes, Part, Signal};

use super::{MANY, Shelf, is_settled, packs, unfinished};

/// No upkeep makes so many changes on disk.
const MOST: usize = 2000;

impl Shelf {
    /// Kills the daemon at the so-manieth change of the object store that comes with a sync; tells whether there was one,
    /// and how many there were.
    fn is_killed_at(&mut self, at: usize) -> (bool, usize) {
        self.add_packs(MANY / 2);
        self.add_local_packs(MANY / 2);
        let file = format!("file-{at}-{}", self.blobs.len());
        self.is_killed_in_sync(&file, at, is_settled)
    }

    /// The same, of a sync that brings a file, with an upkeep that `is_done` tells the end of.
    pub(super) fn is_killed_in_sync(
        &self,
        file: &str,
        at: usize,
        is_done: impl Fn(&Path) -> bool + Sync,
    ) -> (bool, usize) {
        self.fork.project.commit("main", file, file);
        let mut changes = Changes::of(&self.mirror().join("objects"));
        let sync = self.fork.world.mirrord(["sync", "-q", "fork"]).start();
        // Ends with the upkeep, of which nobody but the daemon has an end.
        let meanwhile = self.fork.world.program("sleep", ["60"]).start();
        let (world, mirror) = (&self.fork.world, self.mirror());
        let is_over = AtomicBool::new(false);
        let hit = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) && !is_done(&mirror) {
                    yield_now();
                }
                meanwhile.kill(Signal::KILL);
            });
            let hit = world.kill_part_at(&meanwhile, Part::Daemon, &mut changes, at);
            is_over.store(true, Ordering::Relaxed);
            hit
        });
        // It may have been killed under the sync.
        drop(sync.wait());
        (hit, changes.count())
    }
}

/// The state after a kill: whether the new pack was there, whether old ones were being removed, and whether some were removed.
fn stage(mirror: &Path) -> &'static str {
    let left = unfinished(mirror);
    let count = packs(mirror, "idx").len();
    match (left.iter().any(|name| name.ends_with(".going")), count) {
        (true, _) => "old packs go",
        (false, ..MANY) => "it is done",
        (false, _) if left.is_empty() => "between",
        (false, _) => "the new pack is made",
    }
}

/// Takes some twenty seconds: a repack has many steps on disk, and after each kill every object is looked for.
#[test]
fn the_daemon_is_killed_at_any_step_of_a_repack() {
    let mut shelf = Shelf::new();
    let (hit, all) = shelf.is_killed_at(MOST);
    assert!(!hit && all > 4 * MANY, "{all} changes are watched");
    shelf.settles();
    shelf.is_whole();
    // The first ones are the sync's, and the new pack's.
    let first = (1..all / 6).step_by(7);
    let rest = (all / 6..all).step_by(all / 8);
    let planned = first.clone().chain(rest.clone()).count();
    // Changes that the kernel reports together count as one: on a busy machine a kill may come late.
    let more = (all / 6..all).step_by(5);
    let mut stages = Vec::new();
    let wanted = ["the new pack is made", "old packs go"];
    for (tried, at) in first.chain(rest).chain(more).enumerate() {
        if tried >= planned && wanted.iter().all(|stage| stages.contains(stage)) {
            break;
        }
        let (hit, _) = shelf.is_killed_at(at);
        if hit {
            stages.push(stage(&shelf.mirror()));
        }
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        let fsck = shelf.fork.world.git(fsck);
        fsck.env("GIT_DIR", shelf.mirror()).ok();
        shelf.keeps_apart();
        shelf.sync(&format!("next-{at}"));
        shelf.settles();
        shelf.is_whole();
        shelf.keeps_apart();
    }
    for stage in wanted {
        assert!(stages.contains(&stage), "{stages:?} should have '{stage}'");
    }
}

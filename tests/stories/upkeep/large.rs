//! A large mirror gets an index over all of its packs and a graph of its commits, and nobody gets a wrong answer from them.

use std::{fs, thread::yield_now, time::Instant};

use tests::{GitLab, World};

use super::{EVENT_TIMEOUT, MANY, Shelf, install_nice, packs};
use crate::{local::fork_of, push_pair::fill, stage::Stage};

/// So many commits make more objects than a mirror may have without them.
const COMMITS: usize = 7000;

impl Shelf {
    fn large(prepare: impl FnOnce(&World, &GitLab)) -> Self {
        let stage = Stage::new(|project| {
            project.history(COMMITS);
            fill(project);
        });
        prepare(&stage.world, &stage.gitlab);
        Self::of(fork_of(stage))
    }

    /// The same, whose index is not written before [`index_goes_on`](Self::index_goes_on) lets it; returns when it would be.
    #[track_caller]
    fn large_and_held() -> Self {
        let shelf = Self::large(|world, _| {
            world.program("mkfifo", ["begun", "go-on"]).ok();
            let root = world.root().display();
            let script = format!(
                "case \"$*\" in *multi-pack-index*) echo >'{root}/begun'; read line <'{root}/go-on';; esac\n\
                 PATH=${{PATH#*:}} exec nice \"$@\"\n"
            );
            install_nice(world, &script);
        });
        shelf.fork.world.program("cat", ["begun"]).ok();
        shelf
    }

    /// Releases the index that waits to be written, and all later ones.
    #[track_caller]
    fn index_goes_on(&self) {
        fs::remove_file(self.fork.world.path("bin/nice")).expect("removed");
        let tell = self.fork.world.program("sh", ["-c", "echo >go-on"]);
        tell.ok();
    }

    fn is_indexed(&self) -> bool {
        let objects = self.mirror().join("objects");
        let files = ["pack/multi-pack-index", "info/commit-graph"];
        files.iter().all(|file| objects.join(file).exists())
    }

    /// Waits until it has been told so many times that the mirror has them.
    #[track_caller]
    fn is_indexed_for_the(&self, times: usize) {
        let deadline = Instant::now() + EVENT_TIMEOUT;
        let text = "'fork' has an index over all of its packs after ";
        while self.fork.world.log().matches(text).count() < times {
            assert!(Instant::now() < deadline, "{}", self.fork.world.log());
            yield_now();
        }
        assert!(self.is_indexed());
    }

    /// Asserts that git finds no fault in them, and that a new clone is what it would be without them.
    #[track_caller]
    fn is_served_as_ever(&self, name: &str) {
        let fork = &self.fork;
        for check in [["multi-pack-index", "verify"], ["commit-graph", "verify"]] {
            fork.world.git(check).env("GIT_DIR", self.mirror()).ok();
        }
        let refs = |dir: &str| {
            let args = ["for-each-ref", "--format=%(objectname) %(refname)"];
            fork.world.git(args).at(dir).ok().stdout
        };
        fork.world.clone_mirror("fork", name).ok();
        let fsck = ["fsck", "--full", "--strict"];
        fork.world.git(fsck).at(name).ok();
        let plain = format!("{name}-plain");
        let script = r#"git clone -q -c core.multiPackIndex=false --no-local "file://$0" "$1""#;
        let mirror = self.mirror();
        let mirror = mirror.to_str().expect("plain");
        let args = ["-c", script, mirror, plain.as_str()];
        fork.world.program("sh", args).ok();
        assert_eq!(refs(name), refs(&plain));
    }
}

/// Takes some ten seconds: a mirror is indexed from 50,000 objects on, and each of four clones of them is checked.
#[test]
fn after_its_first_download_and_after_each_repack_a_large_mirror_is_indexed() {
    let mut shelf = Shelf::large(|_, _| ());
    shelf.is_indexed_for_the(1);
    shelf.is_served_as_ever("first");
    // What comes, moves and goes later is in none of them.
    let fork = &shelf.fork;
    fork.begin("mine");
    fork.push("ours", &["-q", "mine"]).ok();
    shelf.sync("next");
    shelf.is_served_as_ever("next");
    let fork = &shelf.fork;
    fork.push("ours", &["-q", "--delete", "mine"]).ok();
    fork.project.force("main", "main~2000");
    fork.project.commit("main", "rewritten", "and far behind");
    fork.world.mirrord(["sync", "-q", "fork"]).ok();
    shelf.is_served_as_ever("rewritten");
    shelf.add_packs(MANY);
    shelf.add_local_packs(MANY);
    shelf.sync("many");
    shelf.is_indexed_for_the(2);
    shelf.settles();
    shelf.is_served_as_ever("last");
    shelf.keeps_apart();
    shelf.is_whole();
}

#[test]
fn a_small_mirror_needs_no_index() {
    let mut shelf = Shelf::new();
    shelf.add_packs(MANY);
    shelf.sync("one");
    shelf.settles();
    shelf.fork.world.mirrord(["stop"]).ok();
    assert!(!shelf.is_indexed());
}

/// Takes some seconds: a mirror is indexed from 50,000 objects on.
#[test]
fn while_a_child_of_a_dead_daemon_writes_an_index_no_pack_goes() {
    let mut shelf = Shelf::large_and_held();
    shelf.fork.world.kill_daemon();
    shelf.add_packs(MANY);
    let before = packs(&shelf.mirror(), "idx");
    shelf.sync("one");
    // This one looks, and goes on without.
    shelf.fork.world.mirrord(["stop"]).ok();
    assert!(before.is_subset(&packs(&shelf.mirror(), "idx")));
    shelf.index_goes_on();
    let deadline = Instant::now() + EVENT_TIMEOUT;
    while !shelf.is_indexed() {
        assert!(Instant::now() < deadline, "it never ends");
        yield_now();
    }
    shelf.sync("two");
    shelf.settles();
    shelf.is_indexed_for_the(1);
    shelf.is_served_as_ever("last");
    shelf.is_whole();
}

/// Takes some seconds: a mirror is indexed from 50,000 objects on.
#[test]
fn packs_that_arrive_while_an_index_is_written_are_indexed_without_another_change() {
    let mut shelf = Shelf::large_and_held();
    shelf.add_packs(MANY);
    shelf.sync("one");
    shelf.index_goes_on();
    shelf.settles();
    shelf.is_indexed_for_the(2);
    shelf.is_served_as_ever("last");
    shelf.is_whole();
}

/// Takes some ten seconds: a mirror is indexed from 50,000 objects on, and looked through six times.
#[test]
fn the_daemon_is_killed_while_an_index_is_written() {
    let mut shelf = Shelf::large(|_, _| ());
    shelf.is_indexed_for_the(1);
    for round in 0..3 {
        shelf.add_packs(MANY);
        shelf.sync(&format!("round-{round}"));
        let deadline = Instant::now() + EVENT_TIMEOUT;
        // It is forgotten before the old packs go, and then written again.
        while shelf.is_indexed() {
            assert!(Instant::now() < deadline, "it stays");
            yield_now();
        }
        shelf.fork.world.kill_daemon();
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        let fsck = shelf.fork.world.git(fsck);
        fsck.env("GIT_DIR", shelf.mirror()).ok();
        shelf.sync(&format!("next-{round}"));
        shelf.settles();
        shelf.is_whole();
    }
}

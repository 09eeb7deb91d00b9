//! Many small packs become few while everybody goes on, nothing that somebody reads is dropped, and what the mirror alone
//! has stays apart.

mod apart;
mod beside;
mod cuts;
mod large;
mod unreached;

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread::yield_now,
    time::{Duration, Instant},
};

use tests::{World, public_refs};

use crate::{local::fork, stage::Stage};

/// How many packs a mirror may have.
const MOST: usize = 50;

/// More of them than it may have.
const MANY: usize = 55;

/// The content of `.keep` files of packs that are kept apart.
const MARK: &str = "has what this mirror alone has\n";

/// How long an upkeep may take that is waited for.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A fork whose mirror gets many packs.
struct Shelf {
    fork: Stage,
    /// Objects that the mirror must have, beside those that its refs reach.
    blobs: Vec<String>,
    /// Those of them that are local to the mirror.
    locals: BTreeSet<String>,
}

impl Shelf {
    fn new() -> Self {
        Self::of(fork())
    }

    fn of(fork: Stage) -> Self {
        Self {
            fork,
            blobs: Vec::new(),
            locals: BTreeSet::new(),
        }
    }

    fn mirror(&self) -> PathBuf {
        self.fork.world.only_mirror()
    }

    /// Adds so many packs to the mirror, each with one object that nobody else has.
    #[track_caller]
    fn add_packs(&mut self, count: usize) {
        let first = self.blobs.len();
        let mut stream = String::new();
        for number in first..first + count {
            let args = format!("blob {number} of many");
            stream += &format!("blob\nmark :1\ndata {}\n{args}\nget-mark :1\n", args.len());
            stream += "checkpoint\n\n";
        }
        let import = ["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"];
        let git = self.fork.world.git(import).env("GIT_DIR", self.mirror());
        let made = git.stdin(stream).ok();
        self.blobs.extend(made.stdout.lines().map(str::to_owned));
        assert_eq!(self.blobs.len(), first + count);
    }

    /// The same, and keeps them apart, as the packs of pushes are that stay here.
    #[track_caller]
    fn add_local_packs(&mut self, count: usize) {
        let (first, before) = (self.blobs.len(), packs(&self.mirror(), "pack"));
        self.add_packs(count);
        self.locals.extend(self.blobs[first..].iter().cloned());
        for name in &packs(&self.mirror(), "pack") - &before {
            let mark = self.mirror().join(format!("objects/pack/{name}.keep"));
            fs::write(mark, MARK).expect("written");
        }
    }

    /// Asserts that what the mirror alone has is in packs that are kept apart, and in no other.
    #[track_caller]
    fn keeps_apart(&self) {
        assert!(self.locals.is_subset(&self.objects(true)), "it is kept");
        let theirs = self.objects(false);
        assert!(self.locals.is_disjoint(&theirs), "nobody is given it");
    }

    /// Commits at upstream, and syncs the mirror.
    #[track_caller]
    fn sync(&self, file: &str) {
        self.fork.project.commit("main", file, file);
        self.fork.world.mirrord(["sync", "-q", "fork"]).ok();
    }

    /// Waits until the mirror has few packs, and nothing is left of those that went.
    #[track_caller]
    fn settles(&self) {
        let mirror = self.mirror();
        let deadline = Instant::now() + EVENT_TIMEOUT;
        // The daemon does this when nobody waits for it, which is no event for anybody.
        while !is_settled(&mirror) {
            assert!(
                Instant::now() < deadline,
                "never came to rest: {:?} and {:?}",
                packs(&mirror, "idx"),
                unfinished(&mirror)
            );
            yield_now();
        }
    }

    /// Asserts that the mirror has everything that it ever had, and shows what upstream and its own people have.
    #[track_caller]
    fn is_whole(&self) {
        self.fork.is_sound();
        let world = &self.fork.world;
        let asked: String = self.blobs.iter().map(|oid| format!("{oid}\n")).collect();
        let check = ["cat-file", "--batch-check=%(objecttype)"];
        let found = world.git(check).env("GIT_DIR", self.mirror());
        let found = found.stdin(asked).ok();
        let lost = found.stdout.lines().filter(|line| *line != "blob");
        assert_eq!(lost.count(), 0, "{found}");
        let shown = public_refs(world, &self.mirror());
        let main = shown.iter().find(|(name, _)| name == "refs/heads/main");
        assert_eq!(
            main.map(|(_, oid)| oid.clone()),
            self.fork.project.tip("main")
        );
    }

    /// Puts something before the program with which the daemon makes its repacks nice.
    #[track_caller]
    fn install_nice(&self, script: &str) {
        install_nice(&self.fork.world, script);
    }
}

/// Puts something before the program with which the daemon of a world makes its repacks nice.
#[track_caller]
fn install_nice(world: &World, script: &str) {
    let bin = world.path("bin");
    fs::create_dir_all(&bin).expect("it is ours");
    let nice = bin.join("nice");
    // What is looked into, and what is made for clones, is no repack.
    let others = "case \"$*\" in *' verify-pack '*|*'/tips/pack'*|*' --all --quiet'*)\n\
                  \tPATH=${PATH#*:} exec nice \"$@\"\nesac\n";
    fs::write(&nice, format!("#!/bin/sh\n{others}{script}")).expect("written");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&nice, mode).expect("it is ours");
}

/// Whether a mirror has few packs, and nothing is left of those that went.
fn is_settled(mirror: &Path) -> bool {
    packs(mirror, "idx").len() <= MOST && unfinished(mirror).is_empty()
}

/// The names of the packs of a mirror that have a file with this ending. Of those with a mark, `pack` tells nothing.
fn packs(mirror: &Path, ending: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(mirror.join("objects/pack")).expect("it is there");
    let names: BTreeSet<_> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let with = |ending: &str| -> BTreeSet<String> {
        let names = names.iter();
        let stems = names.filter_map(|name| name.strip_suffix(&format!(".{ending}")));
        stems.map(str::to_owned).collect()
    };
    match ending {
        "pack" => &with("pack") - &with("keep"),
        ending => with(ending),
    }
}

/// Unfinished files in a mirror's object store.
fn unfinished(mirror: &Path) -> Vec<String> {
    let objects = mirror.join("objects");
    let all = [objects.clone(), objects.join("pack")].into_iter();
    let names = all.flat_map(|dir| fs::read_dir(dir).expect("it is there").flatten());
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let is_wrong = |name: &String| {
        ["incoming-", "tmp_", ".tmp-"]
            .iter()
            .any(|begin| name.starts_with(begin))
            || name.ends_with(".going")
    };
    names.filter(is_wrong).collect()
}

#[test]
fn after_many_small_syncs_a_mirror_has_few_packs_and_every_object() {
    let mut shelf = Shelf::new();
    shelf.add_packs(MOST - 10);
    for number in 0..20 {
        shelf.sync(&format!("file-{number}"));
    }
    shelf.settles();
    shelf.is_whole();
    let log = shelf.fork.world.log();
    assert!(log.contains("'fork' had 51 packs and has "), "{log}");
    // They can be cloned as ever.
    shelf.fork.world.clone_mirror("fork", "fresh").ok();
    let plain = ["clone", "-q", "--single-branch", &shelf.fork.url, "plain"];
    shelf.fork.world.git(plain).ok();
    assert_eq!(
        shelf.fork.tip("fresh", "HEAD"),
        shelf.fork.tip("plain", "HEAD")
    );
    let fsck = ["fsck", "--full", "--strict"];
    shelf.fork.world.git(fsck).at("fresh").ok();
}

#[test]
fn a_push_may_be_the_one_that_is_too_many_whether_it_goes_to_upstream_or_stays() {
    for (branch, refspec) in [("main", "HEAD:main"), ("mine", "HEAD:mine")] {
        let mut shelf = Shelf::new();
        shelf.fork.begin("ours");
        shelf.add_packs(MANY);
        shelf.fork.push("ours", &["-q", refspec]).ok();
        shelf.settles();
        shelf.is_whole();
        let mirror_tip = shelf.fork.mirror_tip(&format!("refs/heads/{branch}"));
        assert_eq!(mirror_tip, shelf.fork.tip("ours", "HEAD"));
    }
}

#[test]
fn after_many_small_pushes_that_stay_here_a_mirror_has_few_packs_and_every_object() {
    let mut shelf = Shelf::new();
    shelf.add_local_packs(MOST - 10);
    let fork = &shelf.fork;
    fork.begin("mine");
    for number in 0..20 {
        let tip = fork.commit("ours", &format!("file-{number}"));
        fork.push("ours", &["-q", "mine"]).ok();
        assert_eq!(fork.mirror_tip("refs/heads/mine"), Some(tip));
    }
    shelf.settles();
    shelf.is_whole();
    let locals = shelf.reached(&["mine", "--not", "main"]);
    assert!(locals.is_subset(&shelf.objects(true)), "they stay apart");
    assert!(locals.is_disjoint(&shelf.objects(false)));
    let log = fork.world.log();
    let output = log.matches("'fork' had 51 packs and has ").count();
    assert_eq!(output, 1, "{log}");
    fork.theirs(&["fetch", "-q"]).ok();
    let theirs = fork.tip("theirs", "origin/mine");
    assert_eq!(theirs, fork.tip("ours", "mine"));
}

#[test]
fn a_few_packs_are_left_as_they_are() {
    let mut shelf = Shelf::new();
    shelf.sync("first");
    let count = packs(&shelf.mirror(), "pack").len();
    shelf.add_packs(MOST - count - 2);
    shelf.add_local_packs(1);
    let before = packs(&shelf.mirror(), "idx");
    shelf.sync("last");
    shelf.fork.world.mirrord(["stop"]).ok();
    let after = packs(&shelf.mirror(), "idx");
    assert_eq!(after.len(), MOST);
    assert!(before.is_subset(&after));
    shelf.is_whole();
}

#[test]
fn a_repack_that_fails_is_said_in_the_log_and_harms_nobody() {
    let mut shelf = Shelf::new();
    shelf.install_nice("echo 'fatal: not today' >&2\nexit 128\n");
    shelf.add_packs(MANY);
    let before = packs(&shelf.mirror(), "pack");
    let text = "cannot repack 'fork': not today";
    shelf.sync("one");
    let deadline = Instant::now() + EVENT_TIMEOUT;
    while !shelf.fork.world.log().contains(text) {
        assert!(Instant::now() < deadline, "{}", shelf.fork.world.log());
        yield_now();
    }
    // Not at once again.
    shelf.sync("two");
    shelf.fork.world.clone_mirror("fork", "fresh").ok();
    shelf.fork.world.mirrord(["stop"]).ok();
    assert_eq!(shelf.fork.world.log().matches(text).count(), 1);
    assert!(before.is_subset(&packs(&shelf.mirror(), "pack")));
    shelf.is_whole();
}

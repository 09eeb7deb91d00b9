//! A mirror that is damaged says so, mends itself as far as anybody can, and never throws away what is only in it.

mod cuts;
mod files;

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    thread::yield_now,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;
use tests::same_clone;

use crate::{linked::as_if_untouched, local::fork, stage::Stage};

/// How long the daemon may take for what nobody waits for.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Changes one byte of a file; a disk that loses a bit leaves the file's time as it was.
fn flip(file: &Path, at: impl FnOnce(u64) -> u64) {
    fs::set_permissions(file, Permissions::from_mode(0o644)).expect("ours");
    let open = File::options().read(true).write(true).open(file);
    let open = open.expect("ours");
    let found = open.metadata().expect("ours");
    let at = at(found.len());
    let mut byte = [0];
    open.read_exact_at(&mut byte, at).expect("ours");
    open.write_all_at(&[!byte[0]], at).expect("ours");
    let written = found.modified().expect("known");
    open.set_modified(written).expect("ours");
    fs::set_permissions(file, Permissions::from_mode(0o444)).expect("ours");
}

fn middle(length: u64) -> u64 {
    length / 2
}

/// A mirror with what upstream has, and two branches of its own.
struct Hurt {
    fork: Stage,
    /// The commits of the branches.
    tips: [String; 2],
}

impl Hurt {
    fn new() -> Self {
        let fork = fork();
        let tips = ["topic", "other"].map(|branch| {
            let tip = fork.begin(branch);
            fork.push("ours", &[branch]).ok();
            tip
        });
        Self { fork, tips }
    }

    fn mirror(&self) -> PathBuf {
        self.fork.world.only_mirror()
    }

    /// The files of this ending of packs that have what the mirror alone has, or of the others.
    fn files(&self, locals: bool, ending: &str) -> Vec<PathBuf> {
        let folder = self.mirror().join("objects/pack");
        let entries = fs::read_dir(folder).expect("it is there").flatten();
        let paths = entries.map(|entry| entry.path());
        let mut files: Vec<_> = paths
            .filter(|path| path.extension() == Some(ending.as_ref()))
            .filter(|path| path.with_extension("keep").exists() == locals)
            .collect();
        files.sort();
        assert!(!files.is_empty(), "there are such packs");
        files
    }

    /// The pack in which the tip of a branch lies that is only here.
    fn pack_of(&self, tip: &str) -> PathBuf {
        let mut packs = self.files(true, "idx");
        packs.retain(|index| {
            let index = index.to_str().expect("plain");
            let verify = self.fork.world.git(["verify-pack", "-v", index]);
            let listed = verify.env("GIT_DIR", self.mirror()).ok();
            listed.stdout.contains(tip)
        });
        assert_eq!(packs.len(), 1, "{tip} is in one pack");
        packs.remove(0)
    }

    /// A daemon that was stopped has forgotten what it had open.
    fn harm(&self, harm: impl FnOnce()) {
        self.fork.world.mirrord(["stop"]).ok();
        harm();
        self.fork.world.mirrord(["list"]).ok();
    }

    /// The damage as `status` prints it.
    fn damage(&self) -> Value {
        let status = self.fork.world.mirrord(["status", "--json"]).ok();
        let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
        status["states"][0]["damage"].clone()
    }

    /// Waits until the daemon's log says something so often.
    #[track_caller]
    fn logs(&self, text: &str) {
        let deadline = Instant::now() + EVENT_TIMEOUT;
        // What nobody waits for is no event for anybody.
        while !self.fork.world.log().contains(text) {
            let log = self.fork.world.log();
            assert!(Instant::now() < deadline, "never said {text:?}:\n{log}");
            yield_now();
        }
    }

    /// Waits until `status` says something.
    #[track_caller]
    fn says(&self, text: &str) {
        let deadline = Instant::now() + EVENT_TIMEOUT;
        let status = || self.fork.world.mirrord(["status"]).ok().stdout;
        while !status().contains(text) {
            assert!(
                Instant::now() < deadline,
                "never said {text:?}:\n{}",
                status()
            );
        }
    }

    /// Waits until all is whole, and asserts that nothing was lost.
    #[track_caller]
    fn is_whole_again(&self) {
        self.logs("is whole again");
        assert_eq!(self.damage(), Value::Null);
        assert!(!self.mirror().join("damaged").exists(), "nothing is left");
        let world = &self.fork.world;
        let fsck = world
            .git(["fsck", "--full", "--strict"])
            .env("GIT_DIR", self.mirror());
        fsck.ok();
        for (branch, tip) in ["refs/heads/topic", "refs/heads/other"]
            .iter()
            .zip(&self.tips)
        {
            assert_eq!(self.fork.mirror_tip(branch).as_ref(), Some(tip));
        }
        world.clone_mirror("fork", "after").ok();
        world.git(["fsck", "--full"]).at("after").ok();
        let plain = self.mirror();
        world
            .git(["clone", "-q", plain.to_str().expect("plain"), "plain"])
            .ok();
        let origin = ["remote", "set-url", "origin", "mirror::fork"];
        world.git(origin).at("plain").ok();
        same_clone(world, &world.path("after"), &world.path("plain"));
    }
}

#[test]
fn a_bad_pack_of_upstreams_objects_is_fetched_again_and_what_is_only_here_stays() {
    let hurt = Hurt::new();
    hurt.harm(|| {
        for pack in hurt.files(false, "pack") {
            flip(&pack, middle);
        }
        fs::remove_file(hurt.mirror().join("verified")).expect("there");
    });
    hurt.is_whole_again();
    let log = hurt.fork.world.log();
    assert!(log.contains("'fork' is damaged: "), "{log}");
}

#[test]
fn packs_of_upstreams_objects_that_are_gone_are_fetched_again() {
    let hurt = Hurt::new();
    hurt.harm(|| {
        for pack in hurt.files(false, "pack") {
            fs::remove_file(pack.with_extension("idx")).expect("there");
            fs::remove_file(pack).expect("there");
        }
    });
    hurt.is_whole_again();
}

#[test]
fn a_bad_index_is_made_anew_without_upstream() {
    let hurt = Hurt::new();
    hurt.harm(|| {
        for locals in [true, false] {
            for index in hurt.files(locals, "idx") {
                flip(&index, middle);
            }
        }
        fs::remove_file(hurt.mirror().join("verified")).expect("there");
        fs::rename(hurt.fork.project.dir(), hurt.fork.world.path("away")).expect("ours");
    });
    hurt.logs("is whole again");
    let log = hurt.fork.world.log();
    assert!(!log.contains("what upstream has is fetched again"), "{log}");
    fs::rename(hurt.fork.world.path("away"), hurt.fork.project.dir()).expect("ours");
    hurt.is_whole_again();
}

#[test]
fn a_bit_that_a_disk_loses_in_silence_is_found_at_the_weekly_look() {
    let hurt = Hurt::new();
    let checked = hurt.mirror().join("checked");
    hurt.harm(|| {
        for pack in hurt.files(false, "pack") {
            flip(&pack, middle);
        }
        as_if_untouched(&hurt.mirror());
        let long_ago = SystemTime::now() - Duration::from_secs(9 * 24 * 60 * 60);
        let file = File::create(&checked).expect("ours");
        file.set_modified(long_ago).expect("ours");
    });
    hurt.is_whole_again();
    let looked = fs::metadata(checked)
        .expect("there")
        .modified()
        .expect("known");
    assert!(
        looked
            .elapsed()
            .is_ok_and(|age| age < Duration::from_secs(3600))
    );
}

#[test]
fn a_branch_that_is_lost_is_named_until_it_is_pushed_again_and_no_other_is_harmed() {
    let hurt = Hurt::new();
    let (fork, [topic, _]) = (&hurt.fork, &hurt.tips);
    hurt.harm(|| {
        let index = hurt.pack_of(topic);
        for ending in ["idx", "pack", "rev", "keep"] {
            let _ = fs::remove_file(index.with_extension(ending));
        }
    });
    hurt.logs("lacks something of refs/heads/topic");
    hurt.says(
        "damaged: something is lost of refs/heads/topic; push it again from where it still is",
    );
    let damage = hurt.damage();
    assert_eq!(damage["lost"], serde_json::json!(["refs/heads/topic"]));
    assert_eq!(damage["asked_upstream"], true);
    // The others are served and pushed as before.
    fork.theirs(&["fetch", "-q", "origin", "other", "main"])
        .ok();
    fork.project.commit("main", "new", "new");
    fork.theirs(&["pull", "-q", "origin", "main"]).ok();
    fork.ours(&["switch", "-q", "other"]).ok();
    fork.commit("ours", "more");
    fork.push("ours", &["other"]).ok();
    fork.ours(&["reset", "-q", "--hard", "HEAD~"]).ok();
    fork.push("ours", &["--force", "other"]).ok();
    // A clone does not get what is not there.
    fork.world.clone_mirror("fork", "meanwhile").ok();
    fork.world.git(["fsck"]).at("meanwhile").ok();
    // As the status says.
    fork.push("ours", &["topic"]).ok();
    hurt.is_whole_again();
}

//! Cuts the power right after a push was acknowledged, many times: `cargo run -p tests --bin power_cut -- [COUNT]`, as
//! root on Linux, with `mkfs.ext4`.
//!
//! Everything that the daemon keeps lies on a file system in a file. What a power cut would leave of it is what has
//! reached that file: a copy of it, taken in the moment when `git push` has returned, is mounted and looked into.
//! A plain bare repository of stock git gets the same pushes, for comparison.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use rustix::process::{Pid, Signal, kill_process};
use tests::{Project, Ran, World};

/// The file system's size: small enough to be copied in a moment.
const SIZE: u64 = 96 << 20;

/// Every fourth cut comes after a push that also deletes and creates, not only moves.
const KINDS: usize = 4;

/// A copy may be made so many times until the disk rests under it.
const COPIES: usize = 50;

/// A file system in a file, mounted.
struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes one and mounts it.
    fn new(image: PathBuf, at: &Path) -> Self {
        let file = fs::File::create(&image).expect("the world is ours");
        file.set_len(SIZE).expect("there is room");
        // Without its own lazy writes, which would be in the way of the copies.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        run(Command::new("mkfs.ext4")
            .args(["-q", "-E", lazy])
            .arg(&image));
        Self::mount(image, at)
    }

    fn mount(image: PathBuf, at: &Path) -> Self {
        fs::create_dir_all(at).expect("the world is ours");
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(at));
        Self {
            image,
            at: at.to_owned(),
        }
    }

    /// Returns what is left on disk if the power fails now. The daemon is stopped meanwhile, and a copy counts only if the
    /// disk has not changed during it: otherwise it would mix two moments.
    fn cut(&self, world: &World, at: &Path) -> Self {
        let daemon = world.daemon_pid();
        let daemon = daemon.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let signal = |signal| daemon.map(|pid| kill_process(pid, signal));
        let image = self.image.with_extension("cut");
        signal(Signal::STOP);
        let is_of_one_moment = || {
            fs::copy(&self.image, &image).expect("the disk can be read");
            let bytes = |image| fs::read(image).expect("the disk can be read");
            bytes(&self.image) == bytes(&image)
        };
        let copied = (0..COPIES).any(|_| is_of_one_moment());
        signal(Signal::CONT);
        assert!(copied, "the disk never rests");
        Self::mount(image, at)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg(&self.at));
    }
}

/// The results of the cuts of one way of pushing.
#[derive(Default)]
struct Tally {
    cuts: usize,
    present: usize,
    sound: usize,
}

impl Tally {
    /// Looks at what a cut left: whether `refs` are as they were pushed, and whether git finds no fault. Returns what it says.
    fn look(&mut self, world: &World, repository: &Path, refs: &[(String, Option<String>)]) -> Ran {
        let git = |args: &[&str]| {
            let dir = format!("--git-dir={}", repository.display());
            let args = [&["-c", "safe.directory=*", &dir], args].concat();
            world.git(args).run()
        };
        self.cuts += 1;
        let is_there = |(name, oid): &(String, Option<String>)| {
            let found = git(&["rev-parse", "-q", "--verify", &format!("{name}^{{commit}}")]);
            let found = found.status.success().then(|| found.line().to_owned());
            found == *oid
        };
        self.present += usize::from(refs.iter().all(is_there));
        let fsck = git(&["fsck", "--full", "--no-dangling"]);
        self.sound += usize::from(fsck.status.success());
        fsck
    }

    fn is_perfect(&self) -> bool {
        self.present == self.cuts && self.sound == self.cuts
    }
}

#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn main() -> ExitCode {
    let count = std::env::args()
        .nth(1)
        .map_or(100, |count| count.parse().expect("a number of cuts"));
    if !rustix::process::geteuid().is_root() {
        println!("power_cut mounts file systems, and must be run as root");
        return ExitCode::FAILURE;
    }
    let world = World::new();
    let disk = Disk::new(world.path("ours.img"), &world.mirror_home());
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.commit("main", "file", "first");
    let url = gitlab.url("group/project");
    let ours = through_the_mirror(&world, &project, &url, &disk, count);
    let local = into_the_mirror(&world, &project, &url, &disk, count);
    world.mirrord(["stop"]).ok();
    drop(disk);
    let stock = stock(&world, count);
    for (name, tally) in [
        ("through the mirror", &ours),
        ("local to the mirror", &local),
        ("stock git, bare repository", &stock),
    ] {
        let Tally {
            cuts,
            present,
            sound,
        } = tally;
        println!(
            "{name}: {cuts} power cuts after ok, {present} with what was pushed, {sound} without damage"
        );
    }
    if ours.is_perfect() && local.is_perfect() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Pushes through the mirror and cuts after each ok.
fn through_the_mirror(
    world: &World,
    project: &Project,
    url: &str,
    disk: &Disk,
    count: usize,
) -> Tally {
    world.clone_mirror(url, "work").ok();
    let work = world.path("work");
    let below = below(world, url);
    let mut tally = Tally::default();
    for cut in 0..count {
        let refs = push(world, &work, cut, "main");
        let left = disk.cut(world, &world.path("left"));
        for (name, oid) in &refs {
            assert_eq!(project.tip(name), *oid, "ok means that upstream has it");
        }
        let records = refs
            .iter()
            .map(|(name, oid)| (name.replacen("refs/", "refs/upstream/", 1), oid.clone()));
        let both: Vec<_> = refs.iter().cloned().chain(records).collect();
        say(cut, &tally.look(world, &left.at.join(&below), &both));
    }
    tally
}

/// Pushes what stays in a mirror that tracks `main` alone, and cuts after each ok.
fn into_the_mirror(
    world: &World,
    project: &Project,
    url: &str,
    disk: &Disk,
    count: usize,
) -> Tally {
    // It lies beside the one that there is already.
    let add = ["add", "-q", "fork", url, "--track", "+refs/heads/main"];
    world.mirrord(add).ok();
    let below = below(world, "fork");
    world.clone_mirror("fork", "fork").ok();
    let work = world.path("fork");
    let upstreams = project.refs();
    let mut tally = Tally::default();
    for cut in 0..count {
        let refs = push(world, &work, cut, "mine");
        let left = disk.cut(world, &world.path("left"));
        say(cut, &tally.look(world, &left.at.join(&below), &refs));
    }
    assert_eq!(project.refs(), upstreams, "upstream has what it had");
    tally
}

/// Returns what is wrong after a cut that should have left nothing wrong.
#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn say(cut: usize, fsck: &Ran) {
    if !fsck.status.success() {
        println!("--- after cut {cut}: {fsck}");
    }
}

/// The path of a mirror on the disk.
fn below(world: &World, mirror: &str) -> PathBuf {
    let shown = world.mirrord(["show", mirror]).ok();
    let mut lines = shown.stdout.lines();
    let mirror = lines.find_map(|line| line.strip_prefix("directory: "));
    let mirror = Path::new(mirror.expect("it says where it is"));
    let below = mirror.strip_prefix(world.mirror_home());
    below.expect("it lies there").to_owned()
}

/// Runs the same with a plain bare repository.
fn stock(world: &World, count: usize) -> Tally {
    let disk = Disk::new(world.path("stock.img"), &world.path("stock"));
    let project = Project::new(world.path("stock/project.git"));
    project.commit("main", "file", "first");
    run(&mut Command::new("sync"));
    let url = project.dir().display().to_string();
    world.git(["clone", "-q", &url, "plain"]).ok();
    let work = world.path("plain");
    let mut tally = Tally::default();
    for cut in 0..count {
        let refs = push(world, &work, cut, "main");
        let left = disk.cut(world, &world.path("left"));
        tally.look(world, &left.at.join("project.git"), &refs);
    }
    tally
}

/// Commits and pushes to a branch, and returns what the refs are to be after it.
fn push(world: &World, work: &Path, cut: usize, branch: &str) -> Vec<(String, Option<String>)> {
    let git = |args: &[&str]| world.git(args).at(work).ok().line().to_owned();
    fs::write(work.join("file"), format!("{cut}\n")).expect("the clone is ours");
    git(&["commit", "-q", "-a", "-m", &format!("Commit {cut}")]);
    let tip = git(&["rev-parse", "HEAD"]);
    let branch = format!("refs/heads/{branch}");
    let (create, delete) = (
        format!("refs/heads/kind/{cut}"),
        format!("refs/heads/kind/{}", cut.saturating_sub(KINDS)),
    );
    let moves = format!("main:{branch}");
    let mut refs = vec![(branch, Some(tip.clone()))];
    if !cut.is_multiple_of(KINDS) {
        git(&["push", "-q", "origin", &moves]);
        return refs;
    }
    let (creates, deletes) = (format!("main:{create}"), format!(":{delete}"));
    let mut args = vec!["push", "-q", "origin", &moves, &creates];
    refs.push((create, Some(tip)));
    if cut >= KINDS {
        args.push(&deletes);
        refs.push((delete, None));
    }
    git(&args);
    refs
}

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|err: io::Error| panic!("cannot run {command:?}: {err}"));
    assert!(status.success(), "{command:?} failed");
}

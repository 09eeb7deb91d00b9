//! Small pushes and syncs by the thousands: `cargo run --release -p tests --bin pushes -- [COUNT]` (5,000). In turn a
//! commit goes to a branch that stays in the mirror, one to a branch that goes upstream, and somebody else's is synced.
//!
//! Ten times on the way it prints how many packs the mirror has when nobody waits for it, and how long a clone takes,
//! beside `git clone --local` of the mirror itself. The exit code is 1 when a mirror was left with more than 50 packs.

use std::{
    fs,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use tests::{World, measure::ms};

/// The number of packs that a mirror may have at the end.
const MOST: usize = 50;

/// When the daemon should have found the time.
const SOON: Duration = Duration::from_secs(30);

/// Times of which the median is taken.
const TIMES: usize = 5;

fn packs(mirror: &Path) -> usize {
    let entries = fs::read_dir(mirror.join("objects/pack")).expect("it is there");
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .filter(|path| path.extension() == Some("idx".as_ref()))
        .count()
}

/// Waits until the mirror has few packs; says how many it has then, or after a while.
fn packs_left(mirror: &Path) -> usize {
    let deadline = Instant::now() + SOON;
    while packs(mirror) > MOST && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    packs(mirror)
}

/// Measures how long a clone of each takes, in turns, in milliseconds.
fn clones(world: &World, sources: [&str; 2]) -> [f64; 2] {
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..TIMES {
        for (source, took) in sources.iter().zip(&mut took) {
            let begin = Instant::now();
            world.git(["clone", "-q", "--bare", source, "timed"]).ok();
            took.push(begin.elapsed());
            fs::remove_dir_all(world.path("timed")).expect("the world is ours");
        }
    }
    took.map(|mut took| {
        took.sort_unstable();
        ms(took[TIMES / 2])
    })
}

#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn main() -> ExitCode {
    let count = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let count: usize = count.unwrap_or(5000);
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.history(200);
    project.branch("theirs", "main");
    let track = ["--track=+refs/heads/main", "--track=+refs/heads/theirs"];
    let add = world.mirrord(["add", "work", &gitlab.url("group/project")]);
    add.args(track).ok();
    world.git(["clone", "-q", "mirror::work", "ours"]).ok();
    let mirror = world.only_mirror();
    let (mut most, mut left) = (0, 0);
    for number in 1..=count {
        let message = format!("number {number}");
        let push = |branch: &str| {
            let commit = ["commit", "-q", "--allow-empty", "-m", &message];
            world.git(commit).at("ours").ok();
            let to = format!("HEAD:refs/heads/{branch}");
            world.git(["push", "-q", "origin", &to]).at("ours").ok();
        };
        match number % 3 {
            0 => push("mine"),
            1 => push("main"),
            _ => {
                project.commit("theirs", "file", &message);
                world.mirrord(["sync", "-q", "work"]).ok();
            }
        }
        most = most.max(packs(&mirror));
        if number % (count / 10).max(1) == 0 {
            let now = packs_left(&mirror);
            left = left.max(now);
            let path = mirror.display().to_string();
            let [ours, local] = clones(&world, ["mirror::work", &path]);
            println!(
                "{number}: {now} packs; a clone takes {ours:.0} ms, clone --local {local:.0} ms"
            );
        }
    }
    let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
    world.git(fsck).env("GIT_DIR", &mirror).ok();
    println!("packs: {most} at most, {left} when nobody waits (limit {MOST})");
    ExitCode::from(u8::from(left > MOST))
}

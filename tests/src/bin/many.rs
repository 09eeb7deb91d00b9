//! Many mirrors: `cargo run --release -p tests --bin many -- [MIRRORS [SECONDS [REGISTERED]]]` has a daemon keep so many
//! mirrors of one host (1,000) in step on a schedule that is as tight as it may be for so long (60 s), one in a hundred of
//! them with something new each time it is looked at, then leaves the same mirrors alone with the usual schedule for as
//! long, and in the end starts a daemon with so many mirrors (10,000). The host takes 50 ms for an answer.
//!
//! The exit code is 1 when more than four went at a time, when the daemon took more than 64 MiB, or when it was not ready
//! within 2 s.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use tests::{
    GitLab, World,
    measure::{ms, peak, processor, resident},
};

/// How long an answer of the host takes.
const ANSWER_TIME: Duration = Duration::from_millis(50);

/// The interval of syncs while the number of syncs at once is measured.
const SHORT_INTERVAL: &str = "10s";

/// The number of scheduled syncs that may run at once at one host.
const MAX_AT_ONCE: usize = 4;

/// The memory that the daemon may take, in MiB.
const MAX_MEMORY_MIB: usize = 64;

/// How soon a daemon must be ready.
const MAX_START: Duration = Duration::from_secs(2);

#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn main() -> ExitCode {
    let numbers: Result<Vec<usize>, _> = std::env::args().skip(1).map(|it| it.parse()).collect();
    let (count, seconds, registered) = match numbers.as_deref() {
        Ok([]) => (1000, 60, 10_000),
        Ok([count]) => (*count, 60, 10 * count),
        Ok([count, seconds]) => (*count, *seconds, 10 * count),
        Ok([count, seconds, registered]) => (*count, *seconds, *registered),
        _ => {
            println!("usage: many [MIRRORS [SECONDS [REGISTERED]]]");
            return ExitCode::from(2);
        }
    };
    let time = Duration::from_secs(seconds as u64);
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/base");
    project.history(50);
    for number in 0..20 {
        project.branch(&format!("topic/{number}"), &format!("main~{number}"));
    }
    println!("makes {count} mirrors");
    let model = model(&world, &gitlab);
    (1..count).for_each(|number| copy(&world, &gitlab, &model, number));
    gitlab.takes(ANSWER_TIME);
    every(&world, SHORT_INTERVAL);

    let pid = start(&world).0;
    // What a daemon that starts leaves alone at first is over by now.
    thread::sleep(Duration::from_secs(10));
    let (before, began) = (processor(pid), Instant::now());
    let mut moved = 0;
    gitlab.forget_requests();
    let mut asked = 0;
    while began.elapsed() < time {
        thread::sleep(Duration::from_secs(1));
        asked += gitlab.requests().len();
        gitlab.forget_requests();
        moved += 1;
        // One in a hundred has something new.
        let new = format!("group/new{moved}");
        let other = gitlab.project(&new);
        let refs = "+refs/heads/*:refs/heads/*";
        other.git(["fetch", "-q", &project.url(), refs]).ok();
        other.commit("main", "file", &new);
        for number in (moved % 100..count).step_by(100) {
            gitlab.stand_in(&format!("group/p{number}"), &new);
        }
    }
    let used = processor(pid).0 - before.0;
    let at_once = gitlab.most_at_once();
    let (now, most) = (resident(pid) / 1024, peak(pid) / 1024);
    println!(
        "busy: {asked} requests in {seconds} s, at most {at_once} at a time (limit {MAX_AT_ONCE})"
    );
    println!(
        "      processor {:.1} % of a core, {:.2} ms for each request; memory {now} MiB, {most} MiB at its highest (limit {MAX_MEMORY_MIB})",
        used / time.as_secs_f64() * 100.0,
        used * 1000.0 / asked.max(1) as f64,
    );

    world.mirrord(["stop"]).ok();
    every(&world, "1h");
    let pid = start(&world).0;
    thread::sleep(Duration::from_secs(5));
    gitlab.forget_requests();
    let before = processor(pid);
    thread::sleep(time);
    let used = processor(pid).0 - before.0;
    println!(
        "usual: processor {:.2} % of a core with {} requests in {seconds} s; memory {} MiB",
        used / time.as_secs_f64() * 100.0,
        gitlab.requests().len(),
        resident(pid) / 1024,
    );
    world.mirrord(["stop"]).ok();

    println!("makes {registered} mirrors");
    (count..registered).for_each(|number| copy(&world, &gitlab, &model, number));
    let mut starts: Vec<_> = (0..5)
        .map(|_| {
            let (pid, took) = start(&world);
            let memory = resident(pid) / 1024;
            world.mirrord(["stop"]).ok();
            (took, memory)
        })
        .collect();
    starts.sort();
    let (median, memory) = starts[starts.len() / 2];
    println!(
        "start with {registered} mirrors: ready after {:.0} ms (median of {}, {:.0} to {:.0}; limit {:.0}); memory {memory} MiB",
        ms(median),
        starts.len(),
        ms(starts[0].0),
        ms(starts[starts.len() - 1].0),
        ms(MAX_START),
    );
    let good = at_once <= MAX_AT_ONCE && most < MAX_MEMORY_MIB && median < MAX_START;
    ExitCode::from(u8::from(!good))
}

/// Starts the daemon by a client that wants nothing; returns its process and when it was ready.
fn start(world: &World) -> (u32, Duration) {
    let began = Instant::now();
    // A child of a shell, as it is one of the helper: it leads no group yet.
    // With what a client gives it along.
    let line = "MALLOC_ARENA_MAX=2 mirrord run --autostarted 2>/dev/null &";
    let line = ["-c", line];
    let running = world.program("sh", line).start();
    running.printed("ready");
    let took = began.elapsed();
    drop(running.wait());
    (world.daemon_pid().expect("it runs"), took)
}

/// A mirror that was made as all are.
fn model(world: &World, gitlab: &GitLab) -> PathBuf {
    gitlab.stand_in("group/p0", "group/base");
    let add = ["add", "p0", &gitlab.url("group/p0"), "--quiet", "--no-test"];
    world.mirrord(add).ok();
    world.mirrord(["stop"]).ok();
    let mirror = world.only_mirror();
    assert_eq!(
        mirror,
        mirror_dir(world, &gitlab.url("group/p0")),
        "this is where mirrors lie"
    );
    mirror
}

/// Copies a mirror for another project. The daemon finds it like one that it has made.
fn copy(world: &World, gitlab: &GitLab, model: &Path, number: usize) {
    let project = format!("group/p{number}");
    gitlab.stand_in(&project, "group/base");
    let url = gitlab.url(&project);
    let mirror = mirror_dir(world, &url);
    copy_tree(model, &mirror).expect("the world is ours");
    let config = mirror.join("config");
    let text = fs::read_to_string(&config).expect("a mirror has settings");
    let text = text
        .replace(&gitlab.url("group/p0"), &url)
        .replace("name = p0\n", &format!("name = p{number}\n"));
    fs::write(config, text).expect("the world is ours");
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The directory of the mirror of an upstream: a readable part, and a hash of the URL.
fn mirror_dir(world: &World, url: &str) -> PathBuf {
    let last = url.trim_end_matches(".git").rsplit('/').next();
    let hash = Sha256::digest(url.as_bytes());
    let hash = hex::encode(&hash[..16]);
    let name = format!("{}-{hash}.git", last.unwrap_or_default());
    world.mirror_home().join("mirrors").join(name)
}

/// Gives all mirrors another schedule.
fn every(world: &World, time: &str) {
    let mirrors = fs::read_dir(world.mirror_home().join("mirrors")).expect("there are mirrors");
    for mirror in mirrors {
        let config = mirror.expect("readable").path().join("config");
        let text = fs::read_to_string(&config).expect("a mirror has settings");
        let lines = text
            .lines()
            .map(|line| match line.trim_start().starts_with("every = ") {
                true => format!("\tevery = {time}\n"),
                false => format!("{line}\n"),
            });
        fs::write(&config, lines.collect::<String>()).expect("the world is ours");
    }
}

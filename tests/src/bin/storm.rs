//! A storm of deliveries: `cargo run --release -p tests --bin storm -- [SECONDS [PER_SECOND [MIRRORS]]]` sends so many
//! signed ones a second (1,000) for so long (60 s) to so many mirrors (200), each by a connection of its own as GitLab
//! does. The upstreams answer from the stand-in's memory, and each of them moves once on the way.
//!
//! The exit code is 1 when one was not answered as it should be, when one in a hundred took 50 ms, or when a mirror was not
//! in step 5 s after its last delivery.

use std::{
    fs,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::Value;
use tests::{
    Delivery, GitLab, World,
    measure::{ms, peak, processor, processor_of_thread},
    public_refs,
};

/// The number of deliveries that are sent at once, below the limit of open connections.
const MAX_SENDERS: usize = 32;

/// The time in which 99 of 100 answers must arrive.
const MAX_P99: Duration = Duration::from_millis(50);

/// How soon a mirror must be in step after its last delivery.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// How long this program waits for that.
const SYNC_TIMEOUT: Duration = Duration::from_secs(60);

struct Target {
    name: String,
    url: String,
    signing: String,
    /// When the last delivery was sent.
    last: Mutex<Option<Instant>>,
}

/// The results of all deliveries.
#[derive(Default)]
struct Figures {
    /// From the sending to the answer.
    took: Vec<Duration>,
    /// From the planned time to the sending.
    late: Vec<Duration>,
    odd: Vec<String>,
    processor: f64,
}

#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn main() -> ExitCode {
    let numbers: Result<Vec<usize>, _> = std::env::args().skip(1).map(|it| it.parse()).collect();
    let (seconds, rate, count) = match numbers.as_deref() {
        Ok([]) => (60, 1000, 200),
        Ok([seconds]) => (*seconds, 1000, 200),
        Ok([seconds, rate]) => (*seconds, *rate, 200),
        Ok([seconds, rate, count]) => (*seconds, *rate, *count),
        _ => {
            println!("usage: storm [SECONDS [PER_SECOND [MIRRORS]]]");
            return ExitCode::from(2);
        }
    };
    let world = World::new();
    let gitlab = world.gitlab();
    let before = gitlab.project("group/before");
    before.history(50);
    let after = gitlab.project("group/after");
    let refs = "+refs/heads/*:refs/heads/*";
    after.git(["fetch", "-q", &before.url(), refs]).ok();
    after.commit("main", "file", "what the deliveries tell of");
    println!("makes {count} mirrors");
    let targets = mirrors(&world, &gitlab, count);

    let pid = world.daemon_pid().expect("it runs");
    let (daemon_before, ours_before) = (processor(pid), processor(std::process::id()));
    let total = seconds * rate;
    println!("sends {total} deliveries, {rate} a second");
    let began = Instant::now();
    let figures = send(&gitlab, &targets, began, total, rate);
    let took = began.elapsed();
    let (mut in_step, stray) = wait(&world, &gitlab, &targets, &after);
    let (daemon, ours) = (processor(pid), processor(std::process::id()));

    let mut sorted = figures.took.clone();
    sorted.sort();
    let of = |hundredths: usize| sorted[(sorted.len() - 1) * hundredths / 100];
    let late = figures.late.iter().max().copied().unwrap_or_default();
    println!(
        "sent in {:.1} s; the latest {:.0} ms after it was due",
        took.as_secs_f64(),
        ms(late)
    );
    println!("not answered with 2xx: {}", figures.odd.len());
    figures
        .odd
        .iter()
        .take(5)
        .for_each(|odd| println!("  {odd}"));
    println!(
        "answered after: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        ms(of(50)),
        ms(of(99)),
        ms(of(100))
    );
    in_step.sort();
    let slowest = in_step.last().copied().unwrap_or(SYNC_TIMEOUT);
    let median = in_step
        .get(in_step.len() / 2)
        .copied()
        .unwrap_or(SYNC_TIMEOUT);
    println!(
        "in step after their last delivery: {} of {count}, half of them after {:.0} ms, the last after {:.0} ms",
        in_step.len() - stray.len().min(in_step.len()),
        ms(median),
        ms(slowest)
    );
    stray
        .iter()
        .take(5)
        .for_each(|name| println!("  not: {name}"));
    let children = daemon.1 - daemon_before.1;
    let stand_in = ours.0 - ours_before.0 - figures.processor;
    println!(
        "processor: load {:.1} s, stand-in {stand_in:.1} s and its git {:.1} s, daemon {:.1} s and its git {children:.1} s",
        figures.processor,
        ours.1 - ours_before.1,
        daemon.0 - daemon_before.0,
    );
    println!("daemon's memory at its highest: {} MiB", peak(pid) / 1024);
    let good =
        figures.odd.is_empty() && of(99) < MAX_P99 && stray.is_empty() && slowest < MAX_DELAY;
    ExitCode::from(u8::from(!good))
}

/// Mirrors that have what upstream has, each with a signing token of its own.
fn mirrors(world: &World, gitlab: &GitLab, count: usize) -> Vec<Target> {
    world.mirrord(["webhook", "on"]).ok();
    let next = AtomicUsize::new(0);
    let made = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let target = mirror(world, gitlab, number);
                    made.lock().push(target);
                }
            });
        }
    });
    made.into_inner()
}

fn mirror(world: &World, gitlab: &GitLab, number: usize) -> Target {
    let name = format!("p{number}");
    let project = format!("group/{name}");
    gitlab.stand_in(&project, "group/before");
    let add = ["add", &name, &gitlab.url(&project), "--quiet", "--no-test"];
    world.mirrord(add).ok();
    let key = format!("{number:0>32}");
    let key = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, key);
    let signing = format!("whsec_{key}");
    let sign = [
        "webhook",
        "secret",
        &name,
        "--signing-token-stdin",
        "--json",
    ];
    let shown = world.mirrord(sign).stdin(format!("{signing}\n")).ok();
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    let url = shown["url"].as_str().expect("text").to_owned();
    let last = Mutex::default();
    Target {
        name,
        url,
        signing,
        last,
    }
}

/// Sends each delivery when it is due, to one mirror after the other.
fn send(gitlab: &GitLab, targets: &[Target], began: Instant, total: usize, rate: usize) -> Figures {
    let next = AtomicUsize::new(0);
    let figures = Mutex::new(Figures::default());
    let due = |number: usize| began + Duration::from_secs_f64(number as f64 / rate as f64);
    let body = format!(
        r#"{{"object_kind":"push","ref":"refs/heads/main","commits":[],"x":"{}"}}"#,
        "x".repeat(2000)
    );
    thread::scope(|scope| {
        for _ in 0..MAX_SENDERS {
            scope.spawn(|| {
                let mut own = Figures::default();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= total {
                        break;
                    }
                    thread::sleep(due(number).saturating_duration_since(Instant::now()));
                    let target = &targets[number % targets.len()];
                    deliver(target, number, &body, due(number), &mut own);
                }
                own.processor = processor_of_thread();
                figures.lock().add(own);
            });
        }
        // Upstreams move one after the other, and what the stand-in notes of requests is not needed.
        for (number, target) in targets.iter().enumerate() {
            let at = due(total * 9 / 10 * number / targets.len());
            thread::sleep(at.saturating_duration_since(Instant::now()));
            gitlab.stand_in(&format!("group/{}", target.name), "group/after");
            gitlab.forget_requests();
        }
    });
    figures.into_inner()
}

fn deliver(target: &Target, number: usize, body: &str, due: Instant, figures: &mut Figures) {
    let delivery = Delivery::of_gitlab(&target.url, "Push Hook", body);
    let id = format!("storm-{number}");
    let delivery = delivery.signed(&target.signing, &id, Delivery::now());
    let sent = Instant::now();
    let answer = delivery.header("Connection", "close").try_send();
    let answered = Instant::now();
    match answer {
        Ok(answer) if answer.status == 202 => {}
        Ok(answer) => figures.odd.push(format!("{answer:?}")),
        Err(error) => figures.odd.push(error.to_string()),
    }
    figures.took.push(answered - sent);
    figures.late.push(sent.saturating_duration_since(due));
    let mut last = target.last.lock();
    *last = (*last).max(Some(sent));
}

impl Figures {
    fn add(&mut self, other: Self) {
        self.took.extend(other.took);
        self.late.extend(other.late);
        self.odd.extend(other.odd);
        self.processor += other.processor;
    }
}

/// Waits until each upstream has been asked after the last delivery for its mirror, and nothing runs any more; says after
/// how long each was asked last, and which mirrors are not what upstream is.
fn wait(
    world: &World,
    gitlab: &GitLab,
    targets: &[Target],
    after: &tests::Project,
) -> (Vec<Duration>, Vec<String>) {
    let began = Instant::now();
    let last = |target: &Target| target.last.lock().unwrap_or(began);
    let asked = |target: &Target| {
        let sent = last(target);
        let asked = gitlab.last_asked(&format!("group/{}", target.name))?;
        (asked >= sent).then(|| asked - sent)
    };
    while !targets.iter().all(|target| asked(target).is_some()) && began.elapsed() < SYNC_TIMEOUT {
        thread::sleep(Duration::from_millis(20));
    }
    world.wait_until_no_sync();
    let in_step: Vec<_> = targets.iter().filter_map(asked).collect();
    let theirs = after.refs();
    let dir = world.mirror_home().join("mirrors");
    let mirrors = fs::read_dir(dir).expect("there are mirrors");
    let mirrors = mirrors.map(|entry| entry.expect("readable").path());
    let mut stray: Vec<_> = mirrors
        .filter(|mirror| public_refs(world, mirror) != theirs)
        .map(|mirror| mirror.display().to_string())
        .collect();
    let unasked = targets.iter().filter(|target| asked(target).is_none());
    stray.extend(unasked.map(|target| target.name.clone()));
    (in_step, stray)
}

//! Clones, fetches and pushes at once for so many minutes, while packs come and are put together without a pause:
//!
//! `cargo run --release -p tests --bin soak -- [MINUTES]` (30).
//!
//! Everything that a client does must work, and what it has then must be whole. The exit code is 1 when something did
//! not; it is printed.

use std::{
    fs,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tests::{GitLab, Project, Ran, World, public_refs};

/// More than a mirror may have.
const MANY: usize = 55;

/// The number of each action of the clients.
#[derive(Default)]
struct Count {
    clones: AtomicUsize,
    fetches: AtomicUsize,
    pushes: AtomicUsize,
    commits: AtomicUsize,
    repacks: AtomicUsize,
    broken: Mutex<Vec<String>>,
}

struct Soak {
    world: World,
    project: Project,
    _gitlab: GitLab,
    until: Instant,
    count: Count,
}

impl Soak {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Notes what did not work; says whether it did.
    fn worked(&self, ran: &Ran) -> bool {
        let is_well = ran.status.success();
        if !is_well {
            self.broke(ran.to_string());
        }
        is_well
    }

    #[expect(clippy::print_stdout, reason = "this is what the person came for")]
    fn broke(&self, message: String) {
        println!("--- {message}");
        let mut broken = self.count.broken.lock();
        broken.push(message);
    }

    fn git(&self, args: &[&str], dir: &str) -> Ran {
        self.world.git(args).at(dir).run()
    }

    fn is_whole(&self, dir: &str) {
        let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
        self.worked(&self.git(&fsck, dir));
    }

    fn clone(&self, lane: usize) {
        for number in 0.. {
            if !self.goes_on() {
                return;
            }
            let dir = format!("clone-{lane}-{number}");
            let kind: &[&str] = match number % 4 {
                0 => &[],
                1 => &["--mirror"],
                2 => &["--bare"],
                _ => &["--depth=3"],
            };
            let args = [&["clone", "-q"], kind, &["mirror::work", &dir]].concat();
            if self.worked(&self.world.git(args).run()) {
                self.is_whole(&dir);
                self.count.clones.fetch_add(1, Ordering::Relaxed);
            }
            fs::remove_dir_all(self.world.path(&dir)).ok();
        }
    }

    fn fetch(&self) {
        self.worked(
            &self
                .world
                .git(["clone", "-q", "mirror::work", "reader"])
                .run(),
        );
        for number in 0.. {
            if !self.goes_on() {
                return self.is_whole("reader");
            }
            if self.worked(&self.git(&["fetch", "-q", "--prune"], "reader")) {
                self.count.fetches.fetch_add(1, Ordering::Relaxed);
            }
            if number % 20 == 0 {
                self.is_whole("reader");
                self.worked(&self.git(&["gc", "-q", "--prune=now"], "reader"));
            }
        }
    }

    fn push(&self) {
        self.worked(
            &self
                .world
                .git(["clone", "-q", "mirror::work", "writer"])
                .run(),
        );
        for number in 0.. {
            if !self.goes_on() {
                return;
            }
            let message = format!("mine, {number}");
            self.worked(&self.git(&["commit", "-q", "--allow-empty", "-m", &message], "writer"));
            let name = number % 10;
            let to = format!("+HEAD:refs/heads/idea-{name}");
            if self.worked(&self.git(&["push", "-q", "origin", &to], "writer")) {
                self.count.pushes.fetch_add(1, Ordering::Relaxed);
            }
            let mirror = self.world.only_mirror();
            let mine = self.git(&["rev-parse", "HEAD"], "writer");
            let name = format!("refs/heads/idea-{name}");
            let has = public_refs(&self.world, &mirror);
            if !has
                .iter()
                .any(|(each, oid)| *each == name && oid == mine.line())
            {
                self.broke(format!("{name} is not what was pushed"));
            }
        }
    }

    fn commit(&self) {
        for number in 0.. {
            if !self.goes_on() {
                return;
            }
            let content = number.to_string();
            self.project
                .commit("main", &format!("file-{}", number % 7), &content);
            if number % 5 == 0 {
                self.project.force("moving", "main~1");
            }
            self.count.commits.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Gives the mirror more packs than it may have, and has it notice.
    fn repack(&self) {
        let mirror = self.world.only_mirror();
        let mut number = 0;
        while self.goes_on() {
            let mut stream = String::new();
            for _ in 0..MANY {
                let content = format!("blob {number}");
                number += 1;
                stream += &format!("blob\ndata {}\n{content}\ncheckpoint\n\n", content.len());
            }
            let import = ["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"];
            let git = self.world.git(import).env("GIT_DIR", &mirror);
            self.worked(&git.stdin(stream).run());
            // A branch of its own: two who commit to one would be in each other's way.
            self.project.commit("packs", "more", &number.to_string());
            self.worked(&self.world.mirrord(["sync", "-q", "work"]).run());
            self.count.repacks.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_secs(2));
        }
    }
}

#[expect(clippy::print_stdout, reason = "this is what the person came for")]
fn main() -> ExitCode {
    let minutes = std::env::args().nth(1).and_then(|word| word.parse().ok());
    let minutes: u64 = minutes.unwrap_or(30);
    let world = World::new();
    let gitlab = world.gitlab();
    let project = gitlab.project("group/project");
    project.history(200);
    project.branch("moving", "main");
    project.branch("packs", "main");
    let add = ["add", "work", &gitlab.url("group/project")];
    world
        .mirrord(add)
        .args([
            "--track",
            "+refs/heads/main",
            "--track",
            "+refs/heads/moving",
            "--track",
            "+refs/heads/packs",
        ])
        .ok();
    let soak = Soak {
        world,
        project,
        _gitlab: gitlab,
        until: Instant::now() + Duration::from_secs(60 * minutes),
        count: Count::default(),
    };
    thread::scope(|lanes| {
        lanes.spawn(|| soak.clone(0));
        lanes.spawn(|| soak.clone(1));
        lanes.spawn(|| soak.fetch());
        lanes.spawn(|| soak.push());
        lanes.spawn(|| soak.commit());
        lanes.spawn(|| soak.repack());
    });
    let fsck = ["fsck", "--full", "--strict", "--no-dangling"];
    let mirror = soak.world.only_mirror();
    soak.worked(&soak.world.git(fsck).env("GIT_DIR", &mirror).run());
    let log = soak.world.log();
    let repacked = log
        .lines()
        .filter(|line| line.contains(" packs and has "))
        .count();
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let Count {
        clones,
        fetches,
        pushes,
        commits,
        repacks,
        broken,
    } = &soak.count;
    println!(
        "{minutes} min: {} clones, {} fetches, {} pushes, {} commits upstream; packs came in {} heaps, and were put \
         together {repacked} times",
        of(clones),
        of(fetches),
        of(pushes),
        of(commits),
        of(repacks),
    );
    let broken = broken.lock().len();
    println!("did not work: {broken}");
    ExitCode::from(u8::from(broken > 0))
}

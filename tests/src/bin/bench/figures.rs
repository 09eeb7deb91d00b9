//! What a piece of work takes: of the client, of the daemon, of the disk and of the line to upstream.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tests::{
    World,
    measure::{Memory, forget_peak, on_disk, peak, processor, processor_by_thread},
};

use crate::stage::Stage;

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How often memory is looked at. Each look reads all of `/proc`.
const LOOK: Duration = Duration::from_millis(50);

/// A daemon that has done nothing for so long has nothing left to do.
const QUIET: Duration = Duration::from_millis(60);

/// When a daemon that always has something to do is left at it.
const NEVER_QUIET: Duration = Duration::from_secs(300);

/// A command to be measured, and what to look at.
#[derive(Debug)]
pub(crate) struct Job {
    /// Its words; `{}` in them is the number of each, when there are several.
    pub(crate) line: Vec<String>,
    pub(crate) dir: PathBuf,
    /// So many at once.
    pub(crate) count: usize,
    /// The directory that it writes to.
    pub(crate) writes: PathBuf,
}

/// Says what one figure is of a [`Sample`].
pub(crate) type Figure = fn(&Sample) -> f64;

/// What one turn took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Seconds from the start to the end of the last client.
    pub(crate) wall: f64,
    /// Seconds of processor time of all clients, their children included.
    pub(crate) client_processor: f64,
    /// The same of the daemon, what it does after the answer included.
    pub(crate) daemon_processor: f64,
    /// KiB that all processes of the clients had at once, as far as it was seen, or one of them had, whichever is more.
    pub(crate) client_memory: f64,
    /// KiB of it that are no mapped files, as far as it was seen.
    pub(crate) client_own_memory: f64,
    /// The same of the daemon and its children.
    pub(crate) daemon_memory: f64,
    /// See `client_own_memory`.
    pub(crate) daemon_own_memory: f64,
    /// Bytes of new files on disk in clones; what is another name of a file that was there is not counted.
    pub(crate) client_wrote: f64,
    /// The same in mirrors.
    pub(crate) daemon_wrote: f64,
    /// Requests that reached upstream.
    pub(crate) requests: f64,
    /// Those of them that asked for a pack.
    pub(crate) packs: f64,
    /// Bytes that went to upstream over the line.
    pub(crate) up: f64,
    /// Bytes that came from there.
    pub(crate) down: f64,
}

/// Runs a job and measures it; an error is what it said when it failed.
pub(crate) fn measure(stage: &Stage, job: &Job) -> Result<Sample, String> {
    let daemon = stage.world.daemon_pid();
    settle(daemon);
    stage.flush();
    let disk = Disk::now(stage, job);
    stage.gitlab.forget_requests();
    let (before, line) = (daemon.map(Processor::of), stage.link.traffic());
    daemon.inspect(|pid| forget_peak(*pid));

    let program = stage.world.program("timed", [job.count.to_string()]);
    let running = program
        .args(&job.line)
        .at(&job.dir)
        .within(PATIENCE)
        .start();
    let client = running.pid();
    let done = AtomicBool::new(false);
    let (ran, (client_memory, daemon_memory)) = thread::scope(|scope| {
        let memory = scope.spawn(|| most_memory(client, daemon, &done));
        let ran = running.wait();
        done.store(true, Ordering::Relaxed);
        memory.thread().unpark();
        (ran, memory.join().unwrap_or_default())
    });
    if !ran.status.success() {
        return Err(ran.stderr);
    }
    let took: Value = serde_json::from_str(&ran.stdout).map_err(|error| error.to_string())?;
    let of = |key: &str| took[key].as_f64().unwrap_or_default();

    settle(daemon);
    let daemon_processor = match (daemon, &before) {
        (Some(pid), Some(before)) => Processor::of(pid).since(before),
        _ => 0.0,
    };
    let own_peak = daemon.map(peak).unwrap_or_default();
    let requests = stage.gitlab.requests();
    let packs = requests.iter().filter(|request| {
        // git says `command=fetch` in protocol v2, our own client as well.
        request.path.ends_with("/git-upload-pack") && request.body_text().contains("command=fetch")
    });
    let (traffic, (client_wrote, daemon_wrote)) = (stage.link.traffic(), disk.since(stage, job));
    Ok(Sample {
        wall: of("wall"),
        client_processor: of("cpu"),
        daemon_processor,
        client_memory: of("peak").max(client_memory.resident as f64),
        client_own_memory: client_memory.own as f64,
        daemon_memory: own_peak.max(daemon_memory.resident) as f64,
        daemon_own_memory: daemon_memory.own as f64,
        client_wrote: client_wrote as f64,
        daemon_wrote: daemon_wrote as f64,
        requests: requests.len() as f64,
        packs: packs.count() as f64,
        up: (traffic.up - line.up) as f64,
        down: (traffic.down - line.down) as f64,
    })
}

/// Looks at the memory of the clients and of the daemon's family until it is told to stop; returns the most of each.
fn most_memory(client: u32, daemon: Option<u32>, done: &AtomicBool) -> (Memory, Memory) {
    let mut most = (Memory::default(), Memory::default());
    loop {
        thread::park_timeout(LOOK);
        if done.load(Ordering::Relaxed) {
            return most;
        }
        most.0 = most.0.most(Memory::of_children(client).0);
        if let Some(pid) = daemon.filter(|pid| is_there(*pid)) {
            let family = Memory::of(pid).and(Memory::of_children(pid).0);
            most.1 = most.1.most(family);
        }
    }
}

fn is_there(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Waits until the daemon has nothing to do: no child runs, and it takes no processor time.
pub(crate) fn settle(daemon: Option<u32>) {
    let Some(pid) = daemon else { return };
    let deadline = Instant::now() + NEVER_QUIET;
    let busy = |before: &HashMap<u32, f64>| {
        let now = processor_by_thread(pid);
        let used: f64 = now.values().sum::<f64>() - before.values().sum::<f64>();
        used > QUIET.as_secs_f64() / 50.0 || Memory::of_children(pid).1 > 0
    };
    while is_there(pid) && Instant::now() < deadline {
        let before = processor_by_thread(pid);
        thread::sleep(QUIET);
        if !busy(&before) {
            return;
        }
    }
}

/// The processor time of the daemon and its children at some moment.
struct Processor {
    threads: HashMap<u32, f64>,
    own: f64,
    children: f64,
}

impl Processor {
    fn of(pid: u32) -> Self {
        let (own, children) = processor(pid);
        Self {
            threads: processor_by_thread(pid),
            own,
            children,
        }
    }

    /// Seconds since then. What threads took is known to the microsecond, unless one of them has ended meanwhile.
    fn since(&self, before: &Self) -> f64 {
        let is_left = |thread| self.threads.contains_key(thread);
        let own = if before.threads.keys().all(is_left) {
            self.threads.values().sum::<f64>() - before.threads.values().sum::<f64>()
        } else {
            self.own - before.own
        };
        (own + self.children - before.children).max(0.0)
    }
}

/// The files that were there at some moment.
struct Disk(HashMap<u64, u64>);

impl Disk {
    /// Upstream's are among them: a clone by path has its files.
    fn now(stage: &Stage, job: &Job) -> Self {
        let mut files = on_disk(stage.gitlab.dir());
        files.extend(on_disk(&mirrors(&stage.world)));
        files.extend(on_disk(&job.writes));
        Self(files)
    }

    /// The bytes that were written since then to clones and to mirrors. A file that is in both was the mirror's first.
    fn since(&self, stage: &Stage, job: &Job) -> (u64, u64) {
        let mirrors = on_disk(&mirrors(&stage.world));
        let new = |(file, bytes): (&u64, &u64)| {
            bytes.saturating_sub(self.0.get(file).copied().unwrap_or_default())
        };
        let daemon = mirrors.iter().map(new).sum();
        let clones = on_disk(&job.writes);
        let own = clones
            .iter()
            .filter(|(file, _)| !mirrors.contains_key(file));
        (own.map(new).sum(), daemon)
    }
}

fn mirrors(world: &World) -> PathBuf {
    world.mirror_home().join("mirrors")
}

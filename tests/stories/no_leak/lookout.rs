//! Secrets in the command lines and environments of processes.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;

/// How often every process is looked at.
const SEARCH_INTERVAL: Duration = Duration::from_millis(1);

/// Looks at the argument list and the environment of every process, over and over.
pub(super) struct Lookout {
    seen: Arc<Mutex<BTreeSet<String>>>,
    over: Arc<AtomicBool>,
    looking: Option<thread::JoinHandle<usize>>,
}

impl Lookout {
    pub(super) fn new(forms: Vec<String>) -> Self {
        let (seen, over) = (
            Arc::<Mutex<BTreeSet<_>>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (ours, stop) = (seen.clone(), over.clone());
        let looking = thread::spawn(move || {
            let mut looks = 0;
            while !stop.load(Ordering::Relaxed) {
                looks += 1;
                for hit in search(&forms) {
                    ours.lock().insert(hit);
                }
                thread::park_timeout(SEARCH_INTERVAL);
            }
            looks
        });
        Self {
            seen,
            over,
            looking: Some(looking),
        }
    }

    /// Returns what was found, and the number of searches.
    pub(super) fn end(mut self) -> (BTreeSet<String>, usize) {
        self.over.store(true, Ordering::Relaxed);
        let looks = self.looking.take().map(thread::JoinHandle::join);
        let looks = looks.and_then(Result::ok).unwrap_or_default();
        let seen = self.seen.lock();
        (seen.clone(), looks)
    }
}

/// Processes that show one of these texts: what, and their command line.
pub(super) fn search(forms: &[String]) -> Vec<String> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut hits = Vec::new();
    for process in processes.flatten().map(|entry| entry.path()) {
        for file in ["cmdline", "environ"] {
            // Most are not ours, and some end while we look.
            let Ok(bytes) = fs::read(process.join(file)) else {
                continue;
            };
            let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
            if forms.iter().any(|form| text.contains(form)) {
                // Read again it could be that of another program, or of none any more.
                let line = match file {
                    "cmdline" => text,
                    _ => {
                        let line = fs::read(process.join("cmdline")).unwrap_or_default();
                        String::from_utf8_lossy(&line).replace('\0', " ")
                    }
                };
                hits.push(format!("{file} of: {line}"));
            }
        }
    }
    hits
}

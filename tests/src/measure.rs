//! The memory and processor time of a process, for programs that print figures.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use crate::process::family;

/// The kernel's unit of processor time, in `/proc`.
const TICKS: f64 = 100.0;

/// Milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Seconds of processor time of a process, and of its children that have ended.
pub fn processor(pid: u32) -> (f64, f64) {
    let fields = fields(&format!("/proc/{pid}/stat"));
    (
        (fields[11] + fields[12]) / TICKS,
        (fields[13] + fields[14]) / TICKS,
    )
}

/// Seconds of processor time that each thread of a process has had until now, by its number, to the microsecond; those
/// that have ended are not among them.
pub fn processor_by_thread(pid: u32) -> HashMap<u32, f64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    threads
        .filter_map(|thread| {
            let number = thread.file_name().to_str()?.parse().ok()?;
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
            Some((number, nanoseconds / 1e9))
        })
        .collect()
}

/// Seconds of processor time of this thread.
pub fn processor_of_thread() -> f64 {
    let fields = fields("/proc/thread-self/stat");
    (fields[11] + fields[12]) / TICKS
}

/// The numbers behind the name of the process, which may have any characters.
fn fields(path: &str) -> Vec<f64> {
    let stat = fs::read_to_string(path).expect("it runs");
    let (_, rest) = stat.rsplit_once(')').expect("it has a name");
    let fields = rest.split_whitespace();
    fields
        .map(|field| field.parse().unwrap_or_default())
        .collect()
}

/// The most memory that a process has had, in KiB.
pub fn peak(pid: u32) -> usize {
    of_status(pid, "VmHWM:")
}

/// The memory that a process has now, in KiB.
pub fn resident(pid: u32) -> usize {
    of_status(pid, "VmRSS:")
}

/// Resets [`peak`] to the memory that the process has now.
pub fn forget_peak(pid: u32) {
    // `man 5 proc_pid_clear_refs`; whoever may not has the older peak.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

/// Memory, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// The resident memory, as `ps` and `time` show it.
    pub resident: usize,
    /// The resident memory without mapped files, which the kernel may drop at any time and read again.
    pub own: usize,
}

impl Memory {
    /// The memory that a process has now.
    pub fn of(pid: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        // `man 5 proc_pid_statm`: in pages; the third number is what of the second lies in files.
        let mut numbers = text.split_whitespace().skip(1);
        let mut next = || {
            let pages: usize = numbers.next().and_then(|it| it.parse().ok()).unwrap_or(0);
            pages * rustix::param::page_size() / 1024
        };
        let (resident, files) = (next(), next());
        Self {
            resident,
            own: resident - files,
        }
    }

    /// The memory that all have now whom a process has started, and how many they are. What they share is counted for
    /// each.
    pub fn of_children(pid: u32) -> (Self, usize) {
        let family = family(pid);
        let all = family.iter().map(|pid| Self::of(*pid));
        (all.fold(Self::default(), Self::and), family.len())
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            resident: self.resident + other.resident,
            own: self.own + other.own,
        }
    }

    /// The more of each.
    #[must_use]
    pub fn most(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            own: self.own.max(other.own),
        }
    }
}

/// The bytes that each file below a directory takes on disk, by the number of its inode: two names of one file are one.
pub fn on_disk(dir: &Path) -> HashMap<u64, u64> {
    let mut found = HashMap::new();
    let mut dirs = vec![dir.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(it) if it.is_dir() => dirs.push(entry.path()),
                // `man 2 stat`: in blocks of 512 bytes, whatever the file system's are.
                Ok(it) if it.is_file() => drop(found.insert(it.ino(), it.blocks() * 512)),
                _ => {}
            }
        }
    }
    found
}

fn of_status(pid: u32, key: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(key));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or_default()
}

//! What a program has taken, for programs that print figures.

use std::fs;
use std::time::Duration;

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

/// Seconds of processor time of this thread.
pub fn processor_of_thread() -> f64 {
    let fields = fields("/proc/thread-self/stat");
    (fields[11] + fields[12]) / TICKS
}

/// The numbers behind the name, which may hold anything.
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

fn of_status(pid: u32, key: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(key));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.unwrap_or_default()
}

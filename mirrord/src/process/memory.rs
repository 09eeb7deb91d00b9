//! How much memory a process of ours may use: what a hostile upstream sends may inflate to any size, and must not make the
//! system kill others for it.

use std::fs;

use common::protocol::{Failure, FailureKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A child of git that unpacks an ordinary repository gets as much, however small the machine is.
const MIN_LIMIT: u64 = 2 << 30;

/// Blobs above this size are never whole in the memory of a `git index-pack`, unless they come as a delta.
pub(crate) const STREAM_BLOBS: &str = "core.bigFileThreshold=16m";

/// Limits the memory of this process and of each child that it starts from now on to half of what the machine has. Maps
/// of files, such as packs, do not count. A lower limit that is there already stays.
pub(crate) fn limit() {
    let Some(half) = total().map(|total| (total / 2).max(MIN_LIMIT)) else {
        return;
    };
    let now = getrlimit(Resource::Data);
    let current = now.current.map_or(half, |current| current.min(half));
    let limit = Rlimit {
        current: Some(current),
        maximum: now.maximum,
    };
    let _ = setrlimit(Resource::Data, limit);
}

/// Returns the memory of this machine or container in bytes, if the system tells it.
fn total() -> Option<u64> {
    let file = fs::read_to_string("/proc/meminfo").ok()?;
    let line = file
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    // 'max' where there is no limit.
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|limit| limit.trim().parse().ok());
    Some(container.unwrap_or(u64::MAX).min(kib << 10))
}

/// The beginning of the message of [`exhausted`].
pub(crate) const TOO_LARGE: &str = "what upstream sent needs more memory than git may use here";

/// The failure of a child of git that ran out of memory, by what it printed on stderr.
pub(crate) fn exhausted(stderr: &str) -> Option<Failure> {
    let lower = stderr.to_ascii_lowercase();
    let is_out = lower.contains("out of memory") || lower.contains("cannot allocate memory");
    if !is_out {
        return None;
    }
    let limit = getrlimit(Resource::Data).current.map(|limit| limit >> 20);
    let limit = limit
        .map(|mib| format!("{mib} MiB"))
        .unwrap_or("all".to_owned());
    let message = format!("{TOO_LARGE} ({limit})");
    Some(Failure::new(FailureKind::Unusable, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_ran_out_of_memory_is_recognised() {
        for stderr in [
            "fatal: Out of memory, malloc failed (tried to allocate 3000000001 bytes)\n",
            "fatal: mmap failed: Cannot allocate memory\n",
            "fatal: inflateInit: out of memory (no message)\n",
        ] {
            assert!(exhausted(stderr).is_some(), "{stderr}");
        }
        assert!(exhausted("fatal: early EOF\n").is_none());
    }
}

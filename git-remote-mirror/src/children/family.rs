//! A child with all that it has started.

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to a child of ours and to all that it has started: an ssh, or git's helper for http, would go on
/// waiting for its server.
pub(crate) fn kill(child: Pid, signal: Signal) {
    for process in family(child) {
        // Some have ended with the others.
        let _ = kill_process(process, signal);
    }
}

/// Returns a process and all those that it and they have started, where the system tells (`/proc`).
fn family(pid: Pid) -> Vec<Pid> {
    let parents: Vec<(Pid, Pid)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let child = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // Behind a name that may hold anything.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((Pid::from_raw(child)?, Pid::from_raw(parent.parse().ok()?)?))
        })
        .collect();
    let mut family = vec![pid];
    let mut at = 0;
    while let Some(&one) = family.get(at) {
        let children = parents.iter().filter(|(_, parent)| *parent == one);
        family.extend(children.map(|(child, _)| *child));
        at += 1;
    }
    family
}

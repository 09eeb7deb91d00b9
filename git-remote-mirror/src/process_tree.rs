//! A process with its descendants. git leaves the work to children such as an ssh, which would go on waiting for the server
//! when git alone is ended.

use std::{fs, process::Child};

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to a process and to its descendants, as far as the system lists processes in `/proc`. Where it does not,
/// the process alone gets the signal.
///
/// The list is read on every call: the number of a process that has ended may belong to a stranger by now. The child has
/// not been waited for, so its own number stays its own.
pub(crate) fn signal(child: Pid, signal: Signal) {
    for process in descendants_of(child) {
        // A process may have ended with another.
        let _ = kill_process(process, signal);
    }
}

/// Kills a child with its descendants and waits for it.
///
/// # Errors
/// Fails when the child cannot be waited for.
pub(crate) fn kill(child: &mut Child) -> std::io::Result<()> {
    signal(Pid::from_child(child), Signal::KILL);
    child.wait().map(drop)
}

/// The process itself, then its descendants.
fn descendants_of(pid: Pid) -> Vec<Pid> {
    let parents: Vec<(Pid, Pid)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let child = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // proc_pid_stat(5): the parent's number is the second field behind the name, which may have any character.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            Some((Pid::from_raw(child)?, Pid::from_raw(parent.parse().ok()?)?))
        })
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(&process) = found.get(at) {
        let children = parents.iter().filter(|(_, parent)| *parent == process);
        found.extend(children.map(|(child, _)| *child));
        at += 1;
    }
    found
}

//! The lock that decides who is the daemon, and what is done about who holds it.
//!
//! The system gives it back when its holder dies, however it dies. The file holds the number of the last holder's
//! process, which counts only while somebody holds the lock.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use common::protocol::Failure;
use rustix::process::{Pid, Signal, kill_process};

/// A daemon that stops may still be serving somebody, for half a minute at most.
const PREDECESSOR: Duration = Duration::from_secs(40);

/// Whoever looks whether somebody is the daemon holds the lock for a moment.
const GLANCE: Duration = Duration::from_millis(100);

/// Nothing tells when a lock becomes free, save waiting for it without an end.
const AGAIN: Duration = Duration::from_millis(20);

/// What is done about a daemon that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// It stays, and this one is not needed.
    Stays,
    /// It is about to stop, and its end is waited for.
    Ends,
    /// It is asked to stop, and its end is waited for.
    IsReplaced,
}

/// Takes the lock for as long as the file is open.
///
/// # Errors
/// Fails when another daemon keeps it, or the file cannot be used.
pub(crate) fn take(path: &Path, rival: Rival) -> anyhow::Result<File> {
    let mut file = open(path).with_context(|| format!("cannot open '{}'", path.display()))?;
    let patience = match rival {
        Rival::Stays => GLANCE,
        Rival::Ends | Rival::IsReplaced => PREDECESSOR,
    };
    let deadline = Instant::now() + patience;
    let mut asked = None;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                let holder = number(&mut file);
                // Of several that come and go, each is asked once.
                if rival == Rival::IsReplaced && holder.is_some() && holder != asked {
                    tracing::info!("asking the daemon that runs to stop");
                    ask_to_stop(holder);
                    asked = holder;
                }
                thread::sleep(AGAIN);
            }
            Err(TryLockError::WouldBlock) => {
                let holder = number(&mut file).map_or_else(String::new, |pid| pid.to_string());
                let failure = Failure::here(format!("mirrord already runs (process {holder})"));
                return Err(failure.hinted("'mirrord stop' stops it").into());
            }
            Err(TryLockError::Error(err)) => bail!("cannot lock '{}': {err}", path.display()),
        }
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(file)
}

/// The process of the daemon, without a word with it; `None` when there is none.
///
/// # Errors
/// Fails when the file cannot be used.
pub(crate) fn holder(path: &Path) -> io::Result<Option<u32>> {
    let mut file = open(path)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        // Before it has written its number it is about to.
        Err(TryLockError::WouldBlock) => Ok(Some(number(&mut file).unwrap_or_default())),
        Err(TryLockError::Error(err)) => Err(err),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    options.open(path)
}

fn number(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Its socket may lead to us by now, so it is asked by a signal: to it the same as 'mirrord stop'.
fn ask_to_stop(holder: Option<u32>) {
    let Some(pid) = holder.filter(|pid| is_one_of_us(*pid)) else {
        return;
    };
    if let Some(pid) = pid.try_into().ok().and_then(Pid::from_raw) {
        // It may have ended by itself in the meantime.
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// Whether a process is a mirrord, where the system tells: the lock may have changed hands a moment ago, and the number
/// in it be of a process that has ended, and of a stranger by now.
fn is_one_of_us(pid: u32) -> bool {
    if !Path::new("/proc/self/exe").exists() {
        return true;
    }
    let program = fs::read_link(format!("/proc/{pid}/exe"));
    // The system says '(deleted)' behind the name of one that was replaced.
    program.is_ok_and(|path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with("mirrord")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_it_is_known_until_it_is_free() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        assert_eq!(holder(&path).expect("usable"), None);
        let held = take(&path, Rival::Stays).expect("it is free");
        assert_eq!(holder(&path).expect("usable"), Some(std::process::id()));
        let refused = take(&path, Rival::Stays).expect_err("it is held");
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(held);
        assert_eq!(holder(&path).expect("usable"), None, "its number is not it");
        take(&path, Rival::Stays).expect("it is free again");
    }

    #[test]
    fn a_stranger_with_the_number_of_a_daemon_is_left_alone() {
        // These tests are a program of their own name; the first of all processes is no mirrord.
        assert!(!is_one_of_us(1) || !Path::new("/proc/self/exe").exists());
    }
}

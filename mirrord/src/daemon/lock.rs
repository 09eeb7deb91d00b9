//! The file lock that decides which process is the daemon, and what is done about another process that has it.
//!
//! The system frees the lock when its process ends, however that ends. The file has the process id of the last one that
//! took the lock; the id counts only while the lock is taken. The directory of the file is locked as well: with a file that
//! was removed and made again, two daemons could work there.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use common::{
    daemon_process::{FileId, read_pid, send_signal},
    protocol::Failure,
};
use rustix::process::Signal;

/// How long another daemon's end is waited for: one that stops serves its clients for half a minute at most.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(40);

/// A daemon that was asked to stop and has not stopped by then is stuck, and is killed. `DRAIN_TIMEOUT` in `server`, after
/// which a daemon cuts its clients off, is shorter.
const STOP_TIMEOUT: Duration = Duration::from_secs(28);

/// How long a lock is waited for that no daemon has: a client that checks for a daemon takes the lock for a moment.
const PROBE_TIMEOUT: Duration = Duration::from_millis(100);

/// No event tells when a file lock becomes free, except a wait for it that has no limit.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// What is done about a daemon that runs already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rival {
    /// The other daemon stays, and this one is not needed.
    Stays,
    /// The other daemon is about to stop, and its end is waited for.
    Ends,
    /// The other daemon is asked to stop, and its end is waited for.
    IsReplaced,
}

/// The lock, which is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
    /// `None` where a directory cannot be locked, as on some network file systems.
    _dir: Option<File>,
}

impl Lock {
    /// Whether the locked file is still the one at its path, and not where the home was removed or replaced.
    pub(crate) fn is_in_place(&self) -> bool {
        let id = |found: io::Result<fs::Metadata>| found.ok().map(|found| FileId::of(&found));
        let locked = id(self.file.metadata());
        locked.is_some() && locked == id(fs::symlink_metadata(&self.path))
    }
}

/// Takes the lock, and writes this process's id into its file.
///
/// # Errors
/// Fails where another daemon has the lock, and keeps it.
pub(crate) fn take(path: &Path, rival: Rival) -> anyhow::Result<Lock> {
    let mut lock = take_over(path, rival, STOP_TIMEOUT)?;
    lock.file.set_len(0)?;
    lock.file.rewind()?;
    write!(lock.file, "{}", std::process::id())?;
    Ok(lock)
}

/// Ends the daemon that has the lock, whatever state it is in, and waits until it has ended.
///
/// # Errors
/// Fails where the daemon does not end.
pub(crate) fn end_daemon(path: &Path) -> anyhow::Result<()> {
    take_over(path, Rival::IsReplaced, STOP_TIMEOUT).map(drop)
}

fn take_over(path: &Path, rival: Rival, kill_after: Duration) -> anyhow::Result<Lock> {
    let cannot_open = || format!("cannot open '{}'", path.display());
    let mut file = open(path).with_context(cannot_open)?;
    let wait_limit = match rival {
        Rival::Stays => PROBE_TIMEOUT,
        Rival::Ends | Rival::IsReplaced => PREDECESSOR_TIMEOUT,
    };
    let deadline = Instant::now() + wait_limit;
    let mut asked = None;
    loop {
        match try_both(path, &file) {
            Ok(dir) => {
                let lock = Lock {
                    path: path.to_owned(),
                    file,
                    _dir: dir,
                };
                if lock.is_in_place() {
                    return Ok(lock);
                }
                // The file was removed, or made again, while the other daemon's end was waited for.
                drop(lock);
                file = open(path).with_context(cannot_open)?;
            }
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                if let (Rival::IsReplaced, Some(pid)) = (rival, read_pid(&mut file)) {
                    ask_to_end(pid, &mut asked, kill_after);
                }
                thread::sleep(RETRY_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => {
                let pid = read_pid(&mut file).map_or_else(String::new, |pid| pid.to_string());
                let failure = Failure::here(format!("mirrord already runs (process {pid})"));
                return Err(failure.hinted("'mirrord stop' stops it").into());
            }
            Err(TryLockError::Error(err)) => bail!("cannot lock '{}': {err}", path.display()),
        }
    }
}

/// Locks the file, and then its directory.
fn try_both(path: &Path, file: &File) -> Result<Option<File>, TryLockError> {
    file.try_lock()?;
    let Some(dir) = path.parent().and_then(|dir| File::open(dir).ok()) else {
        return Ok(None);
    };
    match dir.try_lock() {
        Ok(()) => Ok(Some(dir)),
        Err(TryLockError::WouldBlock) => {
            file.unlock().map_err(TryLockError::Error)?;
            Err(TryLockError::WouldBlock)
        }
        // Some network file systems lock only files.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// The daemon that was asked to end, or killed, last.
struct Asked {
    pid: u32,
    at: Instant,
}

/// Asks a daemon to end, once, and kills it where it has not ended after a while. Of several daemons that have the lock one
/// after the other, each is asked.
fn ask_to_end(pid: u32, asked: &mut Option<Asked>, kill_after: Duration) {
    match asked {
        Some(asked) if asked.pid == pid => {
            if asked.at.elapsed() > kill_after {
                tracing::warn!("killing process {pid}, which does not stop");
                send_signal(pid, Signal::KILL);
                asked.at = Instant::now();
            }
        }
        _ => {
            tracing::info!("asking the daemon that runs to stop");
            // Not 'mirrord stop': the socket may lead to this process by now. SIGTERM does the same; a daemon that was
            // stopped (SIGSTOP) gets it only when it goes on.
            send_signal(pid, Signal::TERM);
            send_signal(pid, Signal::CONT);
            let at = Instant::now();
            *asked = Some(Asked { pid, at });
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use common::daemon_process::{is_daemon, lock_holder};

    use super::*;

    #[test]
    fn the_daemon_is_known_until_the_lock_is_free() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        assert_eq!(lock_holder(&path).expect("usable"), None);
        let lock = take(&path, Rival::Stays).expect("it is free");
        assert_eq!(
            lock_holder(&path).expect("usable"),
            Some(std::process::id())
        );
        let refused = take(&path, Rival::Stays).expect_err("it is taken");
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(lock);
        assert_eq!(
            lock_holder(&path).expect("usable"),
            None,
            "the file's process id alone says nothing"
        );
        let lock = take(&path, Rival::Stays).expect("it is free again");
        // The lock of the directory keeps out a process that finds no file, or another one.
        for make_anew in [false, true] {
            assert!(lock.is_in_place() != make_anew);
            let _ = fs::remove_file(&path);
            if make_anew {
                fs::write(&path, "").expect("ours");
            }
            assert!(!lock.is_in_place());
            take(&path, Rival::Stays).expect_err("it is taken");
        }
    }

    #[test]
    fn another_program_with_the_process_id_of_a_daemon_is_no_daemon() {
        // Process 1 is no mirrord; the name of this test program begins with it.
        assert!(!is_daemon(1) || !Path::new("/proc/self/exe").exists());
        assert!(is_daemon(std::process::id()));
    }

    /// The lock that a process of its own is to take.
    const LOCK: &str = "MIRROR_TEST_HOLD";

    /// Whether that process ignores SIGTERM.
    const DEAF: &str = "MIRROR_TEST_DEAF";

    #[tokio::test]
    async fn a_process_of_its_own_takes_the_lock_when_told_to() {
        let Some(path) = std::env::var_os(LOCK) else {
            return;
        };
        let terminate = tokio::signal::unix::SignalKind::terminate();
        let _deaf = std::env::var_os(DEAF).map(|_| tokio::signal::unix::signal(terminate));
        let lock = take(Path::new(&path), Rival::Stays).expect("it is free");
        std::future::pending::<()>().await;
        drop(lock);
    }

    #[test]
    fn a_daemon_that_is_replaced_is_asked_to_stop_and_then_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        for deaf in [false, true] {
            let path = dir.path().join(format!("lock-{deaf}"));
            let mut process =
                std::process::Command::new(std::env::current_exe().expect("this program"));
            process
                .args([
                    "--exact",
                    "daemon::lock::tests::a_process_of_its_own_takes_the_lock_when_told_to",
                ])
                .env(LOCK, &path)
                .stdout(std::process::Stdio::null());
            if deaf {
                process.env(DEAF, "1");
            }
            let mut process = process.spawn().expect("it starts");
            while lock_holder(&path).expect("usable") != Some(process.id()) {
                assert_eq!(process.try_wait().expect("ours"), None, "it has the lock");
            }
            take_over(&path, Rival::IsReplaced, Duration::from_millis(200))
                .expect("it is free by then");
            let status = process.wait().expect("ours");
            let expected = if deaf { Signal::KILL } else { Signal::TERM };
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            assert_eq!(signal, Some(expected.as_raw()));
        }
    }
}

//! The lock that decides who is the daemon, and what is done about who holds it.
//!
//! The system gives it back when its holder dies, however it dies. The file holds the number of the last holder's
//! process, which counts only while somebody holds the lock. The directory in which it lies is locked with it: a file that
//! was removed and made anew would let two daemons work there.

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

/// A daemon that stops may still be serving somebody, for half a minute at most.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(40);

/// One that was asked to stop and has not by then is stuck: it cuts off whom it serves before.
const STOP_TIMEOUT: Duration = Duration::from_secs(28);

/// Whoever looks whether somebody is the daemon holds the lock for a moment.
const PROBE_TIMEOUT: Duration = Duration::from_millis(100);

/// Nothing tells when a lock becomes free, save waiting for it without an end.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

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

/// The lock, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
    /// Not everywhere a directory can be locked.
    _dir: Option<File>,
}

impl Lock {
    /// Whether what is locked is still what lies at its path: not when the home was removed, or is another one now.
    pub(crate) fn is_in_place(&self) -> bool {
        let id = |found: io::Result<fs::Metadata>| found.ok().map(|found| FileId::of(&found));
        let ours = id(self.file.metadata());
        ours.is_some() && ours == id(fs::symlink_metadata(&self.path))
    }
}

/// Takes the lock.
pub(crate) fn take(path: &Path, rival: Rival) -> anyhow::Result<Lock> {
    let mut lock = take_over(path, rival, STOP_TIMEOUT)?;
    lock.file.set_len(0)?;
    lock.file.rewind()?;
    write!(lock.file, "{}", std::process::id())?;
    Ok(lock)
}

/// Ends the daemon that holds the lock, whatever state it is in, and waits until it has ended.
pub(crate) fn end_holder(path: &Path) -> anyhow::Result<()> {
    take_over(path, Rival::IsReplaced, STOP_TIMEOUT).map(drop)
}

fn take_over(path: &Path, rival: Rival, stuck: Duration) -> anyhow::Result<Lock> {
    let cannot_open = || format!("cannot open '{}'", path.display());
    let mut file = open(path).with_context(cannot_open)?;
    let patience = match rival {
        Rival::Stays => PROBE_TIMEOUT,
        Rival::Ends | Rival::IsReplaced => PREDECESSOR_TIMEOUT,
    };
    let deadline = Instant::now() + patience;
    let mut asked: Option<(u32, Instant)> = None;
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
                // The file was removed, or made anew, while its holder was waited for.
                drop(lock);
                file = open(path).with_context(cannot_open)?;
            }
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                if let (Rival::IsReplaced, Some(holder)) = (rival, read_pid(&mut file)) {
                    ask_to_end(holder, &mut asked, stuck);
                }
                thread::sleep(RETRY_INTERVAL);
            }
            Err(TryLockError::WouldBlock) => {
                let holder = read_pid(&mut file).map_or_else(String::new, |pid| pid.to_string());
                let failure = Failure::here(format!("mirrord already runs (process {holder})"));
                return Err(failure.hinted("'mirrord stop' stops it").into());
            }
            Err(TryLockError::Error(err)) => bail!("cannot lock '{}': {err}", path.display()),
        }
    }
}

/// Locks the file, and then the directory in which it lies.
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

/// Asks a daemon to end, once; kills it when it has not for too long. Of several that come and go, each is asked.
fn ask_to_end(holder: u32, asked: &mut Option<(u32, Instant)>, stuck: Duration) {
    match asked {
        Some((pid, since)) if *pid == holder => {
            if since.elapsed() > stuck {
                tracing::warn!("killing process {pid}, which does not stop");
                send_signal(holder, Signal::KILL);
                *asked = Some((holder, Instant::now()));
            }
        }
        _ => {
            tracing::info!("asking the daemon that runs to stop");
            // Its socket may lead to us by now. To it this is the same as 'mirrord stop'; one that somebody has stopped
            // in its tracks must go on to hear of it.
            send_signal(holder, Signal::TERM);
            send_signal(holder, Signal::CONT);
            *asked = Some((holder, Instant::now()));
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
    fn who_holds_it_is_known_until_it_is_free() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        assert_eq!(lock_holder(&path).expect("usable"), None);
        let held = take(&path, Rival::Stays).expect("it is free");
        assert_eq!(
            lock_holder(&path).expect("usable"),
            Some(std::process::id())
        );
        let refused = take(&path, Rival::Stays).expect_err("it is held");
        assert!(
            refused
                .to_string()
                .contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(held);
        assert_eq!(
            lock_holder(&path).expect("usable"),
            None,
            "its number is not it"
        );
        let held = take(&path, Rival::Stays).expect("it is free again");
        // Whoever finds no file, or another one, is kept out by the directory.
        for make_anew in [false, true] {
            assert!(held.is_in_place() != make_anew);
            let _ = fs::remove_file(&path);
            if make_anew {
                fs::write(&path, "").expect("ours");
            }
            assert!(!held.is_in_place());
            take(&path, Rival::Stays).expect_err("it is held");
        }
    }

    #[test]
    fn a_stranger_with_the_number_of_a_daemon_is_left_alone() {
        // The first of all processes is no mirrord; this program is called after it.
        assert!(!is_daemon(1) || !Path::new("/proc/self/exe").exists());
        assert!(is_daemon(std::process::id()));
    }

    /// In a process of its own: who holds the lock, and says so.
    const HOLD: &str = "MIRROR_TEST_HOLD";

    /// And does not hear that it is to stop.
    const DEAF: &str = "MIRROR_TEST_DEAF";

    #[tokio::test]
    async fn somebody_holds_it_when_told_to() {
        let Some(path) = std::env::var_os(HOLD) else {
            return;
        };
        let terminate = tokio::signal::unix::SignalKind::terminate();
        let _deaf = std::env::var_os(DEAF).map(|_| tokio::signal::unix::signal(terminate));
        let held = take(Path::new(&path), Rival::Stays).expect("it is free");
        std::future::pending::<()>().await;
        drop(held);
    }

    #[test]
    fn whoever_is_to_be_replaced_is_asked_and_then_killed() {
        let dir = tempfile::tempdir().expect("a directory");
        for deaf in [false, true] {
            let path = dir.path().join(format!("lock-{deaf}"));
            let mut process =
                std::process::Command::new(std::env::current_exe().expect("this program"));
            process
                .args([
                    "--exact",
                    "daemon::lock::tests::somebody_holds_it_when_told_to",
                ])
                .env(HOLD, &path)
                .stdout(std::process::Stdio::null());
            if deaf {
                process.env(DEAF, "1");
            }
            let mut process = process.spawn().expect("it starts");
            while lock_holder(&path).expect("usable") != Some(process.id()) {
                assert_eq!(process.try_wait().expect("ours"), None, "it holds the lock");
            }
            take_over(&path, Rival::IsReplaced, Duration::from_millis(200)).expect("it is had");
            let status = process.wait().expect("ours");
            let expected = if deaf { Signal::KILL } else { Signal::TERM };
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            assert_eq!(signal, Some(expected.as_raw()));
        }
    }
}

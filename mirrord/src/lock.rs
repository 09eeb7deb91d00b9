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

/// One that was asked to stop and has not by then is stuck: it cuts off whom it serves before.
const STUCK: Duration = Duration::from_secs(28);

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
    take_over(path, rival, STUCK)
}

fn take_over(path: &Path, rival: Rival, stuck: Duration) -> anyhow::Result<File> {
    let mut file = open(path).with_context(|| format!("cannot open '{}'", path.display()))?;
    let patience = match rival {
        Rival::Stays => GLANCE,
        Rival::Ends | Rival::IsReplaced => PREDECESSOR,
    };
    let deadline = Instant::now() + patience;
    let mut asked: Option<(u32, Instant)> = None;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                if let (Rival::IsReplaced, Some(holder)) = (rival, number(&mut file)) {
                    match asked {
                        Some((pid, since)) if pid == holder => {
                            if since.elapsed() > stuck {
                                tracing::warn!("killing process {pid}, which does not stop");
                                send(pid, Signal::KILL);
                                asked = Some((pid, Instant::now()));
                            }
                        }
                        // Of several that come and go, each is asked.
                        _ => {
                            tracing::info!("asking the daemon that runs to stop");
                            // Its socket may lead to us by now. To it this is the same as 'mirrord stop'; one that
                            // somebody has stopped in its tracks must go on to hear of it.
                            send(holder, Signal::TERM);
                            send(holder, Signal::CONT);
                            asked = Some((holder, Instant::now()));
                        }
                    }
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

/// Sends a signal to a daemon, and to nobody else.
fn send(pid: u32, signal: Signal) {
    if !is_one_of_us(pid) {
        return;
    }
    if let Some(pid) = pid.try_into().ok().and_then(Pid::from_raw) {
        // It may have ended by itself in the meantime.
        let _ = kill_process(pid, signal);
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
        // The first of all processes is no mirrord; this program is called after it.
        assert!(!is_one_of_us(1) || !Path::new("/proc/self/exe").exists());
        assert!(is_one_of_us(std::process::id()));
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
            let mut holder =
                std::process::Command::new(std::env::current_exe().expect("this program"));
            holder
                .args(["--exact", "lock::tests::somebody_holds_it_when_told_to"])
                .env(HOLD, &path)
                .stdout(std::process::Stdio::null());
            if deaf {
                holder.env(DEAF, "1");
            }
            let mut holder = holder.spawn().expect("it starts");
            while self::holder(&path).expect("usable") != Some(holder.id()) {
                assert_eq!(holder.try_wait().expect("ours"), None, "it holds the lock");
            }
            take_over(&path, Rival::IsReplaced, Duration::from_millis(200)).expect("it is had");
            let status = holder.wait().expect("ours");
            let expected = if deaf { Signal::KILL } else { Signal::TERM };
            let signal = std::os::unix::process::ExitStatusExt::signal(&status);
            assert_eq!(signal, Some(expected.as_raw()));
        }
    }
}

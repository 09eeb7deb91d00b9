//! git's own lock of `packed-refs`, and the removal of a stale one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use gix::lock::{File, acquire::Fail};

use super::FileStamp;

/// How long to wait for somebody who writes the refs.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How old an unchanged lock must be before its holder is looked for.
const MIN_STALE: Duration = Duration::from_secs(3);

/// How old a lock must be before it is stale where the system does not tell which processes have a file open.
const MIN_STALE_UNKNOWN: Duration = Duration::from_secs(60);

/// How often to try the lock again: nothing tells when it becomes free.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Takes the lock. A stale lock is removed: the process that made it was killed.
pub(crate) fn acquire(git_dir: &Path) -> io::Result<File> {
    let path = git_dir.join(super::PACKED);
    let deadline = Instant::now() + LOCK_TIMEOUT;
    let mut unchanged: Option<(FileStamp, Instant)> = None;
    loop {
        match File::acquire_to_update_resource(&path, Fail::Immediately, None, 0) {
            Ok(lock) => return Ok(lock),
            Err(err) => {
                let kind = err.downcast_any_ref::<io::Error>().map(io::Error::kind);
                if let Some(kind) = kind.filter(|kind| *kind != io::ErrorKind::AlreadyExists) {
                    return Err(kind.into());
                }
            }
        }
        let stamp = FileStamp::of(&lock_path(git_dir));
        let since = match unchanged {
            Some((before, since)) if before == stamp => since,
            _ => {
                unchanged = Some((stamp, Instant::now()));
                Instant::now()
            }
        };
        if since.elapsed() >= MIN_STALE && !may_be_held(git_dir) && remove(git_dir, stamp)? {
            continue;
        }
        if Instant::now() > deadline {
            return Err(io::Error::other("its refs are locked"));
        }
        thread::sleep(RETRY_INTERVAL);
    }
}

fn lock_path(git_dir: &Path) -> PathBuf {
    git_dir.join("packed-refs.lock")
}

/// Removes a stale lock, unless another one has taken its place.
fn remove(git_dir: &Path, stamp: FileStamp) -> io::Result<bool> {
    let lock = lock_path(git_dir);
    if FileStamp::of(&lock) != stamp {
        return Ok(false);
    }
    tracing::warn!("removed the stale lock '{}'", lock.display());
    crate::process::durable::remove(&lock)?;
    Ok(true)
}

/// Whether a process may hold the lock. git closes the file while it holds the lock, so any git that works in the mirror
/// counts as well.
fn may_be_held(git_dir: &Path) -> bool {
    if !Path::new("/proc/self/fd").exists() {
        let modified = fs::metadata(lock_path(git_dir)).and_then(|file| file.modified());
        let age = modified.map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
        return age.is_ok_and(|age| age < MIN_STALE_UNKNOWN);
    }
    let files = [lock_path(git_dir), git_dir.join("packed-refs.new")];
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .map(|process| process.path())
        .any(|process| opens(&process, &files) || is_git_in(&process, git_dir))
}

/// Whether a process has one of the files open.
fn opens(process: &Path, files: &[PathBuf]) -> bool {
    let open = fs::read_dir(process.join("fd")).into_iter().flatten();
    open.flatten()
        .filter_map(|file| fs::read_link(file.path()).ok())
        .any(|file| files.contains(&file))
}

/// Whether a process is a git that was started in the mirror, or with its path in an argument or a variable.
fn is_git_in(process: &Path, git_dir: &Path) -> bool {
    let name = fs::read(process.join("comm")).unwrap_or_default();
    if name.trim_ascii() != b"git" {
        return false;
    }
    let path = git_dir.as_os_str().as_encoded_bytes();
    let contains_path = |file: &str| {
        let text = fs::read(process.join(file)).unwrap_or_default();
        text.windows(path.len()).any(|part| part == path)
    };
    fs::read_link(process.join("cwd")).is_ok_and(|dir| dir.starts_with(git_dir))
        || contains_path("cmdline")
        || contains_path("environ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_removed_when_no_process_has_it_open() {
        let dir = tempfile::tempdir().expect("a directory");
        let git_dir = fs::canonicalize(dir.path()).expect("there");
        let open = fs::File::create(lock_path(&git_dir)).expect("ours");
        let err = acquire(&git_dir).expect_err("a process has it open");
        assert_eq!(err.to_string(), "its refs are locked");
        drop(open);
        drop(acquire(&git_dir).expect("no process has it open"));
        assert!(!lock_path(&git_dir).exists());
    }
}

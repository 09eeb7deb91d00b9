//! How a mirror is, and what of that outlives the daemon.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::protocol::{Failure, FailureKind};

use super::Outcome;
use crate::{durable, upstream::Trouble};

/// When the last good sync was, in seconds since 1970; a file in the mirror.
pub(super) const SYNCED: &str = "synced";

/// Why the last sync failed, when it did; a file in the mirror.
const FAILING: &str = "failing";

/// How a mirror is, as far as this daemon has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// When upstream was last seen to be what the mirror has.
    pub synced: Option<SystemTime>,
    /// Why the last sync failed, if it did.
    pub failing: Option<String>,
    /// Whether a sync runs.
    pub syncing: bool,
    git_dir: Option<PathBuf>,
}

impl State {
    /// Notes how a sync of the mirror in `git_dir` ended.
    pub(super) fn note(&mut self, result: &Result<Outcome, Trouble>, git_dir: &Path) {
        self.syncing = false;
        let failed_before = self.failing.clone().or_else(|| read_failing(git_dir));
        match result {
            Ok(Outcome::InStep { mirror, asked, .. }) => {
                self.synced = Some(*asked);
                self.git_dir = Some(mirror.git_dir.clone());
                self.failing = None;
            }
            Err(trouble) if trouble.failure.kind != FailureKind::Cancelled => {
                let Failure { message, hint, .. } = &trouble.failure;
                self.failing = Some(match hint {
                    // It stays so until somebody does something.
                    Some(hint) if trouble.failure.kind == FailureKind::Wiped => {
                        format!("{message}: {hint}")
                    }
                    _ => message.clone(),
                });
            }
            Ok(Outcome::Moved(_) | Outcome::Gone) | Err(_) => return,
        }
        if self.failing != failed_before
            && let Err(err) = write_failing(git_dir, self.failing.as_deref())
        {
            let git_dir = git_dir.display();
            tracing::warn!("cannot note how the last sync of '{git_dir}' went: {err}");
        }
    }

    /// What this daemon has not seen is as another one has left it.
    pub(super) fn or_as_on_disk(&mut self, git_dir: &Path) {
        if self.synced.is_none() {
            self.synced = read_synced(git_dir);
            self.failing = self.failing.take().or_else(|| read_failing(git_dir));
        }
    }

    /// Writes down what only memory knows. An unchanged upstream costs no write, so what is on disk is older.
    pub(super) fn save(&self) {
        if let (Some(synced), Some(git_dir)) = (self.synced, &self.git_dir)
            // Older as a rule, and younger where a clock was wrong.
            && read_synced(git_dir).map(seconds) != Some(seconds(synced))
            && let Err(err) = write_synced(git_dir, synced)
        {
            let git_dir = git_dir.display();
            tracing::warn!("cannot note the last sync of '{git_dir}': {err}");
        }
    }
}

/// When a mirror was last seen to be in step, as it is on disk.
pub(super) fn read_synced(git_dir: &Path) -> Option<SystemTime> {
    let text = fs::read_to_string(git_dir.join(SYNCED)).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(text.trim().parse().ok()?))
}

/// Writes that down.
///
/// # Errors
/// Fails when the disk refuses.
pub(super) fn write_synced(git_dir: &Path, synced: SystemTime) -> io::Result<()> {
    let line = format!("{}\n", seconds(synced));
    durable::replace(&git_dir.join(SYNCED), line.as_bytes())
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs()
}

fn read_failing(git_dir: &Path) -> Option<String> {
    let text = fs::read_to_string(git_dir.join(FAILING)).ok()?;
    Some(text.trim().to_owned())
}

fn write_failing(git_dir: &Path, failing: Option<&str>) -> io::Result<()> {
    let path = git_dir.join(FAILING);
    match failing {
        // Of a mirror that there is not yet, nothing is noted.
        Some(_) if !git_dir.exists() => Ok(()),
        Some(words) => durable::replace(&path, format!("{words}\n").as_bytes()),
        None => remove(&path),
    }
}

/// Removes what is on disk of how a mirror is.
///
/// # Errors
/// Fails when the disk refuses.
pub(super) fn forget(git_dir: &Path) -> io::Result<()> {
    remove(&git_dir.join(SYNCED))?;
    remove(&git_dir.join(FAILING))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

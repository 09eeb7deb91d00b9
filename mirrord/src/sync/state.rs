//! How a mirror is: when it was last in step, and why its syncs fail. `trouble` keeps the failure for the next daemon.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::{
    protocol::{Failure, FailureKind},
    text::unix_seconds,
};
use sha2::{Digest, Sha256};

use super::{
    hang::Hang,
    job::Outcome,
    trouble::{self, Failed},
};
use crate::{
    mirrors::settings::Auth,
    process::durable,
    repository::refs,
    upstream::{Access, Trouble},
};

/// How a mirror is, by the syncs of this daemon.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// When upstream was last asked and the mirror had everything that it has.
    pub synced: Option<SystemTime>,
    /// Why the last sync failed, if it did.
    pub failing: Option<String>,
    /// When the first of the syncs failed that have failed in a row.
    pub behind_since: Option<SystemTime>,
    /// Whether somebody has to do something: a credential was refused, or cannot be had.
    pub needs_you: bool,
    /// The login that upstream refused, where it is one user's and not the mirror's own.
    refused_login: Option<RefusedLogin>,
    /// Whether the last sync failed because upstream looks wiped.
    is_wiped: bool,
    /// Whether a sync runs.
    pub syncing: bool,
    /// The name of the mirror that the running sync makes.
    pub(super) new_name: Option<String>,
    /// Since when upstream gives no answer, while it gives none.
    pub(super) hang: Option<Hang>,
    /// Where the mirror lies, since its first sync in this daemon.
    git_dir: Option<PathBuf>,
}

/// One user's login that upstream refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefusedLogin {
    /// The login with this digest.
    Known([u8; 32]),
    /// A login that only an earlier daemon knew.
    Unknown,
}

impl RefusedLogin {
    /// The login that a sync failed for, if it did.
    fn new(access: &Access, trouble: &Trouble) -> Option<Self> {
        let kinds = [FailureKind::Refused, FailureKind::LoginNeeded];
        let is_personal = access.auth == Auth::AsGit && kinds.contains(&trouble.failure.kind);
        is_personal.then(|| Self::of(access))
    }

    fn of(access: &Access) -> Self {
        Self::Known(Sha256::digest(access.identity()).into())
    }
}

impl State {
    /// Why the last sync failed, as far as it concerns a user with this access. That upstream refused another user's login
    /// does not.
    pub(crate) fn failing_for(&self, access: &Access) -> Option<&String> {
        let login = self.refused_login;
        let concerns = login.is_none_or(|login| login == RefusedLogin::of(access));
        self.failing.as_ref().filter(|_| concerns)
    }

    /// Records how a sync of the mirror in `git_dir` ended, and which access it had.
    pub(super) fn record(
        &mut self,
        result: &Result<Outcome, Trouble>,
        access: &Access,
        git_dir: &Path,
    ) {
        (self.syncing, self.new_name) = (false, None);
        let failed_before = self.failed(git_dir).or_else(|| trouble::read(git_dir));
        match result {
            Ok(Outcome::InStep {
                mirror, asked_at, ..
            }) => {
                self.synced = Some(*asked_at);
                self.git_dir = Some(mirror.git_dir.clone());
                self.clear_failure();
            }
            Err(trouble) if trouble.failure.kind != FailureKind::Cancelled => {
                let Failure { message, hint, .. } = &*trouble.failure;
                self.needs_you = trouble.needs_you();
                let since = failed_before.as_ref().and_then(|failed| failed.since);
                self.behind_since = since.or_else(|| Some(SystemTime::now()));
                self.refused_login = RefusedLogin::new(access, trouble);
                self.is_wiped = trouble.failure.kind == FailureKind::Wiped;
                self.failing = Some(match hint {
                    // The hint is the way out, and the failure lasts until somebody takes it.
                    Some(hint) if trouble.failure.kind == FailureKind::Wiped => {
                        format!("{message}: {hint}")
                    }
                    _ => message.clone(),
                });
            }
            Ok(Outcome::Moved(_) | Outcome::Gone) | Err(_) => return,
        }
        let failed = self.failed(git_dir);
        if !trouble::is_same(failed.as_ref(), failed_before.as_ref())
            && let Err(err) = trouble::write(git_dir, failed.as_ref())
        {
            let git_dir = git_dir.display();
            tracing::warn!("cannot write how the last sync of '{git_dir}' ended: {err}");
        }
    }

    /// Clears a failure that is over.
    pub(super) fn clear_failure(&mut self) {
        (self.failing, self.behind_since, self.refused_login) = (None, None, None);
        (self.needs_you, self.is_wiped) = (false, false);
    }

    fn failed(&self, git_dir: &Path) -> Option<Failed> {
        Some(Failed {
            message: self.failing.clone()?,
            since: self.behind_since,
            needs_you: self.needs_you,
            is_personal: self.refused_login.is_some(),
            is_wiped: self.is_wiped,
            synced: self.synced.or_else(|| read_synced(git_dir)),
        })
    }

    /// Fills in what an earlier daemon wrote, where this one has run no sync yet.
    pub(super) fn fill_from_disk(&mut self, git_dir: &Path) {
        if self.synced.is_none() {
            self.synced = read_synced(git_dir);
            if self.failing.is_none()
                && let Some(failed) = trouble::read(git_dir)
            {
                (self.failing, self.needs_you) = (Some(failed.message), failed.needs_you);
                (self.behind_since, self.is_wiped) = (failed.since, failed.is_wiped);
                self.refused_login = failed.is_personal.then_some(RefusedLogin::Unknown);
            }
        }
    }

    /// Writes when the mirror was last in step. A sync that finds nothing new writes nothing, so the file has an older time.
    pub(super) fn save(&self) {
        if let (Some(synced), Some(git_dir)) = (self.synced, &self.git_dir)
            // The file's time is older as a rule, and later where a clock was wrong.
            && read_synced(git_dir).map(unix_seconds) != Some(unix_seconds(synced))
            && let Err(err) = write_synced(git_dir, synced)
        {
            let git_dir = git_dir.display();
            tracing::warn!("cannot write when the last sync was of '{git_dir}': {err}");
        }
    }
}

/// Reads when a mirror was last in step.
pub(super) fn read_synced(git_dir: &Path) -> Option<SystemTime> {
    let text = fs::read_to_string(git_dir.join(refs::SYNCED)).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(text.trim().parse().ok()?))
}

/// Writes when a mirror was last in step.
pub(super) fn write_synced(git_dir: &Path, synced: SystemTime) -> io::Result<()> {
    let line = format!("{}\n", unix_seconds(synced));
    durable::replace(&git_dir.join(refs::SYNCED), line.as_bytes())
}

/// Removes the files that say how a mirror is.
pub(super) fn forget(git_dir: &Path) -> io::Result<()> {
    durable::remove(&git_dir.join(refs::SYNCED))?;
    trouble::forget(git_dir)
}

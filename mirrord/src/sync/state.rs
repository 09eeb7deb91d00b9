//! How a mirror is, and what of that outlives the daemon.

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
    Outcome,
    hang::Hang,
    trouble::{self, Failed},
};
use crate::{
    mirrors::settings::Auth,
    process::durable,
    repository::refs,
    upstream::{Access, Trouble},
};

/// How a mirror is, as far as this daemon has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// When upstream was last seen to be what the mirror has.
    pub synced: Option<SystemTime>,
    /// Why the last sync failed, if it did.
    pub failing: Option<String>,
    /// Since when they fail.
    pub behind: Option<SystemTime>,
    /// Whether that needs somebody: a credential was refused, or cannot be had.
    pub needs_you: bool,
    /// Whom it is about, where it is one of those who use the mirror with logins of their own.
    pub about: Option<About>,
    /// Whether it is that upstream is not believed.
    wiped: bool,
    /// Whether a sync runs.
    pub syncing: bool,
    /// What the mirror will be called that this sync makes.
    pub(super) making: Option<String>,
    /// That upstream gives no answer, when it is known.
    pub(super) hang: Option<Hang>,
    git_dir: Option<PathBuf>,
}

/// One of those who use a mirror, by what they sign in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// This one.
    One([u8; 32]),
    /// One of whom a daemon before this knew.
    Somebody,
}

impl About {
    /// Whom a failure is about that is no fault of upstream's: a login that it refuses is one person's, unless it is the
    /// mirror's own.
    fn new(access: &Access, trouble: &Trouble) -> Option<Self> {
        let kinds = [FailureKind::Refused, FailureKind::LoginNeeded];
        let is_personal = access.auth == Auth::AsGit && kinds.contains(&trouble.failure.kind);
        is_personal.then(|| Self::one(access))
    }

    fn one(access: &Access) -> Self {
        Self::One(Sha256::digest(access.identity()).into())
    }
}

impl State {
    /// Why the last sync failed, as far as it concerns somebody with this access: what upstream says to another's login
    /// does not.
    pub(crate) fn failing_for(&self, access: &Access) -> Option<&String> {
        let concerns = self.about.is_none_or(|about| about == About::one(access));
        self.failing.as_ref().filter(|_| concerns)
    }

    /// Notes how a sync of the mirror in `git_dir` with some access ended.
    pub(super) fn note(
        &mut self,
        result: &Result<Outcome, Trouble>,
        access: &Access,
        git_dir: &Path,
    ) {
        (self.syncing, self.making) = (false, None);
        let failed_before = self.failed(git_dir).or_else(|| trouble::read(git_dir));
        match result {
            Ok(Outcome::InStep { mirror, asked, .. }) => {
                self.synced = Some(*asked);
                self.git_dir = Some(mirror.git_dir.clone());
                self.needs_nobody();
            }
            Err(trouble) if trouble.failure.kind != FailureKind::Cancelled => {
                let Failure { message, hint, .. } = &trouble.failure;
                self.needs_you = trouble.needs_you();
                let since = failed_before.as_ref().and_then(|failed| failed.since);
                self.behind = since.or_else(|| Some(SystemTime::now()));
                self.about = About::new(access, trouble);
                self.wiped = trouble.failure.kind == FailureKind::Wiped;
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
        let failed = self.failed(git_dir);
        if !trouble::are_alike(failed.as_ref(), failed_before.as_ref())
            && let Err(err) = trouble::write(git_dir, failed.as_ref())
        {
            let git_dir = git_dir.display();
            tracing::warn!("cannot note how the last sync of '{git_dir}' went: {err}");
        }
    }

    /// Forgets a failure that is over.
    pub(super) fn needs_nobody(&mut self) {
        (self.failing, self.behind, self.about) = (None, None, None);
        (self.needs_you, self.wiped) = (false, false);
    }

    fn failed(&self, git_dir: &Path) -> Option<Failed> {
        Some(Failed {
            words: self.failing.clone()?,
            since: self.behind,
            needs_you: self.needs_you,
            is_personal: self.about.is_some(),
            is_wiped: self.wiped,
            synced: self.synced.or_else(|| read_synced(git_dir)),
        })
    }

    /// What this daemon has not seen is as another one has left it.
    pub(super) fn or_as_on_disk(&mut self, git_dir: &Path) {
        if self.synced.is_none() {
            self.synced = read_synced(git_dir);
            if self.failing.is_none()
                && let Some(failed) = trouble::read(git_dir)
            {
                (self.failing, self.needs_you) = (Some(failed.words), failed.needs_you);
                (self.behind, self.wiped) = (failed.since, failed.is_wiped);
                self.about = failed.is_personal.then_some(About::Somebody);
            }
        }
    }

    /// Writes down what only memory knows. An unchanged upstream costs no write, so what is on disk is older.
    pub(super) fn save(&self) {
        if let (Some(synced), Some(git_dir)) = (self.synced, &self.git_dir)
            // Older as a rule, and younger where a clock was wrong.
            && read_synced(git_dir).map(unix_seconds) != Some(unix_seconds(synced))
            && let Err(err) = write_synced(git_dir, synced)
        {
            let git_dir = git_dir.display();
            tracing::warn!("cannot note the last sync of '{git_dir}': {err}");
        }
    }
}

/// When a mirror was last seen to be in step, as it is on disk.
pub(super) fn read_synced(git_dir: &Path) -> Option<SystemTime> {
    let text = fs::read_to_string(git_dir.join(refs::SYNCED)).ok()?;
    Some(UNIX_EPOCH + Duration::from_secs(text.trim().parse().ok()?))
}

/// Writes that down.
pub(super) fn write_synced(git_dir: &Path, synced: SystemTime) -> io::Result<()> {
    let line = format!("{}\n", unix_seconds(synced));
    durable::replace(&git_dir.join(refs::SYNCED), line.as_bytes())
}

/// Removes what is on disk of how a mirror is.
pub(super) fn forget(git_dir: &Path) -> io::Result<()> {
    durable::remove(&git_dir.join(refs::SYNCED))?;
    trouble::forget(git_dir)
}

//! How a mirror is, and what of that outlives the daemon.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::protocol::{Failure, FailureKind};

use sha2::{Digest, Sha256};

use super::Outcome;
use crate::{
    durable,
    settings::Auth,
    upstream::{Access, Trouble},
};

/// When the last good sync was, in seconds since 1970; a file in the mirror.
pub(super) const SYNCED: &str = "synced";

/// Why the last sync failed, when it did; a file in the mirror.
const FAILING: &str = "failing";

/// The mark there of what needs somebody.
const NEEDS_YOU: &str = "needs-you";

/// The mark there of what is about one of those who use the mirror.
const PERSONAL: &str = "personal";

/// How a mirror is, as far as this daemon has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// When upstream was last seen to be what the mirror has.
    pub synced: Option<SystemTime>,
    /// Why the last sync failed, if it did.
    pub failing: Option<String>,
    /// Whether that needs somebody: a credential was refused, or cannot be had.
    pub needs_you: bool,
    /// Whom it is about, where it is one of those who use the mirror with logins of their own.
    pub about: Option<About>,
    /// Whether a sync runs.
    pub syncing: bool,
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
        self.syncing = false;
        let failed_before = self.failed().or_else(|| read_failing(git_dir));
        match result {
            Ok(Outcome::InStep { mirror, asked, .. }) => {
                self.synced = Some(*asked);
                self.git_dir = Some(mirror.git_dir.clone());
                self.needs_nobody();
            }
            Err(trouble) if trouble.failure.kind != FailureKind::Cancelled => {
                let Failure { message, hint, .. } = &trouble.failure;
                self.needs_you = trouble.needs_you();
                self.about = About::new(access, trouble);
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
        let failed = self.failed();
        if failed != failed_before
            && let Err(err) = write_failing(git_dir, failed.as_ref())
        {
            let git_dir = git_dir.display();
            tracing::warn!("cannot note how the last sync of '{git_dir}' went: {err}");
        }
    }

    /// Forgets a failure that is over.
    pub(super) fn needs_nobody(&mut self) {
        (self.failing, self.needs_you, self.about) = (None, false, None);
    }

    fn failed(&self) -> Option<Failed> {
        Some(Failed {
            words: self.failing.clone()?,
            needs_you: self.needs_you,
            is_personal: self.about.is_some(),
        })
    }

    /// What this daemon has not seen is as another one has left it.
    pub(super) fn or_as_on_disk(&mut self, git_dir: &Path) {
        if self.synced.is_none() {
            self.synced = read_synced(git_dir);
            if self.failing.is_none()
                && let Some(failed) = read_failing(git_dir)
            {
                (self.failing, self.needs_you) = (Some(failed.words), failed.needs_you);
                self.about = failed.is_personal.then_some(About::Somebody);
            }
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

/// How the last sync failed, as it is on disk: the words, and a line of marks.
#[derive(PartialEq, Eq)]
struct Failed {
    words: String,
    needs_you: bool,
    is_personal: bool,
}

fn read_failing(git_dir: &Path) -> Option<Failed> {
    let text = fs::read_to_string(git_dir.join(FAILING)).ok()?;
    let (words, marks) = text.split_once('\n').unwrap_or((&text, ""));
    let has = |mark| marks.split_whitespace().any(|word| word == mark);
    Some(Failed {
        words: words.trim().to_owned(),
        needs_you: has(NEEDS_YOU),
        is_personal: has(PERSONAL),
    })
}

fn write_failing(git_dir: &Path, failed: Option<&Failed>) -> io::Result<()> {
    let path = git_dir.join(FAILING);
    let Some(failed) = failed else {
        return remove(&path);
    };
    // Of a mirror that there is not yet, nothing is noted.
    if !git_dir.exists() {
        return Ok(());
    }
    let marks = [
        (failed.needs_you, NEEDS_YOU),
        (failed.is_personal, PERSONAL),
    ];
    let marks = marks
        .iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, mark)| *mark);
    let marks = marks.collect::<Vec<_>>().join(" ");
    let text = format!("{}\n{marks}\n", failed.words);
    durable::replace(&path, text.as_bytes())
}

/// Removes what is on disk of how a mirror is.
///
/// # Errors
/// Fails when the disk refuses.
pub(super) fn forget(git_dir: &Path) -> io::Result<()> {
    remove(&git_dir.join(SYNCED))?;
    remove(&git_dir.join(FAILING))
}

/// Removes what is on disk of how the last sync failed.
///
/// # Errors
/// Fails when the disk refuses.
pub(super) fn forget_failing(git_dir: &Path) -> io::Result<()> {
    remove(&git_dir.join(FAILING))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

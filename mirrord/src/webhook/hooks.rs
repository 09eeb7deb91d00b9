//! The hooks of the mirrors: the id under which each is reached, and what a delivery must prove itself with.
//!
//! They lie in a file of the mirror's own that nobody but its owner can read, and never in the keyring: a delivery comes
//! when it comes, also while the keyring is locked, and all that can be done with a hook's secrets is to make this one
//! mirror look whether there is something new. There they go wherever the mirror goes, and end with it.

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use common::protocol::{Failure, FailureKind, OrFailure, Secret};

use crate::{
    credentials::secrets,
    mirrors::{
        registry::{Mirror, Registry},
        settings::is_secret_id,
    },
    process::id,
};

/// The file in a mirror: the id, the secret token, and the signing token or nothing, a line each.
const FILE: &str = "webhook";

/// How GitLab's signing tokens begin.
const SIGNING: &str = "whsec_";

/// How long the key in one may be, in bytes. GitLab's have 32.
const KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// What failed when the system gives no random bytes.
const NO_RANDOMNESS: &str = "cannot make up a hook";

/// The hook of a mirror.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    /// 32 hexadecimal digits that nobody can guess.
    pub id: String,
    /// What a delivery carries, or is signed with where the host signs so.
    pub token: Secret,
    /// What it must be signed with, where that has been agreed on.
    pub signing: Option<Secret>,
}

/// Where each id leads.
#[derive(Debug)]
pub(crate) struct Hooks {
    registry: Registry,
    /// Held while a hook is read, changed and written.
    known: Mutex<HashMap<String, Known>>,
}

/// A mirror and its hook.
pub(super) type Found = Arc<(Mirror, Hook)>;

/// What is known of where an id leads.
#[derive(Debug)]
struct Known {
    git_dir: PathBuf,
    /// What was read there last, and of which files.
    read: Option<([Stamp; 2], Found)>,
}

/// By what it is told whether a file is another one, or has changed: its number, its size, and when that was.
type Stamp = (u64, u64, i64, i64);

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook(…)")
    }
}

impl Hook {
    fn new() -> Result<Self, Failure> {
        Ok(Self {
            id: random()?,
            token: Secret(format!("{}{}", random()?, random()?)),
            signing: None,
        })
    }

    /// Gives it another secret token.
    pub(crate) fn rotate(&mut self) -> Result<(), Failure> {
        self.token = Self::new()?.token;
        Ok(())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let (id, token, signing) = (lines.next()?, lines.next()?, lines.next()?);
        (is_secret_id(id) && !token.is_empty()).then(|| Self {
            id: id.to_owned(),
            token: Secret(token.to_owned()),
            signing: (!signing.is_empty()).then(|| Secret(signing.to_owned())),
        })
    }

    fn text(&self) -> String {
        let Secret(token) = &self.token;
        let signing = self.signing.as_ref().map(|Secret(text)| text.as_str());
        format!("{}\n{token}\n{}", self.id, signing.unwrap_or_default())
    }
}

/// Whether a mirror has a hook, and so somebody who has told its host of it.
pub(crate) fn has_hook(git_dir: &Path) -> bool {
    git_dir.join(FILE).exists()
}

impl Known {
    fn at(git_dir: PathBuf) -> Self {
        let read = None;
        Self { git_dir, read }
    }
}

impl Hooks {
    /// Of the mirrors of a registry.
    pub(crate) fn new(registry: Registry) -> Self {
        let known = Mutex::default();
        Self { registry, known }
    }

    /// Looks where the hooks are by now. Blocks.
    pub(crate) fn look(&self) {
        let mut known = self.known();
        known.clear();
        match self.registry.places() {
            Ok(places) => {
                for git_dir in places {
                    match read(&git_dir) {
                        Ok(Some(hook)) => drop(known.insert(hook.id, Known::at(git_dir))),
                        Ok(None) => {}
                        Err(failure) => tracing::warn!("{failure}"),
                    }
                }
            }
            Err(err) => tracing::warn!("cannot read the mirrors: {err}"),
        }
    }

    /// The mirror that an id leads to, and its hook, if both were read before and are as they were. No more than two looks
    /// at the disk: what comes a thousand times a second must cost little.
    pub(super) fn as_before(&self, id: &str) -> Option<Found> {
        let known = self.known();
        let known = known.get(id)?;
        let (stamps, found) = known.read.as_ref()?;
        (stamps_of(&known.git_dir)? == *stamps).then(|| found.clone())
    }

    /// Whether an id leads anywhere, as far as is known.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.known().contains_key(id)
    }

    /// The mirror that an id leads to, and its hook. Blocks.
    pub(super) fn find(&self, id: &str) -> Result<Option<Found>, Failure> {
        let place = || self.known().get(id).map(|known| known.git_dir.clone());
        let Some(git_dir) = place() else {
            return Ok(None);
        };
        if let Some(found) = self.at(git_dir, id)? {
            return Ok(Some(found));
        }
        // The mirror has been moved, or is gone.
        self.look();
        match place() {
            Some(git_dir) => self.at(git_dir, id),
            None => Ok(None),
        }
    }

    /// The hook of a mirror, which gets one if it has none, after a change if there is one to make. Blocks.
    pub(crate) fn of(
        &self,
        mirror: &Mirror,
        change: impl FnOnce(&mut Hook) -> Result<(), Failure>,
    ) -> Result<Hook, Failure> {
        let mut known = self.known();
        let old = read(&mirror.git_dir)?;
        let mut hook = match &old {
            Some(hook) => hook.clone(),
            None => Hook::new()?,
        };
        change(&mut hook)?;
        if old.as_ref() != Some(&hook) {
            secrets::write_in(&mirror.git_dir, FILE, &hook.text())?;
        }
        known.insert(hook.id.clone(), Known::at(mirror.git_dir.clone()));
        Ok(hook)
    }

    fn at(&self, git_dir: PathBuf, id: &str) -> Result<Option<Found>, Failure> {
        // Before they are read: what changes meanwhile is read again.
        let stamps = stamps_of(&git_dir);
        let Some(hook) = read(&git_dir)?.filter(|hook| hook.id == id) else {
            return Ok(None);
        };
        let mirror = self
            .registry
            .at(&git_dir)
            .or_failure("cannot read the mirror")?;
        let Some(mirror) = mirror else {
            return Ok(None);
        };
        let found = Arc::new((mirror, hook));
        let read = stamps.map(|stamps| (stamps, found.clone()));
        self.known().insert(id.to_owned(), Known { git_dir, read });
        Ok(Some(found))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a text can be the id of a hook.
pub(super) fn is_id(text: &str) -> bool {
    is_secret_id(text)
}

/// A signing token, as GitLab shows it.
pub(crate) fn signing(token: Secret) -> Result<Secret, Failure> {
    let key = token.0.strip_prefix(SIGNING);
    let key = key.and_then(|key| BASE64_STANDARD.decode(key).ok());
    if key.is_some_and(|key| KEY.contains(&key.len())) {
        return Ok(token);
    }
    let message = "that is not a signing token";
    let hint = format!("GitLab's begin with '{SIGNING}', and it shows each of them once");
    Err(Failure::new(FailureKind::Usage, message).hinted(hint))
}

/// A new signing token.
pub(crate) fn new_signing() -> Result<Secret, Failure> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(io::Error::other)
        .or_failure(NO_RANDOMNESS)?;
    Ok(Secret(format!("{SIGNING}{}", BASE64_STANDARD.encode(key))))
}

/// How the files are in which a mirror's settings and its hook lie.
fn stamps_of(git_dir: &Path) -> Option<[Stamp; 2]> {
    let stamp = |name: &str| {
        let found = fs::symlink_metadata(git_dir.join(name)).ok()?;
        Some((found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
    };
    Some([stamp("config")?, stamp(FILE)?])
}

fn read(git_dir: &Path) -> Result<Option<Hook>, Failure> {
    let Some(text) = secrets::read_in(git_dir, FILE)? else {
        return Ok(None);
    };
    let bad = || {
        let path = git_dir.join(FILE);
        let message = format!("'{}' is not what mirrord has written", path.display());
        Failure::here(message).hinted("remove it; the mirror then gets a new hook")
    };
    Hook::parse(&text).map(Some).ok_or_else(bad)
}

fn random() -> Result<String, Failure> {
    id::random().or_failure(NO_RANDOMNESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_reads_back_as_it_was_written_and_is_never_the_same() {
        let (mut one, other) = (Hook::new().expect("random"), Hook::new().expect("random"));
        assert!(one.id != other.id && one.token != other.token);
        assert_eq!(Hook::parse(&one.text()).as_ref(), Some(&one));
        one.signing = Some(new_signing().expect("random"));
        assert_eq!(Hook::parse(&one.text()).as_ref(), Some(&one));
        let (id, token) = (one.id.clone(), one.token.clone());
        one.rotate().expect("random");
        assert!(one.id == id && one.token != token, "the id is for ever");
        assert_eq!(format!("{one:?}"), "Hook(…)");
    }

    #[test]
    fn part_of_a_hook_is_none() {
        let text = Hook::new().expect("random").text();
        for end in 0..text.len() {
            assert!(Hook::parse(&text[..end]).is_none(), "{end}");
        }
        assert!(Hook::parse(&text.to_uppercase()).is_none());
    }

    #[test]
    fn a_signing_token_is_one_of_gitlabs() {
        let is = |text: &str| signing(Secret(text.to_owned())).is_ok();
        assert!(is("whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="));
        assert!(is("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"));
        for odd in [
            "",
            "whsec_",
            "dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=",
            "whsec_dGVzdA==",
            "whsec_not base64 at all, but long enough to be a key",
        ] {
            assert!(!is(odd), "{odd}");
        }
        assert!(is(&new_signing().expect("random").0));
    }
}

//! The hooks of the mirrors: the id in the URL of each, and the secrets that authenticate its deliveries.
//!
//! A hook is a file in the mirror's directory that only the owner can read. It is moved and removed with the mirror. It is
//! not in the keyring, because deliveries also arrive while the keyring is locked; and its secrets are worth little:
//! whoever has them can start a sync of this mirror.

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use common::protocol::{Failure, FailureKind, OrFailure, Secret};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    credentials::secrets,
    mirrors::{
        registry::{Mirror, Registry},
        settings::is_secret_id,
    },
    process::id,
};

/// The file in a mirror. Its lines are the id, the secret token, and the signing token or nothing.
const FILE: &str = "webhook";

/// The beginning of a signing token, as Standard Webhooks defines it.
const SIGNING_PREFIX: &str = "whsec_";

/// The length of the key in a signing token, as Standard Webhooks defines it. GitLab's have 32 bytes.
const SIGNING_KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The message when the system gives no random bytes.
const NO_RANDOMNESS: &str = "cannot make up a hook";

/// The hook of a mirror.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    /// The random id in the URL: 32 hexadecimal digits.
    pub id: String,
    /// The secret token: GitLab sends it, GitHub, Gitea and Forgejo sign with it.
    pub token: Secret,
    /// The signing token; if there is one, every delivery must be signed with it.
    pub signing: Option<Secret>,
}

/// The hooks of all mirrors, by id.
#[derive(Debug)]
pub(crate) struct Hooks {
    registry: Registry,
    /// The lock is also kept while a hook is read, changed and written.
    by_id: Mutex<HashMap<String, Entry>>,
}

/// A mirror and its hook.
#[derive(Debug)]
pub(super) struct MirrorHook {
    pub mirror: Mirror,
    pub hook: Hook,
}

/// Where the hook of an id is.
#[derive(Debug)]
struct Entry {
    git_dir: PathBuf,
    /// The mirror and the hook as they were last read; `None` if they have not been.
    cached: Option<Cached>,
}

/// A mirror and its hook in memory.
#[derive(Debug)]
struct Cached {
    stamps: Stamps,
    found: Arc<MirrorHook>,
}

/// The stamps of the two files from which a `MirrorHook` is read.
#[derive(Debug, PartialEq, Eq)]
struct Stamps {
    config: FileStamp,
    hook: FileStamp,
}

/// What differs when a file has been changed or replaced.
#[derive(Debug, PartialEq, Eq)]
struct FileStamp {
    inode: u64,
    bytes: u64,
    /// The time of the last change of the inode: seconds and nanoseconds.
    changed: (i64, i64),
}

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

    /// Replaces the secret token by a new one.
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

/// Whether a mirror has a hook. If so, somebody has set it up for deliveries.
pub(crate) fn has_hook(git_dir: &Path) -> bool {
    git_dir.join(FILE).exists()
}

impl Entry {
    fn new(git_dir: PathBuf) -> Self {
        let cached = None;
        Self { git_dir, cached }
    }
}

impl Hooks {
    /// Creates an empty index of the hooks of a registry's mirrors; `reload` fills it.
    pub(crate) fn new(registry: Registry) -> Self {
        let by_id = Mutex::default();
        Self { registry, by_id }
    }

    /// Reads the ids of all hooks from the mirrors. Blocks.
    pub(crate) fn reload(&self) {
        let mut by_id = self.lock();
        by_id.clear();
        match self.registry.mirror_dirs() {
            Ok(places) => {
                for git_dir in places {
                    match read(&git_dir) {
                        Ok(Some(hook)) => drop(by_id.insert(hook.id, Entry::new(git_dir))),
                        Ok(None) => {}
                        Err(failure) => tracing::warn!("{failure}"),
                    }
                }
            }
            Err(err) => tracing::warn!("cannot read the mirrors: {err}"),
        }
    }

    /// Returns the mirror and the hook of an id from memory, if their files have not changed since they were read. Costs
    /// two calls of lstat(2), so that a flood of deliveries is cheap.
    pub(super) fn find_cached(&self, id: &str) -> Option<Arc<MirrorHook>> {
        let by_id = self.lock();
        let entry = by_id.get(id)?;
        let cached = entry.cached.as_ref()?;
        (stamps(&entry.git_dir)? == cached.stamps).then(|| cached.found.clone())
    }

    /// Whether a mirror had this id when the hooks were last read.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Reads the mirror and the hook of an id. Blocks.
    pub(super) fn find(&self, id: &str) -> Result<Option<Arc<MirrorHook>>, Failure> {
        let git_dir = || self.lock().get(id).map(|entry| entry.git_dir.clone());
        let Some(old_dir) = git_dir() else {
            return Ok(None);
        };
        if let Some(found) = self.read_into_cache(old_dir, id)? {
            return Ok(Some(found));
        }
        // The mirror has been renamed or removed.
        self.reload();
        match git_dir() {
            Some(git_dir) => self.read_into_cache(git_dir, id),
            None => Ok(None),
        }
    }

    /// Changes the hook of a mirror and returns it. A mirror that has no hook gets one first. Blocks.
    pub(crate) fn update(
        &self,
        mirror: &Mirror,
        change: impl FnOnce(&mut Hook) -> Result<(), Failure>,
    ) -> Result<Hook, Failure> {
        let mut by_id = self.lock();
        let old = read(&mirror.git_dir)?;
        let mut hook = match &old {
            Some(hook) => hook.clone(),
            None => Hook::new()?,
        };
        change(&mut hook)?;
        if old.as_ref() != Some(&hook) {
            secrets::write_to_mirror(&mirror.git_dir, FILE, &hook.text())?;
        }
        by_id.insert(hook.id.clone(), Entry::new(mirror.git_dir.clone()));
        Ok(hook)
    }

    /// Reads a mirror and its hook, and keeps them in memory; `None` if the mirror is gone or has another id.
    fn read_into_cache(
        &self,
        git_dir: PathBuf,
        id: &str,
    ) -> Result<Option<Arc<MirrorHook>>, Failure> {
        // The stamps are taken first: if a file changes while it is read, it is read again.
        let stamps = stamps(&git_dir);
        let Some(hook) = read(&git_dir)?.filter(|hook| hook.id == id) else {
            return Ok(None);
        };
        let mirror = self
            .registry
            .mirror_at(&git_dir)
            .or_failure("cannot read the mirror")?;
        let Some(mirror) = mirror else {
            return Ok(None);
        };
        let found = Arc::new(MirrorHook { mirror, hook });
        let cached = stamps.map(|stamps| Cached {
            stamps,
            found: found.clone(),
        });
        let entry = Entry { git_dir, cached };
        self.lock().insert(id.to_owned(), entry);
        Ok(Some(found))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.by_id.lock()
    }
}

/// Whether a text can be the id of a hook.
pub(super) fn is_id(text: &str) -> bool {
    is_secret_id(text)
}

/// Checks that a text is a signing token.
pub(crate) fn parse_signing_token(token: Secret) -> Result<Secret, Failure> {
    let key = token.0.strip_prefix(SIGNING_PREFIX);
    let key = key.and_then(|key| BASE64_STANDARD.decode(key).ok());
    if key.is_some_and(|key| SIGNING_KEY_BYTES.contains(&key.len())) {
        return Ok(token);
    }
    let message = "that is not a signing token";
    let hint = format!("GitLab's begin with '{SIGNING_PREFIX}', and it shows each of them once");
    Err(Failure::new(FailureKind::Usage, message).hinted(hint))
}

/// Creates a random signing token.
pub(crate) fn new_signing_token() -> Result<Secret, Failure> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .map_err(io::Error::other)
        .or_failure(NO_RANDOMNESS)?;
    Ok(Secret(format!(
        "{SIGNING_PREFIX}{}",
        BASE64_STANDARD.encode(key)
    )))
}

/// The stamps of the files with a mirror's settings and its hook.
fn stamps(git_dir: &Path) -> Option<Stamps> {
    let stamp = |name: &str| {
        let metadata = fs::symlink_metadata(git_dir.join(name)).ok()?;
        Some(FileStamp {
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    };
    Some(Stamps {
        config: stamp("config")?,
        hook: stamp(FILE)?,
    })
}

/// Reads the hook of a mirror; `None` if it has none.
fn read(git_dir: &Path) -> Result<Option<Hook>, Failure> {
    let Some(text) = secrets::read_from_mirror(git_dir, FILE)? else {
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
    fn a_hook_reads_back_as_it_was_written_and_every_hook_is_random() {
        let (mut one, other) = (Hook::new().expect("random"), Hook::new().expect("random"));
        assert!(one.id != other.id && one.token != other.token);
        assert_eq!(Hook::parse(&one.text()).as_ref(), Some(&one));
        one.signing = Some(new_signing_token().expect("random"));
        assert_eq!(Hook::parse(&one.text()).as_ref(), Some(&one));
        let (id, token) = (one.id.clone(), one.token.clone());
        one.rotate().expect("random");
        assert!(one.id == id && one.token != token, "the id stays");
        assert_eq!(format!("{one:?}"), "Hook(…)");
    }

    #[test]
    fn a_file_that_ends_early_is_not_a_hook() {
        let text = Hook::new().expect("random").text();
        for end in 0..text.len() {
            assert!(Hook::parse(&text[..end]).is_none(), "{end}");
        }
        assert!(Hook::parse(&text.to_uppercase()).is_none());
    }

    #[test]
    fn a_signing_token_has_a_prefix_and_a_key() {
        let is_valid = |text: &str| parse_signing_token(Secret(text.to_owned())).is_ok();
        assert!(is_valid(
            "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="
        ));
        assert!(is_valid("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"));
        for odd in [
            "",
            "whsec_",
            "dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q=",
            "whsec_dGVzdA==",
            "whsec_not base64 at all, but long enough to be a key",
        ] {
            assert!(!is_valid(odd), "{odd}");
        }
        assert!(is_valid(&new_signing_token().expect("random").0));
    }
}

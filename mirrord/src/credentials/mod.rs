//! Logins: those that are cached in memory, and those that have read an upstream before.
//!
//! A login is cached for the place in which it was found, until it is refused or a quarter of an hour unused, so that an
//! unchanged fetch needs neither a question nor a second request. The copy in a mirror is served, fresh or stale, only to a
//! login that has read this upstream before. A file in the mirror records these as slow salted hashes, from which nobody can
//! recover a login.

pub(crate) mod secrets;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use common::{
    protocol::{Failure, Login, Secret},
    text::unix_seconds,
};
use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use self::secrets::Secrets;
use crate::{mirrors::settings::SecretId, process::durable};

/// How long an unused login is cached.
pub(crate) const LOGIN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The file in a mirror that records who has read its upstream.
const READERS: &str = "readers";

/// The line for an upstream that anybody may read.
const ANYBODY: &str = "anybody";

/// How many readers of one upstream are recorded; the oldest line goes first.
const MAX_READERS: usize = 32;

/// The key of a cached login: an upstream or a proxy, and where the request came from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CredentialKey {
    /// The URL, without credentials.
    pub(crate) url: String,
    /// The user name that the URL was typed with.
    pub(crate) username: Option<Secret>,
    /// The fingerprint of the client's git configuration and environment.
    pub(crate) context: [u8; 32],
}

/// A login that worked.
struct CachedLogin {
    login: Login,
    used: Instant,
    /// When it expires, in seconds since 1970.
    expires: Option<u64>,
}

impl CachedLogin {
    fn is_good(&self) -> bool {
        self.used.elapsed() < LOGIN_LIFETIME
            && self
                .expires
                .is_none_or(|expires| unix_seconds(SystemTime::now()) < expires)
    }
}

/// A lock that is held while a person is asked.
type QuestionLock = Arc<tokio::sync::Mutex<()>>;

/// The logins and secrets that this daemon knows.
pub(crate) struct Credentials {
    /// The stores of the mirrors' own secrets.
    pub secrets: Secrets,
    /// Secrets that were read lately, and when each was last used.
    cached_secrets: Mutex<HashMap<SecretId, (Secret, Instant)>>,
    cached_logins: Mutex<HashMap<CredentialKey, CachedLogin>>,
    question_locks: Mutex<HashMap<(CredentialKey, bool), QuestionLock>>,
    /// Readers that this daemon has recognised, by mirror and hash of identity, so that each slow hash is computed once.
    known_readers: Mutex<HashSet<(PathBuf, [u8; 32])>>,
    /// The keys with which a mirror's upstream was read while this daemon lives, with whatever login.
    reader_keys: Mutex<HashSet<(PathBuf, CredentialKey)>>,
    /// Locked while a file of readers is read, changed and written.
    writing: Mutex<()>,
}

impl Credentials {
    /// Takes the stores of secrets; nothing is cached yet.
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            cached_secrets: Mutex::default(),
            cached_logins: Mutex::default(),
            question_locks: Mutex::default(),
            known_readers: Mutex::default(),
            reader_keys: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// Returns a stored secret, if it was stored for `place`. A secret is cached for as long as a login, so that an unchanged
    /// fetch needs no store.
    pub(crate) async fn stored_secret(
        &self,
        id: &SecretId,
        place: &str,
    ) -> Result<Secret, Failure> {
        let secret = self.cached_secret(id).await?;
        match secret.0.split_once('\n') {
            Some((bound, secret)) if bound == place => Ok(Secret(secret.to_owned())),
            // The mirror's configuration was edited by hand.
            _ => Err(Failure::here(format!(
                "the stored secret is not for '{place}'"
            ))),
        }
    }

    async fn cached_secret(&self, id: &SecretId) -> Result<Secret, Failure> {
        let known = {
            let mut read = self.cached_secrets.lock();
            read.retain(|_, (_, used)| used.elapsed() < LOGIN_LIFETIME);
            read.get_mut(id).map(|(secret, used)| {
                *used = Instant::now();
                secret.clone()
            })
        };
        if let Some(secret) = known {
            return Ok(secret);
        }
        let secret = Secret(self.secrets.get(id).await?);
        let mut read = self.cached_secrets.lock();
        read.insert(id.clone(), (secret.clone(), Instant::now()));
        Ok(secret)
    }

    /// Removes a secret that no configuration names any more.
    pub(crate) async fn remove(&self, id: &SecretId) -> Result<(), Failure> {
        self.cached_secrets.lock().remove(id);
        self.secrets.remove(id).await
    }

    /// Returns the cached login for a key.
    pub(crate) fn cached_login(&self, place: &CredentialKey) -> Option<Login> {
        let mut kept = self.cached_logins.lock();
        kept.retain(|_, cached| cached.is_good());
        let cached = kept.get_mut(place)?;
        cached.used = Instant::now();
        Some(cached.login.clone())
    }

    /// Caches a login that worked, until it expires at the latest.
    pub(crate) fn cache_login(&self, place: &CredentialKey, login: &Login, expires: Option<u64>) {
        let cached = CachedLogin {
            login: login.clone(),
            used: Instant::now(),
            expires,
        };
        self.cached_logins.lock().insert(place.clone(), cached);
    }

    /// Forgets a login that was refused.
    pub(crate) fn forget_login(&self, place: &CredentialKey) {
        self.cached_logins.lock().remove(place);
    }

    /// Returns the lock to hold while a person is asked for a login, so that others with the same key wait for the answer.
    /// Requests for which only programs are asked have a lock of their own, and so do not wait for a person.
    pub(crate) fn question_lock(&self, place: &CredentialKey, can_ask: bool) -> QuestionLock {
        let mut questions = self.question_locks.lock();
        // A lock that only this map refers to is not in use.
        questions.retain(|_, question| Arc::strong_count(question) > 1);
        questions
            .entry((place.clone(), can_ask))
            .or_default()
            .clone()
    }

    /// Records that a mirror's upstream was read with a key.
    pub(crate) fn record_reader_key(&self, git_dir: &Path, place: CredentialKey) {
        self.reader_keys().insert((git_dir.to_owned(), place));
    }

    /// Whether a mirror's upstream was read with a key before. So a user whose login was revoked still has their local
    /// branches.
    pub(crate) fn has_read_from(&self, git_dir: &Path, place: &CredentialKey) -> bool {
        self.reader_keys()
            .contains(&(git_dir.to_owned(), place.clone()))
    }

    fn reader_keys(&self) -> MutexGuard<'_, HashSet<(PathBuf, CredentialKey)>> {
        self.reader_keys.lock()
    }

    /// Forgets who has read the upstream of a mirror, because the mirror gets another upstream or is removed. Blocks.
    pub(crate) fn forget_readers(&self, git_dir: &Path) -> io::Result<()> {
        let _turn = self.writing.lock();
        self.known_readers().retain(|(mirror, _)| mirror != git_dir);
        self.reader_keys().retain(|(mirror, _)| mirror != git_dir);
        durable::remove(&git_dir.join(READERS))
    }

    /// Whether an identity has read the upstream of this mirror before; the empty identity is anybody. Blocks.
    pub(crate) fn has_read(&self, git_dir: &Path, identity: &[u8]) -> bool {
        if self.known_readers().contains(&reader(git_dir, identity)) {
            return true;
        }
        // What anybody has read without a login, everybody may read.
        let has_read = read_readers(git_dir)
            .iter()
            .any(|line| line == ANYBODY || hash_matches(line, identity));
        if has_read {
            self.known_readers().insert(reader(git_dir, identity));
        }
        has_read
    }

    /// Records that an identity has just read upstream. Blocks.
    pub(crate) fn record_reader(&self, git_dir: &Path, identity: &[u8]) -> io::Result<()> {
        // A mirror that was removed and made again has no such file.
        if self.known_readers().contains(&reader(git_dir, identity))
            && git_dir.join(READERS).exists()
        {
            return Ok(());
        }
        let _turn = self.writing.lock();
        let mut lines = read_readers(git_dir);
        if !lines.iter().any(|line| hash_matches(line, identity)) {
            let line = match identity {
                [] => ANYBODY.to_owned(),
                identity => hash_identity(identity)?,
            };
            lines.push(line);
            let surplus = lines.len().saturating_sub(MAX_READERS);
            lines.drain(..surplus);
            write_readers(git_dir, &lines)?;
        }
        self.known_readers().insert(reader(git_dir, identity));
        Ok(())
    }

    /// Records that upstream wants a login now. Blocks.
    pub(crate) fn record_private(&self, git_dir: &Path) -> io::Result<()> {
        let _turn = self.writing.lock();
        let lines = read_readers(git_dir);
        if !lines.iter().any(|line| line == ANYBODY) {
            return Ok(());
        }
        // Readers that were recognised because anybody may read have not read with their own login.
        self.known_readers().retain(|(mirror, _)| mirror != git_dir);
        write_readers(
            git_dir,
            &lines
                .into_iter()
                .filter(|line| line != ANYBODY)
                .collect::<Vec<_>>(),
        )
    }

    fn known_readers(&self) -> MutexGuard<'_, HashSet<(PathBuf, [u8; 32])>> {
        self.known_readers.lock()
    }
}

fn reader(git_dir: &Path, identity: &[u8]) -> (PathBuf, [u8; 32]) {
    (git_dir.to_owned(), Sha256::digest(identity).into())
}

fn read_readers(git_dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(git_dir.join(READERS)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn write_readers(git_dir: &Path, lines: &[String]) -> io::Result<()> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    durable::replace(&git_dir.join(READERS), text.as_bytes())
}

/// Returns a secret as it is stored: behind the place that it is for, which is an origin or the file of a key.
pub(crate) fn bind_secret(place: &str, secret: &str) -> String {
    format!("{place}\n{secret}")
}

/// Returns a slow salted hash, by which an identity is recognised and from which it cannot be recovered.
pub(crate) fn hash_identity(identity: &[u8]) -> io::Result<String> {
    let hash = Argon2::default().hash_password(identity);
    Ok(hash.map_err(io::Error::other)?.to_string())
}

/// Whether a line of the file is about an identity. Slow by design: the hash is.
pub(crate) fn hash_matches(line: &str, identity: &[u8]) -> bool {
    match identity {
        [] => line == ANYBODY,
        identity => PasswordHash::new(line)
            .is_ok_and(|hash| Argon2::default().verify_password(identity, &hash).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(byte: u8) -> CredentialKey {
        CredentialKey {
            url: "https://gitlab.example/group/project.git".to_owned(),
            username: None,
            context: [byte; 32],
        }
    }

    fn credentials() -> Credentials {
        let nowhere = tempfile::tempdir().expect("temp dir");
        let nowhere = nowhere.path();
        Credentials::new(Secrets::new(nowhere.join("secrets")))
    }

    fn login() -> Login {
        Login::basic("me", "token")
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_is_kept_while_it_is_used_and_only_where_it_was_found() {
        let credentials = credentials();
        credentials.cache_login(&place(1), &login(), None);
        assert_eq!(
            credentials.cached_login(&place(2)),
            None,
            "another place asks for itself"
        );
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(14 * 60)).await;
            assert_eq!(
                credentials.cached_login(&place(1)),
                Some(login()),
                "each use keeps it"
            );
        }
        tokio::time::advance(Duration::from_secs(15 * 60)).await;
        assert_eq!(
            credentials.cached_login(&place(1)),
            None,
            "a quarter of an hour unused"
        );
    }

    #[test]
    fn who_has_read_is_known_after_a_restart_and_nobody_else_is_let_in() {
        let mirror = tempfile::tempdir().expect("temp dir");
        credentials()
            .record_reader(mirror.path(), b"me and my token")
            .expect("written");
        let restarted = credentials();
        assert!(restarted.has_read(mirror.path(), b"me and my token"));
        assert!(!restarted.has_read(mirror.path(), b"me and a guess"));
        assert!(!restarted.has_read(mirror.path(), b""));
        let written = fs::read_to_string(mirror.path().join(READERS)).expect("readable");
        assert!(!written.contains("token"), "{written}");
    }

    #[test]
    fn what_anybody_may_read_everybody_may_until_it_becomes_private() {
        let mirror = tempfile::tempdir().expect("temp dir");
        let credentials = credentials();
        credentials
            .record_reader(mirror.path(), b"")
            .expect("written");
        assert!(credentials.has_read(mirror.path(), b"whoever"));
        credentials.record_private(mirror.path()).expect("written");
        assert!(
            !credentials.has_read(mirror.path(), b"")
                && !credentials.has_read(mirror.path(), b"whoever")
        );
    }
}

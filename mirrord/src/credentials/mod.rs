//! Logins: which are kept in memory, and who has proved that they may read what.
//!
//! A login is kept for the place it was found in, until it is refused or a quarter of an hour unused, so that an
//! unchanged fetch needs neither a question nor a second request. What a mirror holds is shown, fresh or stale, only to
//! a login that has read this upstream before. That survives restarts as slow salted hashes in the mirror itself, of
//! which nobody can make a login again.

pub(crate) mod secrets;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, Login, Secret},
};
use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use self::secrets::Secrets;
use crate::{mirrors::settings::SecretId, process::durable};

/// An unused login is forgotten after this time.
pub(crate) const LOGIN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The file in a mirror that says who has read its upstream.
const READERS: &str = "readers";

/// The line for an upstream that anybody may read.
const ANYBODY: &str = "anybody";

/// More logins than this have not read one upstream lately; the oldest line goes first.
const MAX_READERS: usize = 32;

/// An upstream, and where a request for it came from.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CredentialKey {
    /// The upstream.
    pub(crate) url: UpstreamUrl,
    /// The user name that the URL was typed with.
    pub(crate) username: Option<Secret>,
    /// The fingerprint of where the user stands.
    pub(crate) context: [u8; 32],
}

/// Held while somebody is asked.
type QuestionLock = Arc<tokio::sync::Mutex<()>>;

/// All that is known of logins.
pub(crate) struct Credentials {
    /// Those of the mirrors' own, where they are stored.
    pub secrets: Secrets,
    /// Secrets that were read lately.
    cached_secrets: Mutex<HashMap<SecretId, (Secret, Instant)>>,
    cached_logins: Mutex<HashMap<CredentialKey, (Login, Instant)>>,
    question_locks: Mutex<HashMap<(CredentialKey, bool), QuestionLock>>,
    /// Proofs of this daemon's life, by mirror and hash of identity, so that each is computed once.
    known_readers: Mutex<HashSet<(PathBuf, [u8; 32])>>,
    /// Places from which a mirror's upstream was read in this daemon's life, whatever was signed in with.
    reader_keys: Mutex<HashSet<(PathBuf, CredentialKey)>>,
    /// Held while a note is read, changed and written.
    writing: Mutex<()>,
}

impl Credentials {
    /// With what is stored.
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

    /// A stored secret, for the place that it is for. It is kept in memory for as long as a login is, so that an unchanged
    /// fetch needs no store.
    pub(crate) async fn stored_secret(
        &self,
        id: &SecretId,
        place: &str,
    ) -> Result<Secret, Failure> {
        let secret = self.cached_secret(id).await?;
        match secret.0.split_once('\n') {
            Some((bound, secret)) if bound == place => Ok(Secret(secret.to_owned())),
            // Somebody has edited the mirror's configuration.
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

    /// Removes a secret that nothing names any more.
    pub(crate) async fn remove(&self, id: &SecretId) -> Result<(), Failure> {
        self.cached_secrets.lock().remove(id);
        self.secrets.remove(id).await
    }

    /// The login kept for a place.
    pub(crate) fn cached_login(&self, place: &CredentialKey) -> Option<Login> {
        let mut kept = self.cached_logins.lock();
        kept.retain(|_, (_, used)| used.elapsed() < LOGIN_LIFETIME);
        let (login, used) = kept.get_mut(place)?;
        *used = Instant::now();
        Some(login.clone())
    }

    /// Keeps a login that worked.
    pub(crate) fn cache_login(&self, place: &CredentialKey, login: &Login) {
        let mut kept = self.cached_logins.lock();
        kept.insert(place.clone(), (login.clone(), Instant::now()));
    }

    /// Forgets a login that was refused.
    pub(crate) fn forget_login(&self, place: &CredentialKey) {
        self.cached_logins.lock().remove(place);
    }

    /// Held while somebody in a place is asked, so that the others there wait for the answer instead. Where only programs
    /// answer, nobody waits for a person.
    pub(crate) fn question_lock(&self, place: &CredentialKey, can_ask: bool) -> QuestionLock {
        let mut questions = self.question_locks.lock();
        // What only this map still holds, nobody waits for.
        questions.retain(|_, question| Arc::strong_count(question) > 1);
        questions
            .entry((place.clone(), can_ask))
            .or_default()
            .clone()
    }

    /// Notes that a mirror's upstream was read from a place.
    pub(crate) fn record_reader_key(&self, git_dir: &Path, place: CredentialKey) {
        self.reader_keys().insert((git_dir.to_owned(), place));
    }

    /// Whether a mirror's upstream was read from a place before: a login that has been taken away since does not take
    /// the user's own branches along.
    pub(crate) fn has_read_from(&self, git_dir: &Path, place: &CredentialKey) -> bool {
        self.reader_keys()
            .contains(&(git_dir.to_owned(), place.clone()))
    }

    fn reader_keys(&self) -> MutexGuard<'_, HashSet<(PathBuf, CredentialKey)>> {
        self.reader_keys.lock()
    }

    /// Forgets who has read the upstream of a mirror: it gets another one, or goes. Blocks.
    pub(crate) fn forget_readers(&self, git_dir: &Path) -> io::Result<()> {
        let _turn = self.writing.lock();
        self.known_readers().retain(|(mirror, _)| mirror != git_dir);
        self.reader_keys().retain(|(mirror, _)| mirror != git_dir);
        durable::remove(&git_dir.join(READERS))
    }

    /// Whether an identity has read the upstream of this mirror before; the empty one is anybody. Blocks.
    pub(crate) fn has_read(&self, git_dir: &Path, identity: &[u8]) -> bool {
        if self.known_readers().contains(&reader(git_dir, identity)) {
            return true;
        }
        // A mirror that anybody may read, everybody may.
        let has_read = read_readers(git_dir)
            .iter()
            .any(|line| line == ANYBODY || hash_matches(line, identity));
        if has_read {
            self.known_readers().insert(reader(git_dir, identity));
        }
        has_read
    }

    /// Notes that an identity has just read upstream. Blocks.
    pub(crate) fn record_reader(&self, git_dir: &Path, identity: &[u8]) -> io::Result<()> {
        // A mirror that was removed and made again has no note of it.
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

    /// Notes that upstream no longer lets just anybody read. Blocks.
    pub(crate) fn record_private(&self, git_dir: &Path) -> io::Result<()> {
        let _turn = self.writing.lock();
        let lines = read_readers(git_dir);
        if !lines.iter().any(|line| line == ANYBODY) {
            return Ok(());
        }
        // Whoever was let in as one of everybody has proved nothing of their own.
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

/// A secret as it is stored: with the place that it is for, an origin or a key, and for no other.
pub(crate) fn bind_secret(place: &str, secret: &str) -> String {
    format!("{place}\n{secret}")
}

/// A slow salted hash, by which an identity is recognised and of which it cannot be made.
pub(crate) fn hash_identity(identity: &[u8]) -> io::Result<String> {
    let hash = Argon2::default().hash_password(identity);
    Ok(hash.map_err(io::Error::other)?.to_string())
}

/// Whether a line of a note is of an identity. Slow by design.
pub(crate) fn hash_matches(line: &str, identity: &[u8]) -> bool {
    match identity {
        [] => line == ANYBODY,
        identity => PasswordHash::new(line)
            .is_ok_and(|hash| Argon2::default().verify_password(identity, &hash).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use common::address::upstream_url::Address;

    use super::*;

    fn place(byte: u8) -> CredentialKey {
        match Address::parse("https://gitlab.example/group/project.git") {
            Ok(Address::Url(url, _)) => CredentialKey {
                url,
                username: None,
                context: [byte; 32],
            },
            other => panic!("no URL: {other:?}"),
        }
    }

    fn credentials() -> Credentials {
        let nowhere = tempfile::tempdir().expect("temp dir");
        let nowhere = nowhere.path();
        Credentials::new(Secrets::new(nowhere.join("secrets")))
    }

    fn login() -> Login {
        Login {
            username: "me".into(),
            password: "token".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_is_kept_while_it_is_used_and_only_where_it_was_found() {
        let credentials = credentials();
        credentials.cache_login(&place(1), &login());
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

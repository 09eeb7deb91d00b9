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
    pub(crate) standing: [u8; 32],
}

/// Held while somebody is asked.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// All that is known of logins.
pub(crate) struct Credentials {
    /// Those of the mirrors' own, where they are stored.
    pub secrets: Secrets,
    /// Secrets that were read lately.
    read: Mutex<HashMap<SecretId, (Secret, Instant)>>,
    kept: Mutex<HashMap<CredentialKey, (Login, Instant)>>,
    questions: Mutex<HashMap<(CredentialKey, bool), Turn>>,
    /// Proofs of this daemon's life, by mirror and hash of identity, so that each is computed once.
    proven: Mutex<HashSet<(PathBuf, [u8; 32])>>,
    /// Places from which a mirror's upstream was read in this daemon's life, whatever was signed in with.
    places: Mutex<HashSet<(PathBuf, CredentialKey)>>,
    /// Held while a note is read, changed and written.
    writing: Mutex<()>,
}

impl Credentials {
    /// With what is stored.
    pub(crate) fn new(secrets: Secrets) -> Self {
        Self {
            secrets,
            read: Mutex::default(),
            kept: Mutex::default(),
            questions: Mutex::default(),
            proven: Mutex::default(),
            places: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// A stored secret, for the place that it is for. It is kept in memory for as long as a login is, so that an unchanged
    /// fetch needs no store.
    pub(crate) async fn stored(&self, id: &SecretId, place: &str) -> Result<Secret, Failure> {
        let secret = self.read(id).await?;
        match secret.0.split_once('\n') {
            Some((bound, secret)) if bound == place => Ok(Secret(secret.to_owned())),
            // Somebody has edited the mirror's configuration.
            _ => Err(Failure::here(format!(
                "the stored secret is not for '{place}'"
            ))),
        }
    }

    async fn read(&self, id: &SecretId) -> Result<Secret, Failure> {
        let known = {
            let mut read = self.read.lock();
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
        let mut read = self.read.lock();
        read.insert(id.clone(), (secret.clone(), Instant::now()));
        Ok(secret)
    }

    /// Removes a secret that nothing names any more.
    pub(crate) async fn remove(&self, id: &SecretId) -> Result<(), Failure> {
        self.read.lock().remove(id);
        self.secrets.remove(id).await
    }

    /// The login kept for a place.
    pub(crate) fn kept(&self, place: &CredentialKey) -> Option<Login> {
        let mut kept = self.kept.lock();
        kept.retain(|_, (_, used)| used.elapsed() < LOGIN_LIFETIME);
        let (login, used) = kept.get_mut(place)?;
        *used = Instant::now();
        Some(login.clone())
    }

    /// Keeps a login that worked.
    pub(crate) fn keep(&self, place: &CredentialKey, login: &Login) {
        let mut kept = self.kept.lock();
        kept.insert(place.clone(), (login.clone(), Instant::now()));
    }

    /// Forgets a login that was refused.
    pub(crate) fn forget(&self, place: &CredentialKey) {
        self.kept.lock().remove(place);
    }

    /// Held while somebody in a place is asked, so that the others there wait for the answer instead. Where only programs
    /// answer, nobody waits for a person.
    pub(crate) fn question(&self, place: &CredentialKey, can_ask: bool) -> Turn {
        let mut questions = self.questions.lock();
        // What only this map still holds, nobody waits for.
        questions.retain(|_, question| Arc::strong_count(question) > 1);
        questions
            .entry((place.clone(), can_ask))
            .or_default()
            .clone()
    }

    /// Notes that a mirror's upstream was read from a place.
    pub(crate) fn note_place(&self, git_dir: &Path, place: CredentialKey) {
        self.places().insert((git_dir.to_owned(), place));
    }

    /// Whether a mirror's upstream was read from a place before: a login that has been taken away since does not take
    /// the user's own branches along.
    pub(crate) fn knows(&self, git_dir: &Path, place: &CredentialKey) -> bool {
        self.places().contains(&(git_dir.to_owned(), place.clone()))
    }

    fn places(&self) -> MutexGuard<'_, HashSet<(PathBuf, CredentialKey)>> {
        self.places.lock()
    }

    /// Forgets who has read the upstream of a mirror: it gets another one, or goes. Blocks.
    pub(crate) fn forget_readers(&self, git_dir: &Path) -> io::Result<()> {
        let _turn = self.writing.lock();
        self.proven().retain(|(mirror, _)| mirror != git_dir);
        self.places().retain(|(mirror, _)| mirror != git_dir);
        durable::remove(&git_dir.join(READERS))
    }

    /// Whether an identity has read the upstream of this mirror before; the empty one is anybody. Blocks.
    pub(crate) fn has_read(&self, git_dir: &Path, identity: &[u8]) -> bool {
        if self.proven().contains(&proof(git_dir, identity)) {
            return true;
        }
        // A mirror that anybody may read, everybody may.
        let has_read = readers(git_dir)
            .iter()
            .any(|line| line == ANYBODY || matches(line, identity));
        if has_read {
            self.proven().insert(proof(git_dir, identity));
        }
        has_read
    }

    /// Notes that an identity has just read upstream. Blocks.
    pub(crate) fn note_read(&self, git_dir: &Path, identity: &[u8]) -> io::Result<()> {
        // A mirror that was removed and made again has no note of it.
        if self.proven().contains(&proof(git_dir, identity)) && git_dir.join(READERS).exists() {
            return Ok(());
        }
        let _turn = self.writing.lock();
        let mut lines = readers(git_dir);
        if !lines.iter().any(|line| matches(line, identity)) {
            let line = match identity {
                [] => ANYBODY.to_owned(),
                identity => hashed(identity)?,
            };
            lines.push(line);
            let surplus = lines.len().saturating_sub(MAX_READERS);
            lines.drain(..surplus);
            write(git_dir, &lines)?;
        }
        self.proven().insert(proof(git_dir, identity));
        Ok(())
    }

    /// Notes that upstream no longer lets just anybody read. Blocks.
    pub(crate) fn note_private(&self, git_dir: &Path) -> io::Result<()> {
        let _turn = self.writing.lock();
        let lines = readers(git_dir);
        if !lines.iter().any(|line| line == ANYBODY) {
            return Ok(());
        }
        // Whoever was let in as one of everybody has proved nothing of their own.
        self.proven().retain(|(mirror, _)| mirror != git_dir);
        write(
            git_dir,
            &lines
                .into_iter()
                .filter(|line| line != ANYBODY)
                .collect::<Vec<_>>(),
        )
    }

    fn proven(&self) -> MutexGuard<'_, HashSet<(PathBuf, [u8; 32])>> {
        self.proven.lock()
    }
}

fn proof(git_dir: &Path, identity: &[u8]) -> (PathBuf, [u8; 32]) {
    (git_dir.to_owned(), Sha256::digest(identity).into())
}

fn readers(git_dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(git_dir.join(READERS)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn write(git_dir: &Path, lines: &[String]) -> io::Result<()> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    durable::replace(&git_dir.join(READERS), text.as_bytes())
}

/// A secret as it is stored: with the place that it is for, an origin or a key, and for no other.
pub(crate) fn bound(place: &str, secret: &str) -> String {
    format!("{place}\n{secret}")
}

/// A slow salted hash, by which an identity is recognised and of which it cannot be made.
pub(crate) fn hashed(identity: &[u8]) -> io::Result<String> {
    let hash = Argon2::default().hash_password(identity);
    Ok(hash.map_err(io::Error::other)?.to_string())
}

/// Whether a line of a note is of an identity. Slow by design.
pub(crate) fn matches(line: &str, identity: &[u8]) -> bool {
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
                standing: [byte; 32],
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
        credentials.keep(&place(1), &login());
        assert_eq!(
            credentials.kept(&place(2)),
            None,
            "another place asks for itself"
        );
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(14 * 60)).await;
            assert_eq!(
                credentials.kept(&place(1)),
                Some(login()),
                "each use keeps it"
            );
        }
        tokio::time::advance(Duration::from_secs(15 * 60)).await;
        assert_eq!(
            credentials.kept(&place(1)),
            None,
            "a quarter of an hour unused"
        );
    }

    #[test]
    fn who_has_read_is_known_after_a_restart_and_nobody_else_is_let_in() {
        let mirror = tempfile::tempdir().expect("temp dir");
        credentials()
            .note_read(mirror.path(), b"me and my token")
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
        credentials.note_read(mirror.path(), b"").expect("written");
        assert!(credentials.has_read(mirror.path(), b"whoever"));
        credentials.note_private(mirror.path()).expect("written");
        assert!(
            !credentials.has_read(mirror.path(), b"")
                && !credentials.has_read(mirror.path(), b"whoever")
        );
    }
}

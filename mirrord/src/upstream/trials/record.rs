//! The file of refused logins: slow salted hashes, from which nobody can recover a login.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use common::{protocol::Login, text::unix_seconds};
use sha2::{Digest, Sha256};

use crate::{
    credentials::{hash_identity, hash_matches},
    process::durable,
};

/// How long a refused login of a person's git is not tried: it may become good again, and within this time GitLab's count of
/// failures runs out several times. A mirror's own login stays refused until it is given anew.
pub(super) const RECORD_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// How many refusals are kept; the oldest goes first.
const MAX_LINES: usize = 64;

/// The purposes of a login: upstream may let it read, and refuse it in a push.
pub(super) const READ: &str = "read";
pub(super) const PUSH: &str = "push";

/// A login, with its origin and what it is tried for.
pub(super) struct Subject {
    pub origin: String,
    pub own: bool,
    identity: Vec<u8>,
}

/// A login that was refused, as it is on disk.
pub(super) struct Line {
    /// The key of the login, if this daemon has tried it; for a line of an earlier daemon only the slow hash can tell.
    pub key: Option<[u8; 32]>,
    /// When the login was last refused, in seconds since 1970.
    pub at: u64,
    /// Whether the login is a mirror's own.
    pub own: bool,
    pub refused: u8,
    origin: String,
    hash: String,
}

/// Reads the refusals that still count.
pub(super) fn read(file: &Path) -> Vec<Line> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let now = now();
    let lines = text.lines().filter_map(Line::parse);
    lines.filter(|line| line.still_counts(now)).collect()
}

/// Writes the file; of too many lines the oldest go.
pub(super) fn write(file: &Path, lines: &mut Vec<Line>) -> io::Result<()> {
    let surplus = lines.len().saturating_sub(MAX_LINES);
    lines.drain(..surplus);
    let text: String = lines.iter().map(Line::text).collect();
    match text.as_str() {
        "" if !file.exists() => Ok(()),
        text => durable::replace(file, text.as_bytes()),
    }
}

/// Whether a refusal still counts. One from the future, by a clock that was wrong, does not.
pub(super) fn still_counts(own: bool, at: u64, now: u64) -> bool {
    own || now
        .checked_sub(at)
        .is_some_and(|age| age < RECORD_LIFETIME.as_secs())
}

impl Subject {
    pub(super) fn new(origin: &str, login: &Login, purpose: &str, own: bool) -> Self {
        let mut identity = Vec::new();
        let authtype = login.authtype.as_deref();
        let parts = [origin, &login.username, &login.password, purpose];
        for part in parts.into_iter().chain(authtype) {
            identity.extend_from_slice(&(part.len() as u64).to_be_bytes());
            identity.extend_from_slice(part.as_bytes());
        }
        Self {
            origin: origin.to_owned(),
            own,
            identity,
        }
    }

    pub(super) fn key(&self) -> [u8; 32] {
        Sha256::digest(&self.identity).into()
    }
}

impl Line {
    /// Makes the line for a login. Slow by design: the hash is.
    pub(super) fn new(subject: &Subject, refused: u8, at: u64, own: bool) -> io::Result<Self> {
        Ok(Self {
            key: Some(subject.key()),
            at,
            own,
            refused,
            origin: subject.origin.clone(),
            hash: hash_identity(&subject.identity)?,
        })
    }

    /// Whether the refusal still counts.
    pub(super) fn still_counts(&self, now: u64) -> bool {
        still_counts(self.own, self.at, now)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        Some(Self {
            key: None,
            at: fields.next()?.parse().ok()?,
            own: fields.next()? == "own",
            refused: fields.next()?.parse().ok()?,
            origin: fields.next()?.to_owned(),
            hash: fields.next()?.to_owned(),
        })
    }

    fn text(&self) -> String {
        let Self {
            at,
            refused,
            origin,
            hash,
            ..
        } = self;
        let owner = if self.own { "own" } else { "git" };
        format!("{at} {owner} {refused} {origin} {hash}\n")
    }

    /// Whether a line that an earlier daemon wrote is about a login. Slow by design: the hash is.
    pub(super) fn is_about(&self, subject: &Subject) -> bool {
        self.key.is_none()
            && self.origin == subject.origin
            && hash_matches(&self.hash, &subject.identity)
    }
}

/// Returns the time in seconds since 1970.
pub(super) fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

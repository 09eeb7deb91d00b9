//! What is on disk of logins that were refused: slow salted hashes, of which nobody can make a login again.

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

/// A login that a person's git knows may be good again without being another: it is tried again after this time, within
/// which GitLab counts failures several times over. One that a mirror has of its own stays refused until it is given anew.
pub(super) const RECORD_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// More have not been refused lately; the oldest goes first.
const MAX_LINES: usize = 64;

/// What a login is for. That it may read does not say that it is not refused again in a push.
pub(super) const READ: &str = "read";
pub(super) const PUSH: &str = "push";

/// Origin login it is, where, and what for.
pub(super) struct Subject {
    pub origin: String,
    pub own: bool,
    identity: Vec<u8>,
}

/// A login that was refused, as it is on disk.
pub(super) struct Line {
    /// Which of those that this daemon has seen it is; of what a daemon before it wrote, only the slow hash tells.
    pub key: Option<[u8; 32]>,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Whether it is a mirror's own.
    pub own: bool,
    pub refused: u8,
    origin: String,
    hash: String,
}

/// Reads what still counts.
pub(super) fn read(file: &Path) -> Vec<Line> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let now = now();
    let lines = text.lines().filter_map(Line::parse);
    lines.filter(|line| line.holds(now)).collect()
}

/// Writes lines down; of too many the oldest go.
pub(super) fn write(file: &Path, lines: &mut Vec<Line>) -> io::Result<()> {
    let surplus = lines.len().saturating_sub(MAX_LINES);
    lines.drain(..surplus);
    let text: String = lines.iter().map(Line::text).collect();
    match text.as_str() {
        "" if !file.exists() => Ok(()),
        text => durable::replace(file, text.as_bytes()),
    }
}

/// Whether a refusal still counts. What a wrong clock says is of the future does not.
pub(super) fn holds(own: bool, at: u64, now: u64) -> bool {
    own || now
        .checked_sub(at)
        .is_some_and(|age| age < RECORD_LIFETIME.as_secs())
}

impl Subject {
    pub(super) fn new(origin: &str, login: &Login, what_for: &str, own: bool) -> Self {
        let mut identity = Vec::new();
        for part in [origin, &login.username, &login.password, what_for] {
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
    /// What is to be on disk of a subject. Slow by design.
    pub(super) fn of(subject: &Subject, refused: u8, at: u64, own: bool) -> io::Result<Self> {
        Ok(Self {
            key: Some(subject.key()),
            at,
            own,
            refused,
            origin: subject.origin.clone(),
            hash: hash_identity(&subject.identity)?,
        })
    }

    /// Whether it still counts.
    pub(super) fn holds(&self, now: u64) -> bool {
        holds(self.own, self.at, now)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Self {
            key: None,
            at: words.next()?.parse().ok()?,
            own: words.next()? == "own",
            refused: words.next()?.parse().ok()?,
            origin: words.next()?.to_owned(),
            hash: words.next()?.to_owned(),
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
        let whose = if self.own { "own" } else { "git" };
        format!("{at} {whose} {refused} {origin} {hash}\n")
    }

    /// Whether a line that a daemon before this wrote is of a login. Slow by design.
    pub(super) fn is_of(&self, subject: &Subject) -> bool {
        self.key.is_none()
            && self.origin == subject.origin
            && hash_matches(&self.hash, &subject.identity)
    }
}

/// Now, in seconds since 1970.
pub(super) fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

//! What happened to mirrors: a line for each sync and each push, and where one has gone by itself, in two files that never grow beyond a bound.
//!
//! A line is appended in one piece and never changed, so that whoever is killed leaves whole ones. What a power cut or a
//! full disk tore is ended before the next begins, and skipped by whoever reads. A file that is full takes the place of
//! the one before it. That nothing can be written is said once, and is never a reason to fail.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use common::{
    address::redact,
    protocol::{Entry, Outcome},
    text::{io_message, masked, unix_seconds},
};
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::process::id;

/// How long a file may become, in bytes. A thousand mirrors that sync hourly write 48,000 lines in two days; a file has
/// room for so many of 349 bytes, where a usual one has about 280. Even when the current file is new the one before has
/// them all.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Words that are longer are cut: so many characters.
const MAX_MESSAGE_BYTES: usize = 500;

/// A line that is longer, in bytes, is none of ours.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// How many entries one who follows may be behind.
const BACKLOG: usize = 1024;

/// The file in a mirror by which its entries are known.
const ID: &str = "journal-id";

/// The form of the lines. Those of another form are skipped.
const FORM: u32 = 1;

/// What happened, as far as it is kept.
pub(crate) struct Journal {
    file: PathBuf,
    full: u64,
    writing: Mutex<Writing>,
}

/// What only one at a time has in hand.
struct Writing {
    /// Whether it has been said that nothing can be written.
    warned: bool,
    /// Nobody can follow any more when the daemon stops.
    followers: Option<broadcast::Sender<Arc<Line>>>,
}

/// What tells a mirror from all others, also from those that have had its name or its directory before.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// What was written into it when it was made; a mirror that a daemon before this has made has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The name of its directory, which stays the same when the mirror is called something else.
    place: String,
}

/// One line: an entry, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    form: u32,
    #[serde(flatten)]
    identity: Identity,
    /// What happened.
    pub entry: Entry,
}

/// One mirror, by all that tells which lines are about it.
pub(crate) struct MirrorFilter {
    identity: Option<Identity>,
    name: String,
    others: HashSet<Identity>,
}

/// The lines of one moment.
pub(crate) struct Kept(Vec<(File, u64)>);

impl Journal {
    /// The journal in this file, and in one beside it.
    pub(crate) fn new(file: PathBuf) -> Self {
        Self::with(file, MAX_FILE_BYTES)
    }

    fn with(file: PathBuf, full: u64) -> Self {
        let writing = Mutex::new(Writing {
            warned: false,
            followers: Some(broadcast::channel(BACKLOG).0),
        });
        Self {
            file,
            full,
            writing,
        }
    }

    /// Notes what happened to the mirror in a directory.
    pub(crate) fn note(&self, git_dir: &Path, entry: Entry) {
        self.record(Identity::of(git_dir), entry);
    }

    /// Records what happened to a mirror, which may be gone by now.
    pub(crate) fn record(&self, identity: Identity, mut entry: Entry) {
        if let Outcome::Failed(words)
        | Outcome::Removed(words)
        | Outcome::Replaced(words)
        | Outcome::Pushed {
            reason: Some(words),
            ..
        } = &mut entry.outcome
        {
            *words = presentable(words);
        }
        let line = Line {
            form: FORM,
            identity,
            entry,
        };
        let mut writing = self.writing();
        match self.append(&line) {
            Ok(()) => writing.warned = false,
            Err(err) if !writing.warned => {
                writing.warned = true;
                let file = self.file.display();
                tracing::warn!("cannot note in '{file}' what happens: {}", io_message(&err));
            }
            Err(_) => {}
        }
        // Nobody may follow.
        if let Some(followers) = &writing.followers {
            let _ = followers.send(Arc::new(line));
        }
    }

    /// What has happened, and a way to hear what will: nothing is in both, and nothing in between. There is none when the
    /// daemon stops.
    pub(crate) fn open(&self) -> io::Result<(Kept, Option<broadcast::Receiver<Arc<Line>>>)> {
        let writing = self.writing();
        let mut files = Vec::new();
        for path in [self.old(), self.file.clone()] {
            match File::open(path) {
                Ok(file) => {
                    let length = file.metadata()?.len();
                    files.push((file, length));
                }
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
        let news = writing.followers.as_ref();
        Ok((Kept(files), news.map(broadcast::Sender::subscribe)))
    }

    /// Tells those who follow that it ends.
    pub(crate) fn close(&self) {
        self.writing().followers = None;
    }

    fn append(&self, line: &Line) -> io::Result<()> {
        let line = serde_json::to_string(line)?;
        let mut file = self.append_to()?;
        let mut length = file.metadata()?.len();
        // With a line break before and after.
        if length > 0 && length + line.len() as u64 + 2 > self.full {
            fs::rename(&self.file, self.old())?;
            file = self.append_to()?;
            length = 0;
        }
        let mut last = [b'\n'];
        if let Some(end) = length.checked_sub(1) {
            file.read_exact_at(&mut last, end)?;
        }
        let before = if last == [b'\n'] { "" } else { "\n" };
        file.write_all(format!("{before}{line}\n").as_bytes())
    }

    /// Opened anew each time: whoever removes it finds another one.
    fn append_to(&self) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).append(true).create(true).mode(0o600);
        options.open(&self.file)
    }

    fn old(&self) -> PathBuf {
        self.file.with_extension("old")
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock()
    }
}

impl Kept {
    /// The lines, oldest first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = io::Result<Line>> {
        let lines = self.0.iter().flat_map(|(file, length)| {
            let mut from_start = file;
            let sought = from_start.seek(SeekFrom::Start(0));
            let lines = BufReader::new(from_start.take(*length)).split(b'\n');
            sought.err().map(Err).into_iter().chain(lines)
        });
        lines.filter_map(|line| line.map(|line| Line::parse(&line)).transpose())
    }
}

impl Line {
    fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_LINE_BYTES {
            return None;
        }
        let line: Self = serde_json::from_slice(text).ok()?;
        (line.form == FORM).then_some(line)
    }
}

impl MirrorFilter {
    /// The mirror of this name, in this directory if there is one. What happened in those of the others is not about it,
    /// whatever they were called then.
    pub(crate) fn new<'d>(
        git_dir: Option<&Path>,
        name: String,
        others: impl Iterator<Item = &'d Path>,
    ) -> Self {
        Self {
            identity: git_dir.map(Identity::of),
            name,
            others: others.map(Identity::of).collect(),
        }
    }

    /// Whether a line is about this mirror, or about one that had its name and is gone.
    pub(crate) fn owns(&self, line: &Line) -> bool {
        let is_of = |mirror: &Identity| mirror.is_same(&line.identity);
        self.identity.as_ref().is_some_and(is_of)
            || line.entry.mirror == self.name && !self.others.iter().any(is_of)
    }
}

/// Now, as an entry has it.
pub(crate) fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

impl Identity {
    /// That of the mirror in a directory.
    pub(crate) fn of(git_dir: &Path) -> Self {
        let id = fs::read_to_string(git_dir.join(ID)).ok();
        let id = id.map(|id| id.trim().to_owned());
        let place = git_dir.file_name().unwrap_or_default();
        Self {
            id: id.filter(|id| !id.is_empty()),
            place: place.to_string_lossy().into_owned(),
        }
    }

    /// Whether both are of one mirror. The place tells only where there is nothing else.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (None, None) => self.place == other.place,
            (one, other) => one == other,
        }
    }
}

/// Gives a mirror that is being made in a directory something by which its entries are known, whatever it is called and
/// wherever it lies.
pub(crate) fn write_id(git_dir: &Path) -> io::Result<()> {
    fs::write(git_dir.join(ID), format!("{}\n", id::random()?))
}

/// Words as they can stand in a line: without what could be a login, and without control characters.
fn presentable(words: &str) -> String {
    let words = masked(redact(words).as_bytes());
    match words.char_indices().nth(MAX_MESSAGE_BYTES) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests;

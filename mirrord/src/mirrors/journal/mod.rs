//! The journal: a line for each sync, each push and each automatic removal of a mirror, in two files of a limited size.
//!
//! A line is appended by one write and never changed, so that a daemon that is killed leaves whole lines. If a power cut or
//! a full disk tore the last line, the next one begins with a line break, and readers skip the torn one. A file that is full
//! replaces the old one. An error of a write is logged once, and nothing fails because of it.

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
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::process::id;

/// The size of a full file. A thousand mirrors that sync hourly write 48,000 lines in two days, of usually 280 bytes. A file
/// has room for as many of 349 bytes, so that the old file has two days even when the current one is new.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// A message that has more characters is cut.
const MAX_MESSAGE_CHARS: usize = 500;

/// A longer line is not one of the journal's.
const MAX_LINE_BYTES: usize = 8 * 1024;

/// How many entries a follower may be behind.
const BACKLOG: usize = 1024;

/// The file in a mirror with the id that its entries have.
const ID_FILE: &str = "journal-id";

/// The format of the lines. Lines of another format are skipped.
const FORMAT: u32 = 1;

/// The journal on disk, and those who follow it.
pub(crate) struct Journal {
    file: PathBuf,
    max_bytes: u64,
    writer: Mutex<Writer>,
}

/// The state of writing, locked for each write.
struct Writer {
    /// Whether it has been logged that nothing can be written.
    warned: bool,
    /// None when the daemon stops.
    followers: Option<broadcast::Sender<Arc<Line>>>,
}

/// The identity of a mirror, which differs from that of older mirrors with the same name or directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// The random id in the mirror. A mirror of an older version has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// The name of its directory, which stays the same when the mirror gets another name.
    #[serde(rename = "place")]
    dir_name: String,
}

/// One line: an entry, and the mirror that it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    #[serde(rename = "form")]
    format: u32,
    #[serde(flatten)]
    identity: Identity,
    /// What happened.
    pub entry: Entry,
}

/// A filter for the lines that are about one mirror.
pub(crate) struct MirrorFilter {
    /// None when the mirror is gone.
    identity: Option<Identity>,
    name: String,
    others: HashSet<Identity>,
}

/// The journal at one moment: lines that are appended later are not in it.
pub(crate) struct Snapshot(Vec<SnapshotFile>);

struct SnapshotFile {
    file: File,
    bytes: u64,
}

/// The journal as a reader opens it.
pub(crate) struct Opened {
    /// The entries until now.
    pub snapshot: Snapshot,
    /// The entries from now on; None when the daemon stops.
    pub news: Option<broadcast::Receiver<Arc<Line>>>,
}

impl Journal {
    /// The journal in this file and the older one beside it.
    pub(crate) fn new(file: PathBuf) -> Self {
        Self::with_max_bytes(file, MAX_FILE_BYTES)
    }

    fn with_max_bytes(file: PathBuf, max_bytes: u64) -> Self {
        let writer = Mutex::new(Writer {
            warned: false,
            followers: Some(broadcast::channel(BACKLOG).0),
        });
        Self {
            file,
            max_bytes,
            writer,
        }
    }

    /// Records an entry about the mirror in a directory.
    pub(crate) fn record(&self, git_dir: &Path, entry: Entry) {
        self.record_for(Identity::read(git_dir), entry);
    }

    /// Records an entry about a mirror, which may be gone by now.
    pub(crate) fn record_for(&self, identity: Identity, mut entry: Entry) {
        if let Outcome::Failed(message)
        | Outcome::Removed(message)
        | Outcome::Replaced(message)
        | Outcome::Pushed {
            reason: Some(message),
            ..
        } = &mut entry.outcome
        {
            *message = one_line(message);
        }
        let line = Line {
            format: FORMAT,
            identity,
            entry,
        };
        let mut writer = self.writer.lock();
        match self.append(&line) {
            Ok(()) => writer.warned = false,
            Err(err) if !writer.warned => {
                writer.warned = true;
                let file = self.file.display();
                tracing::warn!("cannot write to the journal '{file}': {}", io_message(&err));
            }
            Err(_) => {}
        }
        if let Some(followers) = &writer.followers {
            // An error says that nobody follows.
            let _ = followers.send(Arc::new(line));
        }
    }

    /// Opens the journal: each entry is either in the snapshot or among the news.
    ///
    /// # Errors
    /// Fails when a file cannot be opened.
    pub(crate) fn open(&self) -> io::Result<Opened> {
        let writer = self.writer.lock();
        let mut files = Vec::new();
        for path in [self.old_file(), self.file.clone()] {
            match File::open(path) {
                Ok(file) => {
                    let bytes = file.metadata()?.len();
                    files.push(SnapshotFile { file, bytes });
                }
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
        let followers = writer.followers.as_ref();
        Ok(Opened {
            snapshot: Snapshot(files),
            news: followers.map(broadcast::Sender::subscribe),
        })
    }

    /// Ends the news of all followers.
    pub(crate) fn end_followers(&self) {
        self.writer.lock().followers = None;
    }

    fn append(&self, line: &Line) -> io::Result<()> {
        let line = serde_json::to_string(line)?;
        let mut file = self.open_for_append()?;
        let mut length = file.metadata()?.len();
        // A line break comes before and after the line.
        if length > 0 && length + line.len() as u64 + 2 > self.max_bytes {
            fs::rename(&self.file, self.old_file())?;
            file = self.open_for_append()?;
            length = 0;
        }
        let mut last = [b'\n'];
        if let Some(end) = length.checked_sub(1) {
            file.read_exact_at(&mut last, end)?;
        }
        let before = if last == [b'\n'] { "" } else { "\n" };
        file.write_all(format!("{before}{line}\n").as_bytes())
    }

    /// Opens the file for one write, so that it is made anew after somebody has removed it.
    fn open_for_append(&self) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).append(true).create(true).mode(0o600);
        options.open(&self.file)
    }

    fn old_file(&self) -> PathBuf {
        self.file.with_extension("old")
    }
}

impl Snapshot {
    /// Reads the lines, oldest first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = io::Result<Line>> {
        let lines = self.0.iter().flat_map(|SnapshotFile { file, bytes }| {
            let mut from_start = file;
            let sought = from_start.seek(SeekFrom::Start(0));
            let lines = BufReader::new(from_start.take(*bytes)).split(b'\n');
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
        (line.format == FORMAT).then_some(line)
    }
}

impl MirrorFilter {
    /// A filter for the mirror of this name, in this directory if the mirror still exists. Lines about the `others` do not
    /// pass, whatever names those had.
    pub(crate) fn new<'d>(
        git_dir: Option<&Path>,
        name: String,
        others: impl Iterator<Item = &'d Path>,
    ) -> Self {
        Self {
            identity: git_dir.map(Identity::read),
            name,
            others: others.map(Identity::read).collect(),
        }
    }

    /// Whether a line is about this mirror, or about one that had its name and is gone.
    pub(crate) fn matches(&self, line: &Line) -> bool {
        let is_of = |mirror: &Identity| mirror.is_same(&line.identity);
        self.identity.as_ref().is_some_and(is_of)
            || line.entry.mirror == self.name && !self.others.iter().any(is_of)
    }
}

/// Returns the time of an entry that is recorded now.
pub(crate) fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

impl Identity {
    /// Reads the identity of the mirror in a directory.
    pub(crate) fn read(git_dir: &Path) -> Self {
        let id = fs::read_to_string(git_dir.join(ID_FILE)).ok();
        let id = id.map(|id| id.trim().to_owned());
        let dir_name = git_dir.file_name().unwrap_or_default();
        Self {
            id: id.filter(|id| !id.is_empty()),
            dir_name: dir_name.to_string_lossy().into_owned(),
        }
    }

    /// Whether both are of one mirror. The directory counts only if neither has an id.
    fn is_same(&self, other: &Self) -> bool {
        match (&self.id, &other.id) {
            (None, None) => self.dir_name == other.dir_name,
            (one, other) => one == other,
        }
    }
}

/// Writes the id of a new mirror, which its entries have whatever its name and its directory will be.
pub(crate) fn write_id(git_dir: &Path) -> io::Result<()> {
    fs::write(git_dir.join(ID_FILE), format!("{}\n", id::random()?))
}

/// Returns a message without logins and control characters, cut if it is too long.
fn one_line(message: &str) -> String {
    let message = masked(redact(message).as_bytes());
    match message.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}

#[cfg(test)]
mod tests;

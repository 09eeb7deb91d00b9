//! When a file of a mirror was last known to have the content that was verified.
//!
//! A file that clones share can be written into from each of them, and its time of modification put back. Its ctime
//! cannot: every write changes it, and so does every hard link that is made or removed. So a file of which the ctime is
//! the recorded one has not been touched, and any other is hashed before it is handed out. The record changes with every
//! clone and is written by the helpers and by the daemon, each while it holds the lock on it. What is lost of it costs
//! one hash of the file.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::fs::OFlags;

use crate::packs::digest::Digest;

/// The file of the record, inside a mirror and inside the directory of a derived pack.
const FILE: &str = "stamps";

/// Whoever holds the lock hashes as well, and may be stopped meanwhile.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_INTERVAL: Duration = Duration::from_millis(1);

/// The resolution of ctimes: some kernels give the second of two changes within this time the ctime of the first.
const CLOCK_TICK: Duration = Duration::from_millis(20);

/// A file that changes each time while it is hashed is left.
const MAX_TRIES: usize = 4;

/// The metadata of a file by which a change of its content is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    length: u64,
    inode: u64,
    /// Seconds and nanoseconds since 1970.
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Stamp {
    /// Returns the stamp of a file, from its metadata.
    #[must_use]
    pub fn of(file: &Metadata) -> Self {
        Self {
            length: file.len(),
            inode: file.ino(),
            mtime: (file.mtime(), file.mtime_nsec()),
            ctime: (file.ctime(), file.ctime_nsec()),
        }
    }

    /// Returns the length of the file in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// When it was last changed: written into, or linked.
    #[must_use]
    pub fn changed(&self) -> SystemTime {
        let (seconds, nanoseconds) = self.ctime;
        let seconds = Duration::from_secs(seconds.try_into().unwrap_or_default());
        UNIX_EPOCH + seconds + Duration::from_nanos(nanoseconds.try_into().unwrap_or_default())
    }

    /// Whether a hard link that was made or removed is all that may have happened in between.
    #[must_use]
    pub fn is_but_linked(&self, other: &Self) -> bool {
        let Self { ctime, .. } = *other;
        Self { ctime, ..*self } == *other
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse::<i64>().ok());
        let mut next = || numbers.next().flatten();
        let stamp = Self {
            length: next()?.try_into().ok()?,
            inode: next()?.cast_unsigned(),
            mtime: (next()?, next()?),
            ctime: (next()?, next()?),
        };
        numbers.next().is_none().then_some(stamp)
    }

    fn text(&self) -> String {
        let Self {
            length,
            inode,
            mtime,
            ctime,
        } = self;
        let inode = inode.cast_signed();
        format!(
            "{length}.{inode}.{}.{}.{}.{}",
            mtime.0, mtime.1, ctime.0, ctime.1
        )
    }
}

/// The record of one directory, locked until it is dropped; what has changed in it is written then.
pub struct Stamps {
    file: File,
    dir: PathBuf,
    known: BTreeMap<String, Stamp>,
    is_changed: bool,
}

impl Stamps {
    /// Waits for the lock, and reads the record.
    ///
    /// # Errors
    /// Fails when the file cannot be used, or with [`ErrorKind::TimedOut`] when somebody else keeps the lock for so long.
    pub fn lock(dir: &Path, limit: Duration) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let mut file = options.mode(0o600).open(dir.join(FILE))?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < limit => {}
                Err(TryLockError::WouldBlock) => return Err(ErrorKind::TimedOut.into()),
                Err(TryLockError::Error(err)) => return Err(err),
            }
            thread::sleep(LOCK_INTERVAL);
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let known = parse(&String::from_utf8_lossy(&text)).unwrap_or_default();
        Ok(Self {
            file,
            dir: dir.to_owned(),
            known,
            is_changed: false,
        })
    }

    /// Whether none of these files has been touched since its content was what was verified. It is read without the lock:
    /// while it is written, the answer may be no.
    ///
    /// # Errors
    /// Fails when the record or a file cannot be looked at.
    pub fn are_untouched(dir: &Path, files: impl Iterator<Item = PathBuf>) -> io::Result<bool> {
        let text = match fs::read(dir.join(FILE)) {
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(false),
            text => text?,
        };
        let known = parse(&String::from_utf8_lossy(&text)).unwrap_or_default();
        for path in files {
            match fs::symlink_metadata(&path) {
                Ok(file) if known.get(&*key(dir, &path)) == Some(&Stamp::of(&file)) => {}
                // It is somebody else who looks for what is there.
                Err(err) if err.kind() == ErrorKind::NotFound => {}
                Err(err) => return Err(err),
                Ok(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Whether a file has not been touched since its content was what was verified.
    #[must_use]
    pub fn is_untouched(&self, path: &Path, now: &Stamp) -> bool {
        self.known.get(&*key(&self.dir, path)) == Some(now)
    }

    /// Records what a file is, of which the content is what was verified.
    pub fn record(&mut self, path: &Path, stamp: Stamp) {
        self.known.insert(key(&self.dir, path), stamp);
        self.is_changed = true;
    }

    /// Forgets the files that are not among these.
    pub fn retain(&mut self, is_there: impl Fn(&Path) -> bool) {
        let (before, dir) = (self.known.len(), &self.dir);
        self.known.retain(|key, _| is_there(&dir.join(key)));
        self.is_changed |= self.known.len() != before;
    }

    /// Whether the content of an open file is what was verified: it is hashed, unless it has not been touched, or
    /// `always`. Returns what the file is when it is.
    ///
    /// # Errors
    /// Fails when the file cannot be read, changes again and again meanwhile, or when that is cancelled.
    pub fn verify(
        &mut self,
        path: &Path,
        file: &File,
        digest: &Digest,
        always: bool,
        is_cancelled: impl Fn() -> bool,
    ) -> io::Result<Option<Stamp>> {
        let now = Stamp::of(&file.metadata()?);
        if !always && self.is_untouched(path, &now) {
            return Ok(Some(now));
        }
        let (stamp, found) = hash(file, is_cancelled)?;
        if found != *digest {
            return Ok(None);
        }
        self.record(path, stamp);
        Ok(Some(stamp))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (key, stamp) in &self.known {
            let _ = writeln!(text, "{key} {}", stamp.text());
        }
        text + "end\n"
    }
}

impl Drop for Stamps {
    fn drop(&mut self) {
        if self.is_changed {
            let text = self.text();
            // What is torn here is not read, and costs a hash.
            let _ = self
                .file
                .set_len(0)
                .and_then(|()| self.file.rewind())
                .and_then(|()| self.file.write_all(text.as_bytes()));
        }
        // Not only closed: a child that is just being started may have it for a moment longer.
        let _ = self.file.unlock();
    }
}

/// Returns the name of a file in the record of a directory.
fn key(dir: &Path, path: &Path) -> String {
    let path = path.strip_prefix(dir).unwrap_or(path);
    path.to_string_lossy().into_owned()
}

fn parse(text: &str) -> Option<BTreeMap<String, Stamp>> {
    let lines = text.strip_suffix("end\n")?.lines();
    let lines = lines.map(|line| {
        let (key, stamp) = line.rsplit_once(' ')?;
        Some((key.to_owned(), Stamp::parse(stamp)?))
    });
    lines.collect()
}

/// Opens a file of a mirror: none that is elsewhere, and nothing else than a file.
///
/// # Errors
/// Fails when it is no such file, or cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!(
            "'{}' is not a file",
            path.display()
        )));
    }
    Ok(file)
}

/// Hashes a file, and says what it was all the while.
///
/// # Errors
/// Fails when the file cannot be read, or that is cancelled, and with [`ErrorKind::ResourceBusy`] when it changes again and
/// again meanwhile.
pub fn hash(file: &File, is_cancelled: impl Fn() -> bool) -> io::Result<(Stamp, Digest)> {
    let mut before = Stamp::of(&file.metadata()?);
    for _ in 0..MAX_TRIES {
        // A change in the same moment would leave the same ctime.
        if let Some(wait) = age(&before).and_then(|age| CLOCK_TICK.checked_sub(age)) {
            thread::sleep(wait);
        }
        // A page that somebody has mapped to write into it is written to disk, so that the next write into it changes
        // the ctime again.
        match file.sync_data() {
            Err(err) if err.kind() != ErrorKind::InvalidInput => return Err(err),
            _ => {}
        }
        let digest = Digest::of(file, &is_cancelled)?;
        let after = Stamp::of(&file.metadata()?);
        if after == before {
            return Ok((after, digest));
        }
        before = after;
    }
    Err(io::Error::new(
        ErrorKind::ResourceBusy,
        "it changes while it is hashed",
    ))
}

/// Returns the time since a file was changed, by a clock that may have been set back since.
fn age(stamp: &Stamp) -> Option<Duration> {
    SystemTime::now().duration_since(stamp.changed()).ok()
}

#[cfg(test)]
mod tests;

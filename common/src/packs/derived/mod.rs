//! Derived packs: what a mirror has made for those who want a part of it (so much history, without such objects, one
//! branch), kept for whoever wants the same part next.
//!
//! Each lies in a folder of its own, beside a file that is locked while it is made, handed out or removed, and that
//! tells by its age when it was last wanted. What a part consists of does not change, whatever becomes of the mirror; so
//! a pack that was made of it once stays right.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use sha2::{Digest, Sha256};

use crate::packs::{
    listing::pack_dir,
    stamps::{LOCK_TIMEOUT, Stamps, open},
    verified::{self, Pack, Verified},
};

/// The folder of derived packs, inside a mirror.
const FOLDER: &str = "derived";

/// The file that says in a folder that the pack in it is whole.
const RECORD: &str = "made";

/// The ending of the file beside a folder.
const LOCK: &str = "lock";

/// Whatever the mirror's own size, so many bytes of them are kept.
const MIN_BUDGET_BYTES: u64 = 64 << 20;

/// A derived pack is removed when nobody has wanted it for so long.
const MAX_UNUSED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest wait for another process that makes the same pack, and the interval of looking.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// The part of a mirror that a partial or shallow clone wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'p> {
    /// The tips, in hexadecimal.
    pub wants: &'p BTreeSet<Vec<u8>>,
    /// The number of commits of each history; None for all.
    pub depth: Option<u32>,
    /// The filter of objects, as of `git rev-list --filter`.
    pub filter: Option<&'p str>,
    /// All tags of the mirror, where those that point into it belong to it.
    pub tags: Option<BTreeSet<&'p [u8]>>,
}

/// A pack that was made of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// The pack.
    pub pack: Verified,
    /// The commits whose parents are left out, in hexadecimal.
    pub shallow: Vec<String>,
}

/// The place of one part's pack, locked.
pub struct DerivedLock {
    /// Unlocked when it is closed.
    lock: File,
    dir: PathBuf,
}

impl Part<'_> {
    /// Returns the key of this part: a hash of all its fields.
    fn key(&self) -> String {
        let mut hash = Sha256::new();
        let depth = self.depth.unwrap_or_default();
        let filter = self.filter.unwrap_or_default();
        hash.update(format!("{depth}\n{filter}\n"));
        for want in self.wants {
            hash.update(want);
            hash.update("\n");
        }
        if let Some(tags) = &self.tags {
            hash.update("tags\n");
            for tag in tags {
                hash.update(tag);
                hash.update("\n");
            }
        }
        hex::encode(&hash.finalize()[..16])
    }
}

impl Derived {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix("end\n")?.lines();
        let (name, files) = verified::parse(lines.next()?)?;
        let shallow = lines.map(str::to_owned).collect();
        let pack = Verified {
            name,
            files,
            apart: false,
        };
        Some(Self { pack, shallow })
    }

    fn text(&self) -> String {
        let mut text = verified::line(&self.pack.name, &self.pack.files);
        for commit in &self.shallow {
            text.push_str(commit);
            text.push('\n');
        }
        text + "end\n"
    }
}

impl DerivedLock {
    /// Waits until nobody makes or removes the pack of a part, and keeps others from that. `wait` is told when that takes
    /// a while.
    ///
    /// # Errors
    /// Fails when the files cannot be used, or it takes too long.
    pub fn shared(mirror: &Path, part: &Part<'_>, wait: impl FnOnce()) -> io::Result<Self> {
        let lock = Self::open(mirror, &part.key())?;
        until(|| lock.lock.try_lock_shared(), wait)?;
        Ok(lock)
    }

    /// Waits until nobody is there. `wait` is told when that takes a while.
    ///
    /// # Errors
    /// Fails when the files cannot be used, or it takes too long.
    pub fn exclusive(mirror: &Path, part: &Part<'_>, wait: impl FnOnce()) -> io::Result<Self> {
        let lock = Self::open(mirror, &part.key())?;
        until(|| lock.lock.try_lock(), wait)?;
        Ok(lock)
    }

    fn open(mirror: &Path, key: &str) -> io::Result<Self> {
        let store = mirror.join(FOLDER);
        // Not the mirror itself, which may have just been removed.
        match fs::create_dir(&store) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
        let dir = store.join(key);
        let mut options = File::options();
        options.create(true).truncate(false).write(true);
        Ok(Self {
            lock: options.open(dir.with_extension(LOCK))?,
            dir,
        })
    }

    /// Returns the derived pack, if it is whole, and records that it was wanted now.
    ///
    /// # Errors
    /// Fails when it cannot be read, or with [`verified::NotVerified`] when its content is not what it was when it was
    /// made.
    pub fn find(&self) -> io::Result<Option<Derived>> {
        let text = match fs::read_to_string(self.dir.join(RECORD)) {
            Ok(text) => text,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err),
        };
        let Some(found) = Derived::parse(&text) else {
            return Ok(None);
        };
        let mut stamps = self.stamps()?;
        for (ending, digest) in &found.pack.files {
            let path = self.folder().join(format!("{}.{ending}", found.pack.name));
            let file = match open(&path) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
                file => file?,
            };
            let is_it = stamps.verify(&path, &file, digest, false, || false)?;
            is_it.ok_or(verified::NotVerified(path))?;
        }
        self.lock.set_modified(SystemTime::now())?;
        Ok(Some(found))
    }

    /// Opens the stamps of the files of the pack.
    ///
    /// # Errors
    /// Fails when it cannot be read, or somebody else keeps the lock on it.
    pub fn stamps(&self) -> io::Result<Stamps> {
        Stamps::lock(&self.dir, LOCK_TIMEOUT)
    }

    /// Returns the folder of the pack.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.dir.join("pack")
    }

    /// Makes the folder anew, with nothing in it. Returns where git may put its objects.
    ///
    /// # Errors
    /// Fails when that cannot be done.
    pub fn clear(&self) -> io::Result<&Path> {
        remove(&self.dir)?;
        fs::create_dir(&self.dir)?;
        fs::create_dir(self.folder())?;
        Ok(&self.dir)
    }

    /// Records that the pack is whole.
    ///
    /// # Errors
    /// Fails when it is not there, or that cannot be written down.
    pub fn record(&self, name: &str, shallow: Vec<String>) -> io::Result<Derived> {
        let packs = verified::packs(&self.folder())?;
        let pack = packs.into_iter().find(|pack| pack.name == name);
        let pack = pack.ok_or(io::ErrorKind::NotFound)?;
        let mut stamps = self.stamps()?;
        for (ending, stamp) in &pack.files {
            stamps.record(&self.folder().join(format!("{name}.{ending}")), *stamp);
        }
        drop(stamps);
        let pack = Verified {
            files: pack.digests(&self.folder())?,
            name: pack.name,
            apart: false,
        };
        let derived = Derived { pack, shallow };
        let unfinished = self.dir.join("making");
        fs::write(&unfinished, derived.text())?;
        fs::rename(unfinished, self.dir.join(RECORD))?;
        self.lock.set_modified(SystemTime::now())?;
        Ok(derived)
    }
}

/// Waits for a lock. Whoever holds it may be stopped, and is not waited for without end.
fn until(lock: impl Fn() -> Result<(), TryLockError>, wait: impl FnOnce()) -> io::Result<()> {
    let mut wait = Some(wait);
    let began = Instant::now();
    loop {
        match lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(err)) => return Err(err),
            Err(TryLockError::WouldBlock) if began.elapsed() > WAIT_TIMEOUT => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if let Some(wait) = wait.take() {
            wait();
        }
        thread::sleep(RETRY_INTERVAL);
    }
}

/// Removes what is left of a pack; first what says that it is whole.
fn remove(dir: &Path) -> io::Result<()> {
    for gone in [fs::remove_file(dir.join(RECORD)), fs::remove_dir_all(dir)] {
        match gone {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(())
}

/// Removes those that were wanted least recently, until what is left takes no more than the mirror's own packs do, or
/// little, and whatever nobody has wanted for a week. What somebody uses stays.
///
/// # Errors
/// Fails when they cannot be looked at or removed.
pub fn trim(mirror: &Path, now: SystemTime) -> io::Result<()> {
    let store = mirror.join(FOLDER);
    let mut found = Vec::new();
    let entries = match fs::read_dir(&store) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let lock = entry?.path();
        if lock.extension().is_some_and(|ending| ending == LOCK) {
            match fs::metadata(&lock) {
                Ok(file) => found.push((file.modified()?, lock)),
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
    }
    let own = verified::packs(&pack_dir(mirror))?;
    let own: u64 = own.iter().map(Pack::length).sum();
    let mut left = own.max(MIN_BUDGET_BYTES);
    found.sort();
    for (place, (wanted, lock)) in found.into_iter().rev().enumerate() {
        let dir = lock.with_extension("");
        let size = size(&dir)?;
        let is_old = now.duration_since(wanted).is_ok_and(|age| age > MAX_UNUSED);
        // Of a single one, however large, somebody has just had the trouble.
        if !is_old && (size <= left || place == 0) {
            left = left.saturating_sub(size);
            continue;
        }
        let file = match File::open(&lock) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        match file.try_lock() {
            Ok(()) => remove(&dir)?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(err)) => return Err(err),
        }
    }
    Ok(())
}

/// Removes the files beside folders that are gone. Only for who has the mirror alone: whoever waits for such a lock must
/// not be left with one that nobody else will find.
///
/// # Errors
/// Fails when they cannot be looked at or removed.
pub fn sweep(mirror: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(mirror.join(FOLDER)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let is_left_over = match path.extension() {
            Some(ending) if ending == LOCK => !path.with_extension("").exists(),
            // Whoever made it has been killed.
            _ => !path.join(RECORD).exists(),
        };
        if is_left_over {
            match path.is_dir() {
                true => fs::remove_dir_all(path)?,
                false => fs::remove_file(path)?,
            }
        }
    }
    Ok(())
}

/// Returns the bytes of all files in a folder and its folders.
fn size(dir: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut bytes = 0;
    for entry in entries {
        let entry = entry?;
        // What has gone meanwhile takes nothing.
        if let Ok(file) = entry.metadata() {
            bytes += match file.is_dir() {
                true => size(&entry.path())?,
                false => file.len(),
            };
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;

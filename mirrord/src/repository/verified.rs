//! Records which packs have been verified, so that clients may get them, and verifies the others. `common::packs::verified`
//! is the format of the record, and says what it means.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use common::{
    git,
    packs::{
        digest::Digest,
        listing::pack_dir,
        stamps::{self, LOCK_TIMEOUT, Stamp, Stamps},
        verified::{Digests, Hashed, Pack, Record, digests, packs, path},
    },
};
use parking_lot::Mutex;

use crate::{
    process::{child, watch::Watch},
    repository::refs,
};

/// How long to wait for the lock of the stamps where these only save a hash.
const SHORT_TIMEOUT: Duration = Duration::from_millis(100);

/// Locked while a record is read, changed and written.
static WRITING: Mutex<()> = Mutex::new(());

/// Which files are compared with their recorded hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The files whose ctime has changed.
    Touched,
    /// All files.
    All,
}

/// A file whose content is not what was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The file.
    pub path: PathBuf,
    /// When it was changed.
    pub at: SystemTime,
}

/// Records packs that are about to be moved into the mirror, and whose every byte was verified when they were made.
pub(crate) fn record_packs(git_dir: &Path, added: &BTreeMap<String, Digests>) -> io::Result<()> {
    change(git_dir, |record| {
        // A mirror without refs needs no object.
        record.complete |= !refs::has_any(git_dir);
        record.packs.extend(added.clone());
    })
}

/// Records the stamps of files whose content is what was verified. Does nothing when the lock is taken: a file without a
/// stamp costs one hash later.
pub(crate) fn record_stamps(git_dir: &Path, files: impl Iterator<Item = PathBuf>) {
    let Ok(mut stamps) = Stamps::lock(git_dir, SHORT_TIMEOUT) else {
        return;
    };
    for path in files {
        if let Ok(file) = fs::symlink_metadata(&path) {
            stamps.record(&path, Stamp::of(&file));
        }
    }
}

/// The files of a mirror's packs whose content is not what was verified.
pub(crate) fn changed_files(
    git_dir: &Path,
    extent: Extent,
    watch: &Watch,
) -> io::Result<Vec<Changed>> {
    if extent == Extent::Touched && !is_touched(git_dir)? {
        return Ok(Vec::new());
    }
    // Linking a file changes its ctime. A process that links one has the lock until it has recorded the new stamp.
    let mut stamps = Stamps::lock(git_dir, LOCK_TIMEOUT)?;
    let (always, record) = (extent == Extent::All, Record::read(git_dir)?);
    let mut changed = Vec::new();
    for (path, digest) in record.files(git_dir) {
        let file = match stamps::open(&path) {
            // Its pack has just been removed; [`verify`] notices other missing files.
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let verified = stamps.verify(&path, &file, digest, always, || watch.is_cancelled())?;
        if verified.is_none() {
            let at = Stamp::of(&file.metadata()?).changed();
            changed.push(Changed { path, at });
        }
    }
    let known: BTreeSet<PathBuf> = record.files(git_dir).map(|(path, _)| path).collect();
    stamps.retain(|path| known.contains(path));
    // A file that was replaced meanwhile has another hash in the record now.
    let now = Record::read(git_dir)?;
    let now: BTreeMap<PathBuf, &Digest> = now.files(git_dir).collect();
    let before: BTreeMap<PathBuf, &Digest> = record.files(git_dir).collect();
    changed.retain(|file| now.get(&file.path) == before.get(&file.path));
    Ok(changed)
}

/// Whether the ctime of a file of a mirror's packs has changed since it was verified.
pub(crate) fn is_touched(git_dir: &Path) -> io::Result<bool> {
    let record = Record::read(git_dir)?;
    let files = record.files(git_dir).map(|(path, _)| path);
    Ok(!Stamps::are_untouched(git_dir, files)?)
}

/// Whether the content of a file is what was verified; `None` when it never was.
pub(crate) fn is_file_verified(
    git_dir: &Path,
    path: &Path,
    watch: &Watch,
) -> io::Result<Option<bool>> {
    let record = Record::read(git_dir)?;
    let mut files = record.files(git_dir);
    let Some((_, digest)) = files.find(|(known, _)| known == path) else {
        return Ok(None);
    };
    let (_, found) = stamps::hash(&stamps::open(path)?, || watch.is_cancelled())?;
    Ok(Some(found == *digest))
}

/// Removes one file of a pack from the record, or all of the pack of tips. The file is one that git can do without.
pub(crate) fn forget_file(git_dir: &Path, path: &Path) -> io::Result<()> {
    change(git_dir, |record| {
        if !path.starts_with(pack_dir(git_dir)) {
            record.tips = None;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        if let Some(files) = record.packs.get_mut(&*stem) {
            files.retain(|ending, _| path.extension() != Some(ending.as_ref()));
        }
    })
}

/// Records the pack of tips that has just been made.
pub(crate) fn record_tips(git_dir: &Path, name: String, files: Digests) -> io::Result<()> {
    change(git_dir, |record| record.tips = Some((name, files)))
}

/// Removes packs from the record that are about to be deleted, because others have all their objects.
pub(crate) fn forget_packs<'p>(
    git_dir: &Path,
    packs: impl Iterator<Item = &'p str>,
) -> io::Result<()> {
    change(git_dir, |record| {
        for name in packs {
            record.packs.remove(name);
        }
    })
}

/// Whether all packs of a mirror are verified and no object is missing, by the record.
pub(crate) fn are_all_verified(git_dir: &Path) -> bool {
    common::packs::verified::fit(git_dir).is_ok_and(|fit| fit.is_some())
}

/// The result of [`verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// All objects that the refs reach exist and are undamaged.
    Whole,
    /// Some packs are damaged.
    Bad {
        /// Their names.
        packs: Vec<String>,
        /// What git says of them.
        message: String,
    },
    /// An object is missing; this is what git says of it.
    Lacking(String),
}

/// Verifies the packs of a mirror that are not verified yet, and records the result.
pub(crate) fn verify(git_dir: &Path, watch: &Watch) -> io::Result<Found> {
    let before = Record::read(git_dir)?;
    let found = packs(&pack_dir(git_dir))?;
    let is_missing = |name: &String| found.iter().all(|pack| pack.name != *name);
    let mut may_lack = !before.complete || before.packs.keys().any(is_missing);
    let unknown = found.iter().filter(|pack| !before.has(pack));
    let unknown: Vec<&Pack> = unknown.collect();
    may_lack |= unknown
        .iter()
        .any(|pack| before.packs.contains_key(&pack.name));
    let hashed = hash(git_dir, &unknown, watch)?;
    if let Some(message) = faults(git_dir, &unknown, watch)? {
        let mut bad = Vec::new();
        for pack in unknown {
            if faults(git_dir, &[pack], watch)?.is_some() {
                bad.push(pack.name.clone());
            }
        }
        return Ok(Found::Bad {
            packs: bad,
            message,
        });
    }
    // The stamps show that git has verified the same bytes that were hashed.
    let mut stamps = Stamps::lock(git_dir, SHORT_TIMEOUT).ok();
    for pack in &unknown {
        for (ending, (stamp, _)) in &hashed[&pack.name] {
            let path = pack_dir(git_dir).join(format!("{}.{ending}", pack.name));
            if Stamp::of(&fs::symlink_metadata(&path)?) != *stamp {
                let message = format!("'{}' changes while it is verified", path.display());
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
            }
            if let Some(stamps) = &mut stamps {
                stamps.record(&path, *stamp);
            }
        }
    }
    drop(stamps);
    change(git_dir, |record| {
        record.complete &= !may_lack;
        // Packs that were added or removed meanwhile are in the record already.
        for pack in unknown {
            if record.packs.get(&pack.name) == before.packs.get(&pack.name) {
                let files = digests(&hashed[&pack.name]);
                record.packs.insert(pack.name.clone(), files);
            }
        }
        record.packs.retain(|name, files| {
            before.packs.get(name) != Some(files) || !is_absent(git_dir, name)
        });
    })?;
    if may_lack {
        let mut git = git::at(git_dir);
        // The commit-graph may list a commit that is lost.
        git.args(["-c", "core.commitGraph=false"]).args([
            "rev-list",
            "--objects",
            "--all",
            "--quiet",
        ]);
        if let Some(message) = run_check(&git, watch)? {
            return Ok(Found::Lacking(message));
        }
    }
    change(git_dir, |record| record.complete = true)?;
    Ok(Found::Whole)
}

/// Hashes the files of packs.
fn hash(git_dir: &Path, packs: &[&Pack], watch: &Watch) -> io::Result<BTreeMap<String, Hashed>> {
    let dir = pack_dir(git_dir);
    let hash = |pack: &&Pack| {
        let hashed = pack.hash(&dir, || watch.is_cancelled())?;
        Ok((pack.name.clone(), hashed))
    };
    packs.iter().map(hash).collect()
}

/// What `git verify-pack` says of these packs; `None` when they are undamaged.
fn faults(git_dir: &Path, packs: &[&Pack], watch: &Watch) -> io::Result<Option<String>> {
    if packs.is_empty() {
        return Ok(None);
    }
    let mut git = git::at(git_dir);
    git.args(["-c", "pack.threads=1", "verify-pack"]);
    let index = |pack: &&Pack| pack_dir(git_dir).join(format!("{}.idx", pack.name));
    git.args(packs.iter().map(index));
    run_check(&git, watch)
}

/// Removes packs from the record, and that no object is missing: [`verify`] checks both again.
pub(crate) fn mark_unverified<'p>(
    git_dir: &Path,
    packs: impl Iterator<Item = &'p str>,
) -> io::Result<()> {
    change(git_dir, |record| {
        record.complete = false;
        for name in packs {
            record.packs.remove(name);
        }
    })
}

fn is_absent(git_dir: &Path, pack: &str) -> bool {
    !pack_dir(git_dir).join(format!("{pack}.idx")).exists()
}

/// Runs a check of git's. Returns the first line of its error, or `None` when it succeeds.
///
/// # Errors
/// Fails when the check was cancelled or killed: then it says nothing of the mirror.
fn run_check(git: &Command, watch: &Watch) -> io::Result<Option<String>> {
    let mut nice = git::niced(git);
    nice.stdout(Stdio::null());
    let ended = child::run(nice, Vec::new(), watch)?;
    if watch.is_cancelled() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    match ended.status.code() {
        Some(0) => return Ok(None),
        Some(_) => {}
        None => return Err(io::Error::other("git was killed")),
    }
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let line = stderr.lines().find(|line| !line.trim().is_empty());
    let line = line.unwrap_or("git failed").trim();
    let line = line.trim_start_matches("error: ");
    Ok(Some(line.trim_start_matches("fatal: ").to_owned()))
}

/// Changes the record of a mirror. The file need not last through a power cut: where it differs from the packs on disk, no
/// client gets any before they are verified again.
fn change(git_dir: &Path, change: impl FnOnce(&mut Record)) -> io::Result<()> {
    let _writing = WRITING.lock();
    let mut record = Record::read(git_dir)?;
    change(&mut record);
    let new = tempfile::Builder::new()
        .prefix(crate::process::durable::UNFINISHED)
        .tempfile_in(git_dir)?;
    fs::write(new.path(), record.text())?;
    new.persist(path(git_dir))?;
    Ok(())
}

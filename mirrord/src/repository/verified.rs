//! Writes down which packs have been verified, so that clients may be handed them, and finds out of those of which that
//! is not known. `common::packs::verified` says what the record means.

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

/// What only saves a hash does not wait longer for the lock.
const SHORT_TIMEOUT: Duration = Duration::from_millis(100);

/// Held while a record is read, changed and written.
static WRITING: Mutex<()> = Mutex::new(());

/// How much is compared with what was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// The files that somebody has touched, by their ctimes.
    Touched,
    /// All files.
    All,
}

/// A file origin content is not what was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The file.
    pub path: PathBuf,
    /// When it was changed.
    pub at: SystemTime,
}

/// Records packs that are about to be let in, and of which every byte was looked at when they were made.
pub(crate) fn record_packs(git_dir: &Path, added: &BTreeMap<String, Digests>) -> io::Result<()> {
    change(git_dir, |record| {
        // In a mirror that has no refs yet, nothing can be missing.
        record.complete |= !refs::has_any(git_dir);
        record.packs.extend(added.clone());
    })
}

/// Records what files are of which the content is what was verified. That they are not recorded costs a hash, and who
/// keeps the lock is not waited for.
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

/// The files of a mirror's packs origin content is not what was verified.
pub(crate) fn changed_files(
    git_dir: &Path,
    extent: Extent,
    watch: &Watch,
) -> io::Result<Vec<Changed>> {
    if extent == Extent::Touched && !is_touched(git_dir)? {
        return Ok(Vec::new());
    }
    // Who has just linked a file records it while it keeps the lock.
    let mut stamps = Stamps::lock(git_dir, LOCK_TIMEOUT)?;
    let (always, record) = (extent == Extent::All, Record::read(git_dir)?);
    let mut changed = Vec::new();
    for (path, digest) in record.files(git_dir) {
        let file = match stamps::open(&path) {
            // It has just been dropped, or is missed by who looks for what is there.
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let is_it = stamps.verify(&path, &file, digest, always, || watch.is_cancelled())?;
        if is_it.is_none() {
            let at = Stamp::of(&file.metadata()?).changed();
            changed.push(Changed { path, at });
        }
    }
    let known: BTreeSet<PathBuf> = record.files(git_dir).map(|(path, _)| path).collect();
    stamps.retain(|path| known.contains(path));
    // What has been replaced meanwhile is what is recorded now.
    let now = Record::read(git_dir)?;
    let now: BTreeMap<PathBuf, &Digest> = now.files(git_dir).collect();
    let before: BTreeMap<PathBuf, &Digest> = record.files(git_dir).collect();
    changed.retain(|file| now.get(&file.path) == before.get(&file.path));
    Ok(changed)
}

/// Whether somebody has touched a file of a mirror's packs since its content was what was verified.
pub(crate) fn is_touched(git_dir: &Path) -> io::Result<bool> {
    let record = Record::read(git_dir)?;
    let files = record.files(git_dir).map(|(path, _)| path);
    Ok(!Stamps::are_untouched(git_dir, files)?)
}

/// Whether the content of a file is what was verified; None where nothing was.
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

/// Forgets one file of a pack that git does without; or all of the pack of tips.
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

/// Notes the pack of tips that has just been made.
pub(crate) fn record_tips(git_dir: &Path, name: String, files: Digests) -> io::Result<()> {
    change(git_dir, |record| record.tips = Some((name, files)))
}

/// Forgets packs that are about to go, because others have all that they have.
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

/// Whether it is known of all packs of a mirror that they are as they should be.
pub(crate) fn are_all_verified(git_dir: &Path) -> bool {
    common::packs::verified::fit(git_dir).is_ok_and(|fit| fit.is_some())
}

/// What was found of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// All that its refs reach is there, and as it should be.
    Whole,
    /// These packs are not what they should be; what git says of them.
    Bad(Vec<String>, String),
    /// Something is missing; what git says of it.
    Lacking(String),
}

/// Finds out whether the packs of a mirror are as they should be, where that is not known, and writes it down.
pub(crate) fn verify(git_dir: &Path, watch: &Watch) -> io::Result<Found> {
    let before = Record::read(git_dir)?;
    let found = packs(&pack_dir(git_dir))?;
    let is_gone = |name: &String| found.iter().all(|pack| pack.name != *name);
    let mut may_lack = !before.complete || before.packs.keys().any(is_gone);
    let unknown = found.iter().filter(|pack| !before.has(pack));
    let unknown: Vec<&Pack> = unknown.collect();
    may_lack |= unknown
        .iter()
        .any(|pack| before.packs.contains_key(&pack.name));
    let hashed = hash(git_dir, &unknown, watch)?;
    if let Some(words) = faults(git_dir, &unknown, watch)? {
        let mut bad = Vec::new();
        for pack in unknown {
            if faults(git_dir, &[pack], watch)?.is_some() {
                bad.push(pack.name.clone());
            }
        }
        return Ok(Found::Bad(bad, words));
    }
    // What git has looked at is what was hashed.
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
        // What came or went meanwhile is in the record already.
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
        // A graph of commits knows some that may be lost.
        git.args(["-c", "core.commitGraph=false"]).args([
            "rev-list",
            "--objects",
            "--all",
            "--quiet",
        ]);
        if let Some(words) = refused(&git, watch)? {
            return Ok(Found::Lacking(words));
        }
    }
    change(git_dir, |record| record.complete = true)?;
    Ok(Found::Whole)
}

/// Hashes the files of packs.
fn hash(git_dir: &Path, packs: &[&Pack], watch: &Watch) -> io::Result<BTreeMap<String, Hashed>> {
    let folder = pack_dir(git_dir);
    let hash = |pack: &&Pack| {
        let hashed = pack.hash(&folder, || watch.is_cancelled())?;
        Ok((pack.name.clone(), hashed))
    };
    packs.iter().map(hash).collect()
}

/// What is wrong with one of these packs, in git's words.
fn faults(git_dir: &Path, packs: &[&Pack], watch: &Watch) -> io::Result<Option<String>> {
    if packs.is_empty() {
        return Ok(None);
    }
    let mut git = git::at(git_dir);
    git.args(["-c", "pack.threads=1", "verify-pack"]);
    let index = |pack: &&Pack| pack_dir(git_dir).join(format!("{}.idx", pack.name));
    git.args(packs.iter().map(index));
    refused(&git, watch)
}

/// Forgets what is known of packs, and that all is there: so it is looked into again.
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

/// Why git refuses what it is shown, when it does. One that is killed has said nothing of it.
fn refused(git: &Command, watch: &Watch) -> io::Result<Option<String>> {
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
    let words = String::from_utf8_lossy(&ended.stderr);
    let words = words.lines().find(|line| !line.trim().is_empty());
    let words = words.unwrap_or("git failed").trim();
    let words = words.trim_start_matches("error: ");
    Ok(Some(words.trim_start_matches("fatal: ").to_owned()))
}

/// Changes a record. It need not last through a power cut: where it says anything else than what is on disk, nothing is
/// handed out until that has been looked into.
fn change(git_dir: &Path, change: impl FnOnce(&mut Record)) -> io::Result<()> {
    let _turn = WRITING.lock();
    let mut record = Record::read(git_dir)?;
    change(&mut record);
    let new = tempfile::Builder::new()
        .prefix(crate::process::durable::UNFINISHED)
        .tempfile_in(git_dir)?;
    fs::write(new.path(), record.text())?;
    new.persist(path(git_dir))?;
    Ok(())
}

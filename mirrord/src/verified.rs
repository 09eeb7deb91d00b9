//! Writes down which packs have been verified, so that clients may be handed them, and finds out of those of which that
//! is not known. `common::verified` says what the record means.

use std::{
    fs, io,
    path::Path,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use common::{
    git,
    verified::{Pack, Record, folder, packs, path},
};

use crate::{children, watch::Watch};

/// Held while a record is read, changed and written.
static WRITING: Mutex<()> = Mutex::new(());

/// Notes packs that are about to be let in, and of which every byte was looked at when they were made.
///
/// # Errors
/// Fails when the disk refuses.
pub(crate) fn note(git_dir: &Path, added: &[Pack]) -> io::Result<()> {
    change(git_dir, |record| {
        // In a mirror that has no refs yet, nothing can be missing.
        record.complete |= !git_dir.join("packed-refs").exists();
        for pack in added {
            record.packs.insert(pack.name.clone(), pack.files.clone());
        }
    })
}

/// Notes the pack of tips that has just been made.
///
/// # Errors
/// Fails when the disk refuses.
pub(crate) fn note_tips(git_dir: &Path, tips: Pack) -> io::Result<()> {
    change(git_dir, |record| {
        record.tips = Some((tips.name, tips.files));
    })
}

/// Forgets packs that are about to go, because others have all that they have.
///
/// # Errors
/// Fails when the disk refuses.
pub(crate) fn forget<'p>(git_dir: &Path, packs: impl Iterator<Item = &'p str>) -> io::Result<()> {
    change(git_dir, |record| {
        for name in packs {
            record.packs.remove(name);
        }
    })
}

/// Whether it is known of all packs of a mirror that they are as they should be.
pub(crate) fn is_known(git_dir: &Path) -> bool {
    common::verified::fit(git_dir).is_ok_and(|fit| fit.is_some())
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
///
/// # Errors
/// Fails when git cannot be run, when it is cancelled, or the disk refuses.
pub(crate) fn verify(git_dir: &Path, watch: &Watch) -> io::Result<Found> {
    let before = Record::read(git_dir)?;
    let found = packs(&folder(git_dir))?;
    let is_gone = |name: &String| found.iter().all(|pack| pack.name != *name);
    let mut may_lack = !before.complete || before.packs.keys().any(is_gone);
    let known = |pack: &Pack| before.packs.get(&pack.name);
    let unknown = found.iter().filter(|pack| known(pack) != Some(&pack.files));
    let unknown: Vec<&Pack> = unknown.collect();
    may_lack |= unknown.iter().any(|pack| known(pack).is_some());
    if let Some(words) = faults(git_dir, &unknown, watch)? {
        let mut bad = Vec::new();
        for pack in unknown {
            if faults(git_dir, &[pack], watch)?.is_some() {
                bad.push(pack.name.clone());
            }
        }
        return Ok(Found::Bad(bad, words));
    }
    change(git_dir, |record| {
        record.complete &= !may_lack;
        // What came or went meanwhile is in the record already.
        for pack in &found {
            if record.packs.get(&pack.name) == known(pack) {
                record.packs.insert(pack.name.clone(), pack.files.clone());
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

/// What is wrong with one of these packs, in git's words.
fn faults(git_dir: &Path, packs: &[&Pack], watch: &Watch) -> io::Result<Option<String>> {
    if packs.is_empty() {
        return Ok(None);
    }
    let mut git = git::at(git_dir);
    git.args(["-c", "pack.threads=1", "verify-pack"]);
    let index = |pack: &&Pack| folder(git_dir).join(format!("{}.idx", pack.name));
    git.args(packs.iter().map(index));
    refused(&git, watch)
}

/// Forgets what is known of packs, and that all is there: so it is looked into again.
///
/// # Errors
/// Fails when the disk refuses.
pub(crate) fn doubt<'p>(git_dir: &Path, packs: impl Iterator<Item = &'p str>) -> io::Result<()> {
    change(git_dir, |record| {
        record.complete = false;
        for name in packs {
            record.packs.remove(name);
        }
    })
}

fn is_absent(git_dir: &Path, pack: &str) -> bool {
    !folder(git_dir).join(format!("{pack}.idx")).exists()
}

/// Why git refuses what it is shown, when it does. One that is killed has said nothing of it.
fn refused(git: &Command, watch: &Watch) -> io::Result<Option<String>> {
    let mut nice = git::niced(git);
    nice.stdout(Stdio::null());
    let ended = children::run(nice, Vec::new(), watch)?;
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
    let _turn = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut record = Record::read(git_dir)?;
    change(&mut record);
    let new = tempfile::Builder::new()
        .prefix(crate::durable::UNFINISHED)
        .tempfile_in(git_dir)?;
    fs::write(new.path(), record.text())?;
    new.persist(path(git_dir))?;
    Ok(())
}

//! Secrets in files, where there is no keyring: one file each, which nobody but its owner can read.
//!
//! A file is written beside and renamed, and ends with a line break of its own, so that part of a secret is never taken
//! for the whole. It is read only if it is what we wrote: a regular file of this user's, closed to everybody else.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use common::{
    protocol::{Failure, FailureKind, OrFailure},
    text::shell_quoted,
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use zeroize::Zeroizing;

use crate::{mirrors::settings::is_secret_id, process::durable};

use super::no_longer_there;

/// The longest file of a secret; a longer one is not ours.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Stores a secret under a name that nothing has yet.
pub(super) fn put(dir: &Path, id: &str, secret: &str) -> Result<(), Failure> {
    durable::make_dir(dir).or_failure(cannot_store(dir))?;
    check_dir(dir)?;
    write(dir, id, secret)
}

/// Writes a secret into a directory that is there for something else, which others may look into: not into the file.
pub(super) fn write(dir: &Path, id: &str, secret: &str) -> Result<(), Failure> {
    if secret.len() as u64 >= MAX_FILE_BYTES {
        let message = "cannot store a secret of more than 64 KiB";
        return Err(Failure::new(FailureKind::Usage, message));
    }
    // Made with mode 0600 and under a name that nothing has, so that nobody gets a hold of it before the bytes are there.
    let line = Zeroizing::new(format!("{secret}\n"));
    durable::replace(&dir.join(id), line.as_bytes()).or_failure(cannot_store(dir))
}

/// Looks a secret up.
pub(super) fn get(dir: &Path, id: &str) -> Result<String, Failure> {
    let found = find(dir, id)?.ok_or_else(|| no_longer_there("file"))?;
    check_dir(dir)?;
    Ok(found)
}

/// Looks for a secret, which need not be there.
pub(super) fn find(dir: &Path, id: &str) -> Result<Option<String>, Failure> {
    let path = dir.join(id);
    let file = match open(&path, OFlags::RDONLY) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(not_ours(&path, "it is a symbolic link")),
        Err(err) => return Err(Failure::io(cannot_read(&path), &err.into())),
    };
    check(&path, &file.metadata().or_failure(cannot_read(&path))?)?;
    // With room for all of it: what grows leaves copies behind.
    let room = usize::try_from(MAX_FILE_BYTES + 1).unwrap_or_default();
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut text)
        .or_failure(cannot_read(&path))?;
    // The message must not quote what is in there.
    let text = std::str::from_utf8(&text).map_err(|_| not_ours(&path, "it is not text"))?;
    match text.strip_suffix('\n') {
        Some(secret) if text.len() as u64 <= MAX_FILE_BYTES => Ok(Some(secret.to_owned())),
        _ => Err(not_ours(&path, "it is not whole").hinted("store the secret anew")),
    }
}

/// Removes a secret, and first overwrites it.
pub(super) fn remove(dir: &Path, id: &str) -> Result<(), Failure> {
    let path = dir.join(id);
    erase(&path)
        .and_then(|()| durable::sync_dir(dir))
        .or_else(|err| match err.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(err),
        })
        .or_failure(format_args!("cannot remove '{}'", path.display()))
}

/// Removes the secrets that are not named, and what was never finished. Anything else that somebody has put there stays.
pub(super) fn sweep(dir: &Path, named: &[&str]) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let mut result = Ok(());
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let ours = is_secret_id(name) || name.starts_with(durable::UNFINISHED);
        if ours && !named.contains(&name) {
            result = result.and(erase(&entry.path()));
        }
    }
    result.and(durable::sync_dir(dir))
}

/// Overwrites a file and takes its name away. Where a disk writes anew instead of over, that is all the same to it; the
/// others do not keep a secret in free blocks.
fn erase(path: &Path) -> io::Result<()> {
    // What cannot be opened, or is none of our files, loses its name alone.
    if let Ok(mut file) = open(path, OFlags::WRONLY)
        && let Ok(found) = file.metadata()
        && found.is_file()
    {
        let length = usize::try_from(found.len().min(MAX_FILE_BYTES)).unwrap_or_default();
        file.write_all(&vec![0; length])?;
        file.sync_all()?;
    }
    fs::remove_file(path)
}

/// Opens a file without following a symbolic link, and without waiting at a pipe.
fn open(path: &Path, how: OFlags) -> Result<File, Errno> {
    let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from)
}

/// Whether an open file is one of ours, as we left it.
fn check(path: &Path, found: &Metadata) -> Result<(), Failure> {
    if !found.is_file() {
        return Err(not_ours(path, "it is not a regular file"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(not_ours(path, "it belongs to another user"));
    }
    if found.mode() & 0o077 != 0 {
        let hint = format!("chmod 600 {}", shell_quoted(&path.to_string_lossy()));
        return Err(not_ours(path, "others may read or change it").hinted(hint));
    }
    Ok(())
}

/// Whether the directory is ours alone.
fn check_dir(dir: &Path) -> Result<(), Failure> {
    let found = fs::metadata(dir).or_failure(format_args!("cannot use '{}'", dir.display()))?;
    let unusable = |why: &str| Failure::here(format!("cannot use '{}': {why}", dir.display()));
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(unusable("it belongs to another user"));
    }
    if found.mode() & 0o077 != 0 {
        let hint = format!("chmod 700 {}", shell_quoted(&dir.to_string_lossy()));
        return Err(unusable("others may look into it").hinted(hint));
    }
    Ok(())
}

fn not_ours(path: &Path, why: &str) -> Failure {
    Failure::here(format!("{}: {why}", cannot_read(path)))
}

fn cannot_store(dir: &Path) -> String {
    format!("cannot store a secret in '{}'", dir.display())
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read the secret in '{}'", path.display())
}

//! Makes what was written last through a power cut: files, then the directories that name them.

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

/// Writes the names in a directory to disk.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes a new directory to disk, everything in it first.
pub(crate) fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_dir(dir)
}

/// Makes a directory and those above it, with mode 0700. One that exists is left as it is.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    let Some(above) = dir.parent().filter(|_| !dir.is_dir()) else {
        return Ok(());
    };
    make_dir(above)?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        // Somebody else was faster.
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists || !dir.is_dir() => Err(err),
        _ => sync_dir(above),
    }
}

/// The prefix of files that are to replace others. One whose writer was killed can be removed.
pub(crate) const UNFINISHED: &str = ".new-";

/// Replaces a file as a whole: readers see the old content or the new one, also after a power cut.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = dir_of(path);
    let mut file = unfinished_in(dir)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_dir(dir)
}

/// Replaces a file as a whole that means nothing after a power cut: readers see the old content or the new one.
pub(crate) fn replace_until_power_cut(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = unfinished_in(dir_of(path))?;
    file.write_all(content)?;
    file.persist(path)?;
    Ok(())
}

fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn unfinished_in(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut options = tempfile::Builder::new();
    options.prefix(UNFINISHED).tempfile_in(dir)
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

/// The system's error behind an error of a library's, which may not say the reason itself: that a disk is full.
pub(crate) fn as_io(error: impl Error + Send + Sync + 'static) -> io::Error {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io::Error::new(io.kind(), io.to_string());
        }
        cause = error.source();
    }
    io::Error::other(error)
}

/// Whether an error is about room on a disk of this machine rather than about what was being written.
#[must_use]
pub(crate) fn is_our_disk(error: &io::Error) -> bool {
    use io::ErrorKind::{
        FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    matches!(
        error.kind(),
        StorageFull | FileTooLarge | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied
    )
}

//! The lease of a mirror: the lock on one of its files that every reader shares.
//!
//! A reader may outlive the daemon that told it of the mirror, so what the daemon remembers of its readers is not enough.
//! Whoever moves or removes files of a mirror takes the lease for itself first.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
};

/// The name of the locked file, in a mirror.
pub const FILE: &str = "lease";

/// Shares the lease with other readers, for as long as the returned file is open. Blocks while somebody has it alone.
///
/// # Errors
/// Fails when the file cannot be opened or locked.
pub fn share(git_dir: &Path) -> io::Result<File> {
    let file = open(git_dir)?;
    file.lock_shared()?;
    Ok(file)
}

/// Takes the lease for as long as the returned file is open; None where somebody reads the mirror.
///
/// # Errors
/// Fails when the file cannot be opened or locked.
pub fn try_exclusive(git_dir: &Path) -> io::Result<Option<File>> {
    let file = open(git_dir)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(err)) => Err(err),
    }
}

fn open(git_dir: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(git_dir.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_a_lease_that_nobody_can_take_meanwhile() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = share(dir.path()).expect("free");
        let second = share(dir.path()).expect("shared");
        assert!(try_exclusive(dir.path()).expect("readable").is_none());
        // Not only dropped: a child that another test starts just now may have it for a moment longer.
        for reader in [first, second] {
            reader.unlock().expect("locked");
        }
        assert!(try_exclusive(dir.path()).expect("readable").is_some());
    }
}

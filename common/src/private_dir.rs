//! Directories that are ours, and closed to everybody else.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// A runtime directory, if it is what its specification says: a directory of ours with mode 0700. Anything else could
/// let somebody else put a socket where we look for ours.
pub(crate) fn checked(dir: PathBuf) -> Option<PathBuf> {
    let found = fs::symlink_metadata(&dir).ok()?;
    let ours = found.is_dir()
        && found.uid() == rustix::process::geteuid().as_raw()
        && found.mode() & 0o077 == 0;
    (dir.is_absolute() && ours).then_some(dir)
}

/// Makes `dir` with mode 0700, or takes away what others may do in one that exists.
///
/// # Errors
/// Fails when the system refuses, or the directory is not ours.
pub fn make(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)?;
    let found = fs::metadata(dir)?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it belongs to another user",
        ));
    }
    if found.mode() & 0o1000 != 0 {
        // `/tmp` and its like: taking it from everybody is not for us to do.
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "it is shared by all users",
        ));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_directory_that_others_may_enter_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let with = |mode| {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(dir.path(), permissions).expect("it is ours");
            checked(dir.path().to_path_buf())
        };
        assert_eq!(with(0o700).as_deref(), Some(dir.path()));
        assert_eq!(with(0o750), None);
        assert_eq!(
            checked(PathBuf::new()),
            None,
            "an empty variable names none"
        );
        assert_eq!(checked("/nonexistent".into()), None);
    }
}

//! When a mirror was last checked for damage, and the request to check it before anybody reads it: the modification time of
//! a file. Upkeep runs the check.

use std::{
    fs::File,
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use common::git::complaint;

/// The file in a mirror. Its modification time is when the mirror was last checked.
pub(crate) const CHECKED: &str = "checked";

/// Requests a check if git, on `stderr`, complains of the mirror's objects.
pub(crate) fn request_check_if_complained(git_dir: &Path, stderr: &str) {
    let is_complaint = |line: &str| {
        let line = format!("error: {line}");
        complaint::is_about_objects(line.as_bytes())
    };
    if stderr.lines().any(is_complaint)
        && let Err(err) = request_check(git_dir)
    {
        let git_dir = git_dir.display();
        tracing::warn!("cannot request a check of '{git_dir}': {err}");
    }
}

/// Requests a check of a mirror before anybody reads it. The request is on disk, so that a killed daemon does not lose it.
pub(crate) fn request_check(git_dir: &Path) -> io::Result<()> {
    record_check(git_dir, UNIX_EPOCH)
}

/// Records when a mirror was checked.
pub(crate) fn record_check(git_dir: &Path, now: SystemTime) -> io::Result<()> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true);
    file.open(git_dir.join(CHECKED))?.set_modified(now)
}

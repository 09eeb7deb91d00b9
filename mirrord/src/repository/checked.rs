//! Has a mirror looked through before anybody reads it, where git has complained of its objects.

use std::{
    fs::File,
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use common::git::complaint;

/// The file in a mirror whose time says when it was last checked.
pub(crate) const CHECKED: &str = "checked";

/// Has a mirror looked through before anybody reads it, where git has complained of its objects.
pub(crate) fn request_check_if_complained(git_dir: &Path, stderr: &str) {
    let says = |line: &str| {
        let line = format!("error: {line}");
        complaint::is_about_objects(line.as_bytes())
    };
    if stderr.lines().any(says)
        && let Err(err) = request_check(git_dir)
    {
        let git_dir = git_dir.display();
        tracing::warn!("cannot note that '{git_dir}' is to be looked through: {err}");
    }
}

/// Has a mirror looked at before anybody reads it: git has complained of its objects. It is remembered on disk, whoever
/// is killed meanwhile.
pub(crate) fn request_check(git_dir: &Path) -> io::Result<()> {
    record_check(git_dir, UNIX_EPOCH)
}

/// Records when a mirror was looked through.
pub(crate) fn record_check(git_dir: &Path, now: SystemTime) -> io::Result<()> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true);
    file.open(git_dir.join(CHECKED))?.set_modified(now)
}

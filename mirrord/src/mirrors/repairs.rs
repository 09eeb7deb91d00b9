//! What was repaired in a mirror's small files, kept until somebody who fetches has been told.

use std::{fs, io, path::Path};

use crate::process::durable;

/// The file in a mirror, a line for each repair.
const FILE: &str = "repairs";

/// Records a repair, to last, and logs it.
pub(crate) fn record(git_dir: &Path, message: &str) -> io::Result<()> {
    tracing::warn!("'{}': {message}", git_dir.display());
    let mut text = fs::read_to_string(git_dir.join(FILE)).unwrap_or_default();
    // A daemon may have been killed over the same repair.
    if text.lines().any(|line| line == message) {
        return Ok(());
    }
    text += message;
    text += "\n";
    durable::replace(&git_dir.join(FILE), text.as_bytes())
}

/// What nobody has been told yet.
pub(crate) fn take(git_dir: &Path) -> Vec<String> {
    let path = git_dir.join(FILE);
    let Ok(text) = fs::read_to_string(&path) else {
        return Vec::new();
    };
    if let Err(err) = fs::remove_file(&path) {
        tracing::warn!("cannot remove '{}': {err}", path.display());
    }
    let lines = text.lines();
    lines
        .map(|line| format!("this mirror was damaged: {line}"))
        .collect()
}

//! Files that interrupted work leaves on disk.

use std::fs;
use std::path::Path;

/// Finds locks, and directories of received objects that were not kept, with their contents.
pub(crate) fn unfinished(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let wrong = [".lock", ".new"].iter().any(|end| name.ends_with(end))
            || ["incoming-", "tmp_"]
                .iter()
                .any(|begin| name.starts_with(begin));
        if wrong {
            found.push(path.display().to_string());
            list_all(&path, found);
        } else if path.is_dir() && !path.is_symlink() {
            unfinished(&path, found);
        }
    }
}

/// Lists all that is below a directory.
fn list_all(dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        found.push(entry.path().display().to_string());
        list_all(&entry.path(), found);
    }
}

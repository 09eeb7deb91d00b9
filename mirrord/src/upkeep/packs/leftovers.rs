//! Files beside the packs that belong to none: a git that somebody ran there and that was killed leaves such.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{DROPPED, pack_dir};

use common::text::unix_seconds;

/// Files younger than this may belong to a git that is at work.
pub(super) const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a pack may be without an index while it is let in.
const MIN_AGE: Duration = Duration::from_secs(60);

/// The old files that belong to no pack.
pub(super) fn find(dir: &Path, now: SystemTime) -> io::Result<Vec<PathBuf>> {
    let files = super::pack_files(dir)?;
    let now = unix_seconds(now).cast_signed();
    let old = now.saturating_sub(LEFTOVER_AGE.as_secs().cast_signed());
    let mut leftovers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_temporary = name.starts_with("tmp_") || name.starts_with(".tmp-");
        let of = name.split_once('.').and_then(|(pack, _)| files.get(pack));
        // A pack without an index may be the only copy: `mend.rs` gives it a new one.
        let is_orphan = of.is_some_and(|endings| {
            !endings.contains("idx") && (!endings.contains("pack") || endings.contains(DROPPED))
        });
        if !is_temporary && !is_orphan {
            continue;
        }
        let found = entry.metadata()?;
        // The ctime: a file may get its name after it was written.
        if found.is_file() && found.ctime() < old {
            leftovers.push(entry.path());
        }
    }
    Ok(leftovers)
}

/// The names of packs that have lost their index. One that is being let in has none for a moment.
pub(in crate::upkeep) fn without_index(git_dir: &Path, now: SystemTime) -> io::Result<Vec<String>> {
    let dir = pack_dir(git_dir);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = now.saturating_sub(MIN_AGE).as_secs().cast_signed();
    let mut lost = Vec::new();
    for (name, endings) in super::pack_files(&dir)? {
        if !endings.contains("pack") || endings.contains("idx") || endings.contains(DROPPED) {
            continue;
        }
        match fs::symlink_metadata(dir.join(format!("{name}.pack"))) {
            Ok(pack) if pack.ctime() < old => lost.push(name),
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(lost)
}

/// Removes them.
pub(super) fn remove(dir: &Path, now: SystemTime) -> io::Result<()> {
    find(dir, now)?.iter().try_for_each(fs::remove_file)
}

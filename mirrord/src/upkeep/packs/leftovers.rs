//! Files beside the packs that belong to none: git, killed under somebody's hand, leaves such.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{GOING, folder};

use common::text::unix_seconds;

/// Those that are as old as this are nobody's any more.
pub(super) const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A pack that is let in gets its index before this time is over.
const MIN_AGE: Duration = Duration::from_secs(60);

/// What belongs to no pack and has lain there for long.
pub(super) fn of(dir: &Path, now: SystemTime) -> io::Result<Vec<PathBuf>> {
    let files = super::files(dir)?;
    let now = unix_seconds(now).cast_signed();
    let old = now.saturating_sub(LEFTOVER_AGE.as_secs().cast_signed());
    let mut forgotten = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_temporary = name.starts_with("tmp_") || name.starts_with(".tmp-");
        let of = name.split_once('.').and_then(|(pack, _)| files.get(pack));
        // A pack without an index may have what is nowhere else: it gets one.
        let is_orphan = of.is_some_and(|endings| {
            !endings.contains("idx") && (!endings.contains("pack") || endings.contains(GOING))
        });
        if !is_temporary && !is_orphan {
            continue;
        }
        let found = entry.metadata()?;
        // A file gets its name after it was written.
        if found.is_file() && found.ctime() < old {
            forgotten.push(entry.path());
        }
    }
    Ok(forgotten)
}

/// Packs that have lost their index, by their names. One that is being let in has none for a moment.
pub(in crate::upkeep) fn without_index(git_dir: &Path, now: SystemTime) -> io::Result<Vec<String>> {
    let dir = folder(git_dir);
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let old = now.saturating_sub(MIN_AGE).as_secs().cast_signed();
    let mut lost = Vec::new();
    for (name, endings) in super::files(&dir)? {
        if !endings.contains("pack") || endings.contains("idx") || endings.contains(GOING) {
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

/// Removes it.
pub(super) fn remove(dir: &Path, now: SystemTime) -> io::Result<()> {
    of(dir, now)?.iter().try_for_each(fs::remove_file)
}

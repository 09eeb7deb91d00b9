//! The removal of packs that are not needed any more: first no reader finds them, then their files go.

use std::{collections::BTreeSet, fs, io, path::Path, time::SystemTime};

use super::{super::indexes, DROPPED, Replaced, leftovers, pack_dir, pack_files};
use crate::{process::durable, repository::verified};

/// Drops packs that have been replaced, and finishes what a killed daemon began. Nobody may be reading the mirror.
///
/// Indexes are renamed first, all of them: without one, nobody reads a pack. Its other files go then, or at the next drop.
pub(in crate::upkeep) fn drop_replaced(
    git_dir: &Path,
    replaced: &[Replaced],
    now: SystemTime,
) -> io::Result<()> {
    let mut gone = Vec::new();
    for Replaced { origin, names, by } in replaced {
        // Since they were compared, one may have become somebody's own.
        let all = super::names(git_dir, *origin)?;
        if by.iter().all(|name| all.contains(name)) {
            gone.extend(names.iter().filter(|name| all.contains(*name)));
        }
    }
    drop_all(git_dir, gone.into_iter().map(String::as_str))?;
    let dir = pack_dir(git_dir);
    finish(&dir)?;
    leftovers::remove(&dir, now)
}

/// Drops packs of objects that nothing reaches. Nobody may be reading the mirror.
pub(in crate::upkeep) fn drop_cruft(git_dir: &Path, old: &BTreeSet<String>) -> io::Result<()> {
    // One may have become somebody's own.
    let cruft = super::cruft(git_dir)?;
    drop_all(git_dir, old.intersection(&cruft).map(String::as_str))
}

fn drop_all<'n>(git_dir: &Path, names: impl Iterator<Item = &'n str>) -> io::Result<()> {
    let (dir, names) = (pack_dir(git_dir), names.collect::<Vec<_>>());
    if names.is_empty() {
        return Ok(());
    }
    indexes::remove_index(git_dir)?;
    verified::forget_packs(git_dir, names.iter().copied())?;
    for name in names {
        let file = |ending: &str| dir.join(format!("{name}.{ending}"));
        fs::rename(file("idx"), file(DROPPED))?;
    }
    // After a power cut no index may be there without its pack.
    durable::sync_dir(&dir)?;
    finish(&dir)
}

/// Removes the files of packs that were being dropped.
fn finish(dir: &Path) -> io::Result<()> {
    for (name, endings) in pack_files(dir)? {
        if !endings.contains(DROPPED) {
            continue;
        }
        // A pack that has come again since then stays.
        let has_come_again = endings.contains("idx");
        let rest = endings.iter().filter(|ending| *ending != DROPPED);
        let mut rest: Vec<_> = rest.filter(|_| !has_come_again).collect();
        // The pack goes before the mark that keeps it apart.
        rest.sort_by_key(|ending| *ending != "pack");
        for ending in rest {
            fs::remove_file(dir.join(format!("{name}.{ending}")))?;
        }
        fs::remove_file(dir.join(format!("{name}.{DROPPED}")))?;
    }
    Ok(())
}

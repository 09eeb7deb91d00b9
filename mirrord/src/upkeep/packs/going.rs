//! How packs go that are not needed any more: first no reader finds them, then they are removed.

use std::{fs, io, path::Path, time::SystemTime};

use super::{
    super::indexes, GOING, KINDS, Replaced, files, folder, is_aging, is_whole, leftovers, names,
};
use crate::{
    process::durable,
    repository::{quarantine::Origin, verified},
};

/// Drops packs that have been replaced, and what others left who were killed over it. Nobody may be reading the mirror.
///
/// Their indexes go first, all of them: a pack without one is seen by nobody. What then is left of it goes whenever
/// somebody comes by.
pub(in crate::upkeep) fn drop_replaced(
    git_dir: &Path,
    replaced: &[Replaced],
    now: SystemTime,
) -> io::Result<()> {
    let dir = folder(git_dir);
    // Since they were compared, one may have become somebody's own.
    let [upstreams, locals] = [names(&dir, KINDS[0])?, names(&dir, KINDS[1])?];
    let is_still = |pack: &&Replaced| {
        let all = match pack.origin {
            Origin::Upstream => &upstreams,
            Origin::LocalOnly => &locals,
        };
        [&pack.name, &pack.by]
            .iter()
            .all(|name| all.contains(*name))
    };
    let replaced = replaced.iter().filter(is_still);
    drop_all(git_dir, replaced.map(|pack| pack.name.as_str()))?;
    leftovers::remove(&dir, now)
}

/// Drops packs of upstream's objects all of which are in others that stay. Nobody may be reading the mirror.
pub(in crate::upkeep) fn drop_doubles(
    git_dir: &Path,
    doubles: &[String],
    stay: &[String],
) -> io::Result<()> {
    let dir = folder(git_dir);
    let (all, upstreams) = (files(&dir)?, names(&dir, Origin::Upstream)?);
    let are_there = || stay.iter().all(|name| all.get(name).is_some_and(is_whole));
    if !doubles.is_empty() && !are_there() {
        return Err(io::Error::other("a pack has gone meanwhile"));
    }
    let doubles = doubles.iter().filter(|name| upstreams.contains(*name));
    drop_all(git_dir, doubles.map(String::as_str))
}

/// Drops packs of objects that nothing reaches. Nobody may be reading the mirror.
pub(in crate::upkeep) fn drop_aging(git_dir: &Path, old: &[String]) -> io::Result<()> {
    let all = files(&folder(git_dir))?;
    // One may have become somebody's own.
    let old = old
        .iter()
        .filter(|name| all.get(*name).is_some_and(is_aging));
    drop_all(git_dir, old.map(String::as_str))
}

fn drop_all<'n>(git_dir: &Path, names: impl Iterator<Item = &'n str>) -> io::Result<()> {
    let (dir, mut names) = (folder(git_dir), names.peekable());
    if names.peek().is_some() {
        indexes::forget_index(git_dir)?;
    }
    let names: Vec<_> = names.collect();
    verified::forget_packs(git_dir, names.iter().copied())?;
    for name in names {
        let file = |ending: &str| dir.join(format!("{name}.{ending}"));
        fs::rename(file("idx"), file(GOING))?;
    }
    // After a power cut no index may be there without its pack.
    durable::sync_dir(&dir)?;
    finish(&dir)
}

/// Removes what is left of the packs that were about to go.
fn finish(dir: &Path) -> io::Result<()> {
    for (name, endings) in files(dir)? {
        if !endings.contains(GOING) {
            continue;
        }
        // It may have come again since then; then it is as good as any.
        let has_come_again = endings.contains("idx");
        let rest = endings.iter().filter(|ending| *ending != GOING);
        let mut rest: Vec<_> = rest.filter(|_| !has_come_again).collect();
        // The pack goes before the mark that keeps it apart.
        rest.sort_by_key(|ending| *ending != "pack");
        for ending in rest {
            fs::remove_file(dir.join(format!("{name}.{ending}")))?;
        }
        fs::remove_file(dir.join(format!("{name}.{GOING}")))?;
    }
    Ok(())
}

//! git's multi-pack-index with bitmaps and its commit-graph, which make a large mirror quick to read.
//!
//! git writes both beside the old ones and renames them into place: readers see one or the other. No change of refs makes
//! them wrong, but a pack that goes does: they are removed first.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use common::git;
use gix::odb::pack::multi_index::File as MultiPackIndex;

use super::{
    packs,
    repack::{LIMITS, succeeded},
};
use crate::process::{child, durable, watch::Watch};

/// Fewer objects than this are found in no time.
const MIN_OBJECTS_FOR_BITMAPS: u64 = 50_000;

/// More objects than this get no bitmaps: git takes some 250 bytes of memory for each to write them.
const MAX_OBJECTS_FOR_BITMAPS: u64 = 4_000_000;

/// How the names of the multi-pack-index, its bitmaps and its lock begin.
const INDEX: &str = "multi-pack-index";

/// How the names of files begin that a git leaves which was killed while it wrote bitmaps.
const UNFINISHED: [&str; 3] = ["tmp_bitmap_", "tmp_rev_", "tmp_midx_"];

/// Whether a mirror is large and has no multi-pack-index, or one that names less than half of its objects.
pub(super) fn are_wanted(git_dir: &Path) -> io::Result<bool> {
    are_wanted_for(git_dir, MIN_OBJECTS_FOR_BITMAPS)
}

fn are_wanted_for(git_dir: &Path, min_objects: u64) -> io::Result<bool> {
    let sizes = packs::sizes(git_dir)?;
    if sizes.values().map(|size| u64::from(*size)).sum::<u64>() < min_objects {
        return Ok(false);
    }
    // An index that cannot be read is as good as none.
    let Ok(index) = MultiPackIndex::at(packs::pack_dir(git_dir).join(INDEX), None) else {
        return Ok(true);
    };
    let named = index
        .index_names()
        .iter()
        .filter_map(|name| name.file_stem());
    let named: BTreeSet<&OsStr> = named.collect();
    let others = sizes.iter();
    let others = others.filter(|(name, _)| !named.contains(OsStr::new(name)));
    let unnamed: u64 = others.map(|(_, size)| u64::from(*size)).sum();
    Ok(unnamed >= u64::from(index.num_objects()))
}

/// Has git write both. Each child keeps the `lock` until it ends, even when the daemon is dead by then.
pub(super) fn write(git_dir: &Path, lock: &File, watch: &Watch) -> io::Result<()> {
    sweep(git_dir)?;
    let sizes = packs::sizes(git_dir)?;
    let bitmap = match sizes.values().copied().map(u64::from).sum::<u64>() {
        ..=MAX_OBJECTS_FOR_BITMAPS => "--bitmap",
        _ => "--no-bitmap",
    };
    // `are_wanted` looks for the second: whoever is killed between the two begins again.
    let steps: [&[&str]; 2] = [
        &["commit-graph", "write", "--reachable"],
        &["multi-pack-index", "write", bitmap],
    ];
    for step in steps {
        let mut git = git::at(git_dir);
        git.args(LIMITS).args(step);
        let mut nice = git::niced(&git);
        nice.stdin(lock.try_clone()?).stdout(Stdio::null());
        let written = child::run(nice, Vec::new(), watch);
        if let Err(err) = written.and_then(|written| succeeded(written, watch)) {
            // A git that was killed leaves its temporary files.
            sweep(git_dir)?;
            return Err(err);
        }
    }
    durable::sync_dir(&packs::pack_dir(git_dir))
}

/// Removes locks and temporary files that a killed git has left. Nobody may be writing an index.
fn sweep(git_dir: &Path) -> io::Result<()> {
    let dir = packs::pack_dir(git_dir);
    durable::remove(&graph(git_dir).with_extension("lock"))?;
    durable::remove(&dir.join(INDEX).with_extension("lock"))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if UNFINISHED.iter().any(|begin| name.starts_with(begin)) {
            durable::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes the multi-pack-index, before packs go that it names; a power cut does not bring it back. Nobody may be reading
/// the mirror.
pub(super) fn remove_index(git_dir: &Path) -> io::Result<()> {
    let dir = packs::pack_dir(git_dir);
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(INDEX) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    // After a power cut, no index may name what is gone.
    durable::sync_dir(&dir)
}

/// Removes the commit-graph, before commits go that it knows; a power cut does not bring it back.
pub(super) fn remove_graph(git_dir: &Path) -> io::Result<()> {
    let graph = graph(git_dir);
    if !graph.exists() {
        return Ok(());
    }
    durable::remove(&graph)?;
    durable::sync_dir(&git_dir.join("objects/info"))
}

fn graph(git_dir: &Path) -> PathBuf {
    git_dir.join("objects/info/commit-graph")
}

#[cfg(test)]
mod tests;

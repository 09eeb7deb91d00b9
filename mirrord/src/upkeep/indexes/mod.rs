//! What makes a large mirror quick to read: one index over all of its packs, with bitmaps that say which objects a commit
//! reaches, and a graph of its commits.
//!
//! git writes them beside the old ones and renames them into place: readers see one or the other. They say where objects
//! are and how commits hang together, which no change of refs makes wrong; packs that go do, and so they are forgotten
//! first.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use common::git;
use gix::odb::pack::multi_index::File as IndexOfAll;

use super::{
    packs,
    repack::{LIMITS, ended},
};
use crate::process::{child, durable, watch::Watch};

/// So many objects make it worth while; fewer are found in no time.
const MIN_OBJECTS_FOR_BITMAPS: u64 = 50_000;

/// More objects than this get no bitmaps: to make them takes some 250 bytes of memory for each.
const MAX_OBJECTS_FOR_BITMAPS: u64 = 4_000_000;

/// How the names begin of the index over all packs, and of what belongs to it.
const INDEX: &str = "multi-pack-index";

/// How the names begin of what a git leaves beside the packs that was killed while it wrote bitmaps.
const UNFINISHED: [&str; 3] = ["tmp_bitmap_", "tmp_rev_", "tmp_midx_"];

/// Whether a mirror is large and has no index over all of its packs, or one that names less than half of what there is.
pub(super) fn are_wanted(git_dir: &Path) -> io::Result<bool> {
    are_wanted_for(git_dir, MIN_OBJECTS_FOR_BITMAPS)
}

fn are_wanted_for(git_dir: &Path, many: u64) -> io::Result<bool> {
    let sizes = packs::sizes(git_dir)?;
    if sizes.values().map(|size| u64::from(*size)).sum::<u64>() < many {
        return Ok(false);
    }
    // One that cannot be read is as good as none.
    let Ok(index) = IndexOfAll::at(packs::folder(git_dir).join(INDEX), None) else {
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

/// Writes them. What is `held` is let go when the last child has ended that may still be at it.
pub(super) fn write(git_dir: &Path, held: &File, watch: &Watch) -> io::Result<()> {
    sweep(git_dir)?;
    let sizes = packs::sizes(git_dir)?;
    let bitmap = match sizes.values().copied().map(u64::from).sum::<u64>() {
        ..=MAX_OBJECTS_FOR_BITMAPS => "--bitmap",
        _ => "--no-bitmap",
    };
    // The one that is looked for comes last.
    let steps: [&[&str]; 2] = [
        &["commit-graph", "write", "--reachable"],
        &["multi-pack-index", "write", bitmap],
    ];
    for step in steps {
        let mut git = git::at(git_dir);
        git.args(LIMITS).args(step);
        let mut nice = git::niced(&git);
        nice.stdin(held.try_clone()?).stdout(Stdio::null());
        let written = child::run(nice, Vec::new(), watch);
        if let Err(err) = written.and_then(|written| ended(written, watch)) {
            // A git that was killed removes nothing.
            sweep(git_dir)?;
            return Err(err);
        }
    }
    durable::sync_dir(&packs::folder(git_dir))
}

/// Removes what belongs to no index, of a git that was killed. Nobody may be writing one.
fn sweep(git_dir: &Path) -> io::Result<()> {
    let dir = packs::folder(git_dir);
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

/// Forgets the index over all packs: it names packs that go. It is gone for good when this returns. Nobody may be reading
/// the mirror.
pub(super) fn forget_index(git_dir: &Path) -> io::Result<()> {
    let dir = packs::folder(git_dir);
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

/// Forgets the graph of commits: it knows some that go. It is gone for good when this returns.
pub(super) fn forget_graph(git_dir: &Path) -> io::Result<()> {
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

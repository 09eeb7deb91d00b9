//! Walks all that the refs of a mirror reach, from the objects themselves.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use common::git;
use gix::ObjectId;

use super::super::{packs, repack::ended};
use crate::{
    process::{child, watch::Watch},
    repository::{quarantine::Quarantine, refs},
};

/// What all refs name, and HEAD where it is on no branch.
#[derive(Default)]
pub(super) struct Roots(BTreeSet<ObjectId>);

impl Roots {
    /// Those of a mirror now.
    pub(super) fn of(git_dir: &Path) -> io::Result<Self> {
        let mut roots: BTreeSet<_> = refs::read(git_dir)?.into_values().collect();
        let head = fs::read(git_dir.join("HEAD"))?;
        if !head.starts_with(b"ref: ") {
            let oid = ObjectId::from_hex(head.trim_ascii_end());
            roots.insert(oid.map_err(|_| io::Error::other("its HEAD is damaged"))?);
        }
        Ok(Self(roots))
    }
}

/// Lists what they reach, each with where it lies in a tree.
pub(super) fn list(git_dir: &Path, roots: &Roots, to: File, watch: &Watch) -> io::Result<()> {
    let mut nice = git::niced(&rev_list(git_dir, &[]));
    nice.stdout(to);
    run(nice, roots, &Roots::default(), watch)
}

/// Looks whether all that `roots` reach, and `known` do not, is there without the packs that go.
pub(super) fn check_without(
    git_dir: &Path,
    going: &BTreeSet<String>,
    roots: &Roots,
    known: &Roots,
    watch: &Watch,
) -> io::Result<()> {
    if roots.0.is_subset(&known.0) {
        return Ok(());
    }
    // An object store that has the others alone.
    let without = Quarantine::new(git_dir)?;
    for entry in fs::read_dir(packs::folder(git_dir))? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let pack = text.split_once('.').map(|(pack, _)| pack);
        if pack.is_some_and(|pack| pack.starts_with("pack-") && !going.contains(pack)) {
            symlink(entry.path(), without.path().join("pack").join(&name))?;
        }
    }
    let mut git = rev_list(git_dir, &["--quiet"]);
    git.env("GIT_OBJECT_DIRECTORY", without.path());
    if known.0.is_empty() {
        git = git::niced(&git);
    }
    git.stdout(Stdio::null());
    run(git, roots, known, watch)
}

fn rev_list(git_dir: &Path, options: &[&str]) -> Command {
    let mut git = git::at(git_dir);
    git.args([
        "-c",
        "core.commitGraph=false",
        "-c",
        "core.multiPackIndex=false",
    ])
    .args(["rev-list", "--objects", "--stdin"])
    .args(options);
    git
}

fn run(git: Command, roots: &Roots, known: &Roots, watch: &Watch) -> io::Result<()> {
    let new = roots.0.difference(&known.0);
    let mut input: String = new.map(|oid| format!("{oid}\n")).collect();
    input.extend(known.0.iter().map(|oid| format!("^{oid}\n")));
    if input.is_empty() {
        return Ok(());
    }
    ended(child::run(git, input.into_bytes(), watch)?, watch).map(drop)
}

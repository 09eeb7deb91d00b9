//! The files in the folder of packs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

/// The packs of a folder by their names (`pack-` and a hash), each with the endings of its files (`pack`, `idx`, `keep`).
pub type PackFiles = BTreeMap<String, BTreeSet<String>>;

/// Returns the folder of a mirror's packs.
#[must_use]
pub fn pack_dir(git_dir: &Path) -> PathBuf {
    git_dir.join("objects/pack")
}

/// Lists the files of the packs in a folder.
///
/// # Errors
/// Fails when the folder cannot be read.
pub fn pack_files(dir: &Path) -> io::Result<PackFiles> {
    let mut packs = PackFiles::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if let Some((pack, ending)) = name.to_string_lossy().split_once('.')
            && pack.starts_with("pack-")
        {
            let endings = packs.entry(pack.to_owned()).or_default();
            endings.insert(ending.to_owned());
        }
    }
    Ok(packs)
}

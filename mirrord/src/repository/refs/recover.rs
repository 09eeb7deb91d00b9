//! Names for local commits whose refs are lost: the packs of a mirror still have the commits.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use common::packs::listing::pack_dir;
use gix::{ObjectId, bstr::BString, object::Kind, odb::pack::index};

use super::Refs;
use crate::repository::quarantine::LOCAL_MARK;

/// The prefix of the names of recovered branches and tags.
const RECOVERED: &str = "recovered-";

/// The packs with local commits, by their `.keep` files.
pub(super) fn local_packs(git_dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut packs = Vec::new();
    for entry in fs::read_dir(pack_dir(git_dir))? {
        let path = entry?.path();
        let is_mark = path.extension().is_some_and(|ending| ending == "keep");
        let index = path.with_extension("idx");
        if is_mark && index.exists() && fs::read(&path).is_ok_and(|text| text == LOCAL_MARK) {
            packs.push(index);
        }
    }
    Ok(packs)
}

/// New branches and tags for the newest commits and tags of the local packs: those that are the parent of no other. An
/// object that a ref names already, or that cannot be read, is left out.
pub(super) fn lost_tips(git_dir: &Path, repo: &gix::Repository, refs: &Refs) -> io::Result<Refs> {
    let mut found = BTreeMap::new();
    let mut all_parents = BTreeSet::new();
    for path in local_packs(git_dir)? {
        let Ok(index) = index::File::at(&path, repo.object_hash()) else {
            tracing::warn!("cannot read '{}'", path.display());
            continue;
        };
        for entry in index.iter() {
            let Some((kind, parents)) = parents(repo, entry.oid) else {
                continue;
            };
            found.insert(entry.oid, kind);
            all_parents.extend(parents);
        }
    }
    let named: BTreeSet<_> = refs.values().collect();
    let tips = found
        .into_iter()
        .filter(|(oid, _)| !all_parents.contains(oid) && !named.contains(oid));
    let tips = tips.map(|(oid, kind)| {
        let dir = match kind {
            Kind::Tag => "tags",
            _ => "heads",
        };
        let name = format!("refs/{dir}/{RECOVERED}{}", oid.to_hex_with_len(12));
        (BString::from(name), oid)
    });
    Ok(tips.collect())
}

/// The kind of a commit or a tag, with its parents or its target; `None` for anything else.
fn parents(repo: &gix::Repository, oid: ObjectId) -> Option<(Kind, Vec<ObjectId>)> {
    let kind = repo.find_header(oid).ok()?.kind();
    let parents = match kind {
        Kind::Commit => {
            let commit = repo.find_commit(oid).ok()?;
            commit.parent_ids().map(gix::Id::detach).collect()
        }
        Kind::Tag => vec![repo.find_tag(oid).ok()?.target_id().ok()?.detach()],
        Kind::Tree | Kind::Blob => return None,
    };
    Some((kind, parents))
}

//! What the packs of a mirror still know of local branches whose names are lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use common::packs::listing::pack_dir;
use gix::{ObjectId, bstr::BString, object::Kind, odb::pack::index};

use super::Refs;
use crate::repository::quarantine::LOCAL_MARK;

/// How the names of branches begin whose own names are lost.
const RECOVERED: &str = "recovered-";

/// The packs with what the mirror alone has.
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

/// Branches and tags for the newest commits of the local packs: those that no other commit there is built upon. Those that
/// a ref names already are left out. What cannot be read is left out.
pub(super) fn tips(git_dir: &Path, repo: &gix::Repository, refs: &Refs) -> io::Result<Refs> {
    let mut found = BTreeMap::new();
    let mut below = BTreeSet::new();
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
            below.extend(parents);
        }
    }
    let named: BTreeSet<_> = refs.values().collect();
    let tips = found
        .into_iter()
        .filter(|(oid, _)| !below.contains(oid) && !named.contains(oid));
    let tips = tips.map(|(oid, kind)| {
        let folder = match kind {
            Kind::Tag => "tags",
            _ => "heads",
        };
        let name = format!("refs/{folder}/{RECOVERED}{}", oid.to_hex_with_len(12));
        (BString::from(name), oid)
    });
    Ok(tips.collect())
}

/// What a commit or a tag is built upon; none for anything else.
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

//! Writes `packed-refs` and its copy.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Write},
    path::Path,
};

use common::{
    packs::packed_refs,
    refspec::{Refspecs, UpstreamRef},
};
use gix::ObjectId;

use super::{Refs, check, copy::RefsCopy};
use crate::{process::durable, repository::objects};

/// Replaces the content `before` of `packed-refs`, and its copy. `head` is the content of `HEAD` after that. Both files last
/// when this returns.
///
/// The copy is written first, with a checksum of what `packed-refs` was before: after a kill between the two, the next check
/// sees that nothing was published.
pub(crate) fn replace(
    git_dir: &Path,
    mut lock: gix::lock::File,
    before: &[u8],
    content: &[u8],
    head: &[u8],
) -> io::Result<()> {
    RefsCopy::write(git_dir, before, content, head)?;
    lock.with_mut(|file| {
        file.write_all(content)?;
        file.sync_all()
    })?;
    lock.commit().map_err(|err| err.error)?;
    durable::sync_dir(git_dir)?;
    check::record_verified(git_dir);
    Ok(())
}

/// Writes the new `HEAD` to the copy. The caller has the lock.
pub(crate) fn replace_head(git_dir: &Path, content: &[u8], head: &[u8]) -> io::Result<()> {
    RefsCopy::write(git_dir, content, content, head)?;
    check::record_verified(git_dir);
    Ok(())
}

/// Writes which refs are symbolic at upstream, under their public names. A public ref itself always names an object.
pub(crate) fn symrefs(
    git_dir: &Path,
    symrefs: &BTreeMap<UpstreamRef, UpstreamRef>,
    track: &Refspecs,
) -> io::Result<()> {
    let mut content = Vec::new();
    for (name, target) in symrefs {
        if let (Some(name), Some(target)) = (track.public(name), track.public(target)) {
            content.extend([&**target, b" ", &**name, b"\n"].concat());
        }
    }
    let path = git_dir.join(packed_refs::SYMREFS);
    match fs::read(&path).unwrap_or_default() {
        before if before == content => Ok(()),
        _ if content.is_empty() => durable::remove(&path),
        _ => durable::replace_until_power_cut(&path, &content),
    }
}

/// The content of `packed-refs` for these refs: sorted, each tag with what it is peeled to (`refs/packed-backend.c` in git).
/// What is in `peeled` is not looked up.
pub(crate) fn content(
    repo: &gix::Repository,
    refs: &Refs,
    peeled: &HashMap<ObjectId, Option<ObjectId>>,
) -> io::Result<Vec<u8>> {
    // A missing object cannot be peeled: the file must not say that all are, so that the next write looks again.
    let is_there = |oid: &ObjectId| peeled.contains_key(oid) || repo.has_object(*oid);
    let header: &[u8] = if refs.values().all(is_there) {
        packed_refs::HEADER
    } else {
        b"# pack-refs with: peeled sorted \n"
    };
    let mut content = header.to_vec();
    for (name, oid) in refs {
        write!(content, "{oid} ")?;
        content.extend_from_slice(name);
        content.push(b'\n');
        let target = peeled.get(oid).copied();
        if let Some(target) = target.unwrap_or_else(|| peel(repo, *oid)) {
            writeln!(content, "^{target}")?;
        }
    }
    Ok(content)
}

/// The object that a tag is peeled to; `None` for anything but a tag.
fn peel(repo: &gix::Repository, oid: ObjectId) -> Option<ObjectId> {
    // A ref to a damaged object is written all the same, and blocks no other.
    let (target, _) = objects::peel(repo, oid)?;
    (target != oid).then_some(target)
}

//! Writes `packed-refs` and its copy.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Write},
    path::Path,
};

use common::{
    packs::packed_refs::{self, PackedRefs},
    refspec::{Refspecs, UpstreamRef},
};
use gix::ObjectId;

use super::{Refs, Snapshot, check, copy::RefsCopy};
use crate::{process::durable, repository::objects};

/// After so many objects were looked up, those of all refs are gathered from the file.
const MAX_LOOKUPS: usize = 100;

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
/// What `before` has already is not looked up.
pub(crate) fn content(
    repo: &gix::Repository,
    refs: &Refs,
    before: &Snapshot,
) -> io::Result<Vec<u8>> {
    let mut peeling = Peeling::new(repo, before);
    let mut unchanged = PackedRefs::parse(before.bytes()).ok();
    let mut unchanged = unchanged.take_if(|before| before.is_fully_peeled());
    let mut unchanged = unchanged.iter_mut().flatten().flatten().peekable();
    let mut content = Vec::with_capacity(before.bytes().len() + packed_refs::HEADER.len());
    content.extend_from_slice(packed_refs::HEADER);
    let mut hex = gix::hash::Kind::hex_buf();
    for (name, oid) in refs {
        let object = oid.hex_to_buf(&mut hex).as_bytes();
        content.extend_from_slice(object);
        content.push(b' ');
        content.extend_from_slice(name);
        content.push(b'\n');
        while unchanged
            .next_if(|each| each.name < name.as_slice())
            .is_some()
        {}
        match unchanged.next_if(|each| each.name == name.as_slice() && each.object == object) {
            Some(each) => {
                if let Some(target) = each.peeled {
                    content.extend([b"^", target, b"\n"].concat());
                }
            }
            None => {
                if let Some(target) = peeling.peel(*oid)? {
                    writeln!(content, "^{target}")?;
                }
            }
        }
    }
    if peeling.lacks_one {
        // A missing object cannot be peeled: the file must not say that all are, so that the next write looks again.
        content.splice(
            ..packed_refs::HEADER.len(),
            *b"# pack-refs with: peeled sorted \n",
        );
    }
    Ok(content)
}

/// Looks up what objects are peeled to.
struct Peeling<'r> {
    repo: &'r gix::Repository,
    before: &'r Snapshot,
    /// How many objects were looked up.
    count: usize,
    /// What is known of all objects in `before`, once many were looked up: refs may get other names all at once.
    known: Option<HashMap<ObjectId, Option<ObjectId>>>,
    /// Whether an object is missing.
    lacks_one: bool,
}

impl<'r> Peeling<'r> {
    fn new(repo: &'r gix::Repository, before: &'r Snapshot) -> Self {
        Self {
            repo,
            before,
            count: 0,
            known: None,
            lacks_one: false,
        }
    }

    /// What a tag is peeled to; `None` for anything but a tag.
    fn peel(&mut self, oid: ObjectId) -> io::Result<Option<ObjectId>> {
        self.count += 1;
        if self.count == MAX_LOOKUPS {
            self.known = Some(self.before.peeled(self.repo.path())?);
        }
        if let Some(known) = self.known.as_ref().and_then(|known| known.get(&oid)) {
            return Ok(*known);
        }
        self.lacks_one |= !self.repo.has_object(oid);
        Ok(peel(self.repo, oid))
    }
}

/// The object that a tag is peeled to; `None` for anything but a tag.
fn peel(repo: &gix::Repository, oid: ObjectId) -> Option<ObjectId> {
    // A ref to a damaged object is written all the same, and blocks no other.
    let (target, _) = objects::peel(repo, oid)?;
    (target != oid).then_some(target)
}

//! Writes `packed-refs` and its copy.

use std::{
    collections::HashMap,
    io::{self, Write},
    path::Path,
};

use gix::ObjectId;

use super::{Refs, check, copy::Copy};
use crate::{process::durable, repository::objects};

/// The first line, where each tag is followed by what it points to. A file without refs has no other.
pub(crate) const HEADER: &[u8] = b"# pack-refs with: peeled fully-peeled sorted \n";

/// Replaces `packed-refs`, which has been `before`, and its copy. `head` is what `HEAD` is after that. All of it lasts when
/// this returns.
///
/// The copy is written first, and says what `packed-refs` was before: after a kill between the two, whoever looks next
/// finds that nothing was published.
pub(crate) fn replace(
    git_dir: &Path,
    mut lock: gix::lock::File,
    before: &[u8],
    content: &[u8],
    head: &[u8],
) -> io::Result<()> {
    Copy::write(git_dir, before, content, head)?;
    lock.with_mut(|file| {
        file.write_all(content)?;
        file.sync_all()
    })?;
    lock.commit().map_err(|err| err.error)?;
    durable::sync_dir(git_dir)?;
    check::remember(git_dir);
    Ok(())
}

/// Writes to the copy what `HEAD` is now. The caller has the lock.
pub(crate) fn replace_head(git_dir: &Path, content: &[u8], head: &[u8]) -> io::Result<()> {
    Copy::write(git_dir, content, content, head)?;
    check::remember(git_dir);
    Ok(())
}

/// The file that git's `packed-refs` format prescribes: sorted, each tag with what it points to. What is `known` of that
/// is not looked up.
pub(crate) fn content(
    repo: &gix::Repository,
    refs: &Refs,
    known: &HashMap<ObjectId, Option<ObjectId>>,
) -> io::Result<Vec<u8>> {
    // Of an object that is missing nobody can say what it points to; the next time, all are looked up again.
    let is_there = |oid: &ObjectId| known.contains_key(oid) || repo.has_object(*oid);
    let header: &[u8] = if refs.values().all(is_there) {
        HEADER
    } else {
        b"# pack-refs with: peeled sorted \n"
    };
    let mut content = header.to_vec();
    for (name, oid) in refs {
        write!(content, "{oid} ")?;
        content.extend_from_slice(name);
        content.push(b'\n');
        let peeled = known.get(oid).copied().unwrap_or_else(|| peel(repo, *oid));
        if let Some(target) = peeled {
            writeln!(content, "^{target}")?;
        }
    }
    Ok(content)
}

/// What a tag points to in the end; nothing for what is no tag.
fn peel(repo: &gix::Repository, oid: ObjectId) -> Option<ObjectId> {
    // A damaged ref is kept as it is and blocks no other.
    let (target, _) = objects::peel(repo, oid)?;
    (target != oid).then_some(target)
}

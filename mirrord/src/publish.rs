//! Makes vetted upstream refs visible to clients: the only writer of refs.
//!
//! A [`Plan`] is written as one new `packed-refs`, under git's own lock: readers see all of it or nothing. gix-ref's
//! transaction is not used, because it renames a file that it has not synced, makes a lock file per ref, and does not
//! look at names that conflict as `a` and `a/b`.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::{self, Write},
    path::Path,
};

use common::refspec::{self, Refspecs};
use gix::{ObjectId, bstr::BStr, lock::acquire::Fail, objs::FindExt};

use crate::{
    durable,
    plan::{Advertisement, Head, Plan},
    refs::{self, Refs, Snapshot},
};

/// How a plan went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Published {
    /// How many public refs changed.
    pub moved: usize,
    /// Somebody changed a ref since the plan was made; its edits were left out and the sync should run again.
    pub again: bool,
}

/// Removes the locks that a killed daemon left: nobody else writes refs here.
///
/// # Errors
/// Fails when one cannot be removed.
pub(crate) fn sweep(git_dir: &Path) -> io::Result<()> {
    for name in [
        "packed-refs.lock",
        "packed-refs.new",
        "HEAD.lock",
        "config.lock",
    ] {
        match fs::remove_file(git_dir.join(name)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => {}
        }
    }
    Ok(())
}

/// Carries out a plan, and moves HEAD when it is known where upstream's is; all of it lasts when this returns.
///
/// # Errors
/// Fails when the refs are locked or the disk refuses; then nothing has changed.
pub(crate) fn publish(
    git_dir: &Path,
    plan: &Plan,
    upstream: Option<&Advertisement>,
    track: &Refspecs,
) -> io::Result<Published> {
    let repo = refs::open(git_dir)?;
    refs::fold(git_dir)?;
    let path = git_dir.join("packed-refs");
    let mut lock = gix::lock::File::acquire_to_update_resource(&path, Fail::Immediately, None, 0)
        .map_err(io::Error::other)?;
    let before = Snapshot::of_packed(git_dir)?;
    let mut refs = before.refs(git_dir)?;
    let mut published = Published::default();
    let mut changed = false;
    for (name, edit) in &plan.edits {
        if refs.get(name).copied() != edit.old {
            published.again = true;
            continue;
        }
        changed = true;
        published.moved += usize::from(!refspec::is_ours(name));
        match edit.new {
            Some(oid) => drop(refs.insert(name.clone(), oid)),
            None => drop(refs.remove(name)),
        }
    }
    let head = upstream.and_then(|upstream| head(&refs, &upstream.head, track));
    if changed {
        let content = packed(&repo, &refs, &before.peeled(git_dir)?)?;
        lock.with_mut(|file| {
            file.write_all(&content)?;
            file.sync_all()
        })?;
        lock.commit().map_err(|err| err.error)?;
    }
    if let Some(head) =
        head.filter(|head| fs::read(git_dir.join("HEAD")).ok().as_deref() != Some(head))
    {
        durable::replace(&git_dir.join("HEAD"), &head)?;
    }
    if changed {
        durable::sync_dir(git_dir)?;
    }
    Ok(published)
}

/// What HEAD becomes: upstream's branch under its public name, or else the first tracked one; never a local branch.
fn head(refs: &Refs, upstream: &Head, track: &Refspecs) -> Option<Vec<u8>> {
    let symbolic = |name: &[u8]| [b"ref: ", name, b"\n"].concat();
    let tracked = |name: &[u8]| refs.contains_key(BStr::new(name));
    match upstream {
        Head::Detached(oid) => return Some(format!("{oid}\n").into_bytes()),
        Head::Branch(branch) => {
            let is_local = |public: &[u8]| {
                let recorded = refs.contains_key(BStr::new(&refspec::record(branch)));
                refs.contains_key(BStr::new(public)) && !recorded
            };
            if let Some(public) = track.public(branch).filter(|public| !is_local(public)) {
                return Some(symbolic(&public));
            }
        }
        Head::Unknown => {}
    }
    let publics = refs
        .keys()
        .filter_map(|name| track.public(&refspec::recorded(name)?));
    let branches: BTreeSet<_> = publics
        .filter(|name| name.starts_with(b"refs/heads/") && tracked(name))
        .collect();
    let preferred = ["refs/heads/main", "refs/heads/master"].map(|name| name.as_bytes().to_vec());
    let first = preferred
        .into_iter()
        .find(|name| branches.contains(name))
        .or_else(|| branches.into_iter().next());
    first.map(|name| symbolic(&name))
}

/// The file that git's `packed-refs` format prescribes: sorted, each tag with what it points to. What is `known` of that
/// is not looked up.
fn packed(
    repo: &gix::Repository,
    refs: &Refs,
    known: &HashMap<ObjectId, Option<ObjectId>>,
) -> io::Result<Vec<u8>> {
    // Of an object that is missing nobody can say what it points to; the next time, all are looked up again.
    let is_there = |oid: &ObjectId| known.contains_key(oid) || repo.has_object(*oid);
    let header: &[u8] = if refs.values().all(is_there) {
        b"# pack-refs with: peeled fully-peeled sorted \n"
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
    let (mut target, mut buffer) = (oid, Vec::new());
    // Only tag objects have more to say; a damaged ref is kept as it is and blocks no other.
    while let Ok(tag) = repo.objects.find_tag_iter(&target, &mut buffer) {
        let Ok(inner) = tag.target_id() else { break };
        target = inner;
    }
    (target != oid).then_some(target)
}

#[cfg(test)]
mod tests;

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
    time::Duration,
};

use common::refspec::{self, Refspecs};
use gix::{
    ObjectId,
    bstr::{BStr, ByteSlice},
    lock::acquire::Fail,
    objs::FindExt,
};

use crate::{
    durable,
    plan::{Advertisement, Head, Plan},
    refs::{self, Refs, Snapshot},
};

/// Whoever writes the refs of a mirror is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

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
    for entry in fs::read_dir(git_dir)? {
        let entry = entry?;
        // A file that was to replace another one, and did not.
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(durable::UNFINISHED)
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Carries out a plan, and sees to it that HEAD names a branch that is there: upstream's, where it is known. All of it
/// lasts when this returns.
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
    // Syncs, pushes and changes of a mirror may meet here; each is done in no time.
    let patience = Fail::AfterDurationWithBackoff(PATIENCE);
    let mut lock = gix::lock::File::acquire_to_update_resource(&path, patience, None, 0)
        .map_err(|_| io::Error::other("its refs are locked"))?;
    let before = Snapshot::of_packed(git_dir)?;
    let mut refs = before.refs(git_dir)?;
    let mut published = Published::default();
    let mut changed = false;
    // What goes makes room for what comes.
    let (gone, rest): (Vec<_>, Vec<_>) =
        plan.edits.iter().partition(|(_, edit)| edit.new.is_none());
    for (name, edit) in gone.into_iter().chain(rest) {
        let conflicts = || edit.old.is_none() && refs::in_the_way(&refs, name.as_bstr()).is_some();
        if refs.get(name).copied() != edit.old || conflicts() {
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
    let now = fs::read(git_dir.join("HEAD")).unwrap_or_default();
    let known = upstream.map(|upstream| &upstream.head);
    let head = head(&refs, known, &now, track);
    // Whatever a kill leaves, HEAD is on no branch of the user's own: it goes first where its branch is there already, or
    // is to be nobody's.
    let name = head
        .strip_prefix(b"ref: ")
        .map(|name| BStr::new(name.trim_ascii_end()));
    let moves = head != now;
    // Only where it moves: with many refs this look back takes time.
    let is_new = name.filter(|_| moves).is_some_and(|name| {
        refs.contains_key(name)
            && !before
                .refs(git_dir)
                .is_ok_and(|refs| refs.contains_key(name))
    });
    if moves && !is_new {
        durable::replace(&git_dir.join("HEAD"), &head)?;
    }
    if changed {
        let content = packed(&repo, &refs, &before.peeled(git_dir)?)?;
        lock.with_mut(|file| {
            file.write_all(&content)?;
            file.sync_all()
        })?;
        lock.commit().map_err(|err| err.error)?;
    }
    if is_new {
        durable::replace(&git_dir.join("HEAD"), &head)?;
    }
    if changed {
        durable::sync_dir(git_dir)?;
    }
    Ok(published)
}

/// What HEAD becomes: upstream's branch under its public name if it is there, or else the first tracked one (main, master,
/// then by name); never a local branch. Where nobody knows upstream's, it stays as it is if it can.
fn head(refs: &Refs, upstream: Option<&Head>, now: &[u8], track: &Refspecs) -> Vec<u8> {
    let symbolic = |name: &[u8]| [b"ref: ", name, b"\n"].concat();
    let follows = |name: &[u8]| {
        let public = track.public(name)?;
        let record = refs.get(BStr::new(&refspec::record(name)))?;
        (refs.get(BStr::new(&public)) == Some(record)).then_some(public)
    };
    let branches: BTreeSet<_> = refs
        .keys()
        .filter_map(|name| follows(&refspec::recorded(name)?))
        .filter(|public| public.starts_with(b"refs/heads/"))
        .collect();
    let current = now
        .strip_prefix(b"ref: ")
        .map(|name| name.trim_ascii_end().to_vec());
    let wanted = match upstream {
        Some(Head::Detached(oid)) => return format!("{oid}\n").into_bytes(),
        Some(Head::Branch(branch)) => track.public(branch),
        Some(Head::Unknown) => None,
        // Detached, as upstream's was.
        None if current.is_none() && !now.is_empty() => return now.to_vec(),
        None => current,
    };
    let usual = ["refs/heads/main", "refs/heads/master"].map(|name| name.as_bytes().to_vec());
    let preferred = wanted.iter().chain(&usual);
    let first = preferred
        .chain(&branches)
        .find(|name| branches.contains(*name));
    if let Some(name) = first {
        return symbolic(name);
    }
    // There is nothing to check out, and nobody's branch may look as if it were upstream's.
    let free = |name: &[u8]| {
        let name = BStr::new(name);
        !refs.contains_key(name) && refs::in_the_way(refs, name).is_none()
    };
    let numbered = (1..).map(|number| format!("refs/heads/unborn-{number}").into_bytes());
    let mut unborn = wanted.into_iter().chain(usual).chain(numbered);
    let name = unborn.find(|name| free(name));
    symbolic(&name.expect("there is always a next number"))
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

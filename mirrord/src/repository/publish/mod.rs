//! Writes a [`Plan`] to the refs of a mirror: the only writer of refs.
//!
//! A plan becomes one new `packed-refs`, under git's own lock: readers see all of it or nothing. A copy is written first.
//! gix-ref's transaction is not used, because it renames a file that it has not synced, makes a lock file per ref, and does
//! not check for names that conflict as `a` and `a/b`.

use std::{fs, io, path::Path};

use common::refspec::{self, Refspecs};
use gix::bstr::{BStr, ByteSlice};

use crate::{
    process::durable,
    repository::{
        plan::{Advertisement, Plan},
        refs::{self, Snapshot, head, write},
    },
};

/// The result of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Published {
    /// How many public refs changed.
    pub moved: usize,
    /// Whether somebody has changed a ref since the plan was made. Its edit was left out, and the caller makes a new plan.
    pub again: bool,
}

/// Removes the locks and unfinished files that a killed daemon left: nobody else writes refs here.
pub(crate) fn sweep(git_dir: &Path) -> io::Result<()> {
    for name in [
        "packed-refs.lock",
        "packed-refs.new",
        "HEAD.lock",
        "config.lock",
    ] {
        durable::remove(&git_dir.join(name))?;
    }
    for entry in fs::read_dir(git_dir)? {
        let entry = entry?;
        // It was to replace another file.
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with(durable::UNFINISHED)
        {
            // Upkeep and clients write their records beside a sweep: it may have its own name by now.
            durable::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Writes a plan, and the `HEAD` that [`head::choose`] chooses for the new refs. Both last when this returns.
///
/// `upstream` is what a sync has just asked for; pushes and other changes have none.
pub(crate) fn publish(
    git_dir: &Path,
    plan: &Plan,
    upstream: Option<&Advertisement>,
    track: &Refspecs,
) -> io::Result<Published> {
    // A sync and a push may meet here; each has the lock for a moment only.
    let lock = refs::lock_verified(git_dir)?;
    let repo = refs::open(git_dir)?;
    let before = Snapshot::of_packed(git_dir)?;
    let mut refs = before.refs(git_dir)?;
    let mut published = Published::default();
    // The first time, the files are written even without a ref: where they are missing later, they were lost.
    let mut changed = before.bytes().is_empty();
    // Deletions first: they make room for names that would conflict.
    let (deletions, rest): (Vec<_>, Vec<_>) =
        plan.edits.iter().partition(|(_, edit)| edit.new.is_none());
    for (name, edit) in deletions.into_iter().chain(rest) {
        let conflicts = || edit.old.is_none() && refs::conflicting(&refs, name.as_bstr()).is_some();
        if refs.get(name).copied() != edit.old || conflicts() {
            published.again = true;
            continue;
        }
        changed = true;
        published.moved += usize::from(!refspec::is_reserved(name));
        match edit.new {
            Some(oid) => drop(refs.insert(name.clone(), oid)),
            None => drop(refs.remove(name)),
        }
    }
    let current = fs::read(git_dir.join("HEAD")).unwrap_or_default();
    let upstream_head = upstream.map(|upstream| &upstream.head);
    let head = head::choose(&refs, upstream_head, &current, track);
    // A kill in between must not leave HEAD on a local branch: HEAD is written before the refs, unless its branch is new.
    let name = head
        .strip_prefix(b"ref: ")
        .map(|name| BStr::new(name.trim_ascii_end()));
    let moves = head != current;
    // Only when HEAD moves: to parse many refs takes time.
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
        let content = write::content(&repo, &refs, &before)?;
        write::replace(git_dir, lock, before.bytes(), &content, &head)?;
    } else if moves {
        write::replace_head(git_dir, before.bytes(), &head)?;
    }
    if is_new {
        durable::replace(&git_dir.join("HEAD"), &head)?;
    }
    if let Some(upstream) = upstream {
        write::symrefs(git_dir, &upstream.symrefs, track)?;
    }
    if upstream.is_some() && !published.again {
        refs::clear_lost(git_dir)?;
    }
    Ok(published)
}

#[cfg(test)]
mod tests;

//! Makes vetted upstream refs visible to clients: the only writer of refs.
//!
//! A [`Plan`] is written as one new `packed-refs`, under git's own lock: readers see all of it or nothing. A copy of it
//! is written first. gix-ref's transaction is not used, because it renames a file that it has not synced, makes a lock
//! file per ref, and does not look at names that conflict as `a` and `a/b`.

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

/// How a plan went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Published {
    /// How many public refs changed.
    pub moved: usize,
    /// Somebody changed a ref since the plan was made; its edits were left out and the sync should run again.
    pub again: bool,
}

/// Removes the locks that a killed daemon left: nobody else writes refs here.
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
pub(crate) fn publish(
    git_dir: &Path,
    plan: &Plan,
    upstream: Option<&Advertisement>,
    track: &Refspecs,
) -> io::Result<Published> {
    // Syncs, pushes and changes of a mirror may meet here; each is done in no time.
    let lock = refs::lock_verified(git_dir)?;
    let repo = refs::open(git_dir)?;
    let before = Snapshot::of_packed(git_dir)?;
    let mut refs = before.refs(git_dir)?;
    let mut published = Published::default();
    // The first time the files are written without any ref, too: where there are none later, they were lost.
    let mut changed = before.bytes().is_empty();
    // What goes makes room for what comes.
    let (gone, rest): (Vec<_>, Vec<_>) =
        plan.edits.iter().partition(|(_, edit)| edit.new.is_none());
    for (name, edit) in gone.into_iter().chain(rest) {
        let conflicts = || edit.old.is_none() && refs::conflicting(&refs, name.as_bstr()).is_some();
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
    let head = head::choose(&refs, known, &now, track);
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
        let content = write::content(&repo, &refs, &before.peeled(git_dir)?)?;
        write::replace(git_dir, lock, before.bytes(), &content, &head)?;
    } else if moves {
        write::replace_head(git_dir, before.bytes(), &head)?;
    }
    if is_new {
        durable::replace(&git_dir.join("HEAD"), &head)?;
    }
    if upstream.is_some() && !published.again {
        refs::clear_lost(git_dir)?;
    }
    Ok(published)
}

#[cfg(test)]
mod tests;

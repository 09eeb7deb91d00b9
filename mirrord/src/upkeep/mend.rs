//! The mending of packs, with git's own means: `git index-pack` makes a lost or broken index anew; out of a pack that it
//! cannot read, `git pack-objects` copies what each local branch and each history entry needs, where that is still whole.
//! `whole.rs` calls this, has the bad pack laid aside, and asks upstream for the rest.
//!
//! Nothing is thrown away before the mirror is whole again, and nothing is cloned over it: some of it may be all that there
//! is of somebody's work.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use common::{git, refspec};
use gix::ObjectId;

use super::{
    indexes, packs,
    repack::{self, LIMITS},
};
use crate::{
    process::{child, durable, watch::Watch},
    repository::{quarantine::Quarantine, refs, verified},
};

/// Where bad packs lie, inside a mirror, as long as it is not whole.
const ASIDE: &str = "damaged";

/// Has git make an index of a pack from the pack alone, and lets both in. Returns the name that git gives them, which is
/// another one when the pack's content has changed; None when git cannot read the pack.
pub(super) fn reindex(git_dir: &Path, pack: &str, watch: &Watch) -> io::Result<Option<String>> {
    let quarantine = Quarantine::new(git_dir)?;
    let mut git = quarantine.git();
    // Objects of other packs are no part of this one.
    git.env_remove("GIT_ALTERNATE_OBJECT_DIRECTORIES")
        .args(LIMITS)
        .args(["index-pack", "--stdin"]);
    let mut nice = git::niced(&git);
    nice.stdin(File::open(file(git_dir, pack, "pack"))?)
        .stdout(Stdio::null());
    let indexed = child::run(nice, Vec::new(), watch)?;
    if watch.is_cancelled() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    if !indexed.status.success() {
        return Ok(None);
    }
    let name = quarantine.packs()?.pop();
    quarantine.release(packs::origin(git_dir, pack))?;
    Ok(name)
}

/// Copies out of bad packs what refs reach that upstream may not have, the local branches and the history, where git can
/// read all of it: `lost.rs` names the others.
pub(super) fn copy_unrecorded(git_dir: &Path, bad: &[String], watch: &Watch) -> io::Result<()> {
    let refs = refs::read(git_dir)?;
    let unrecorded = refs.iter();
    let unrecorded = unrecorded.filter(|(name, _)| {
        refspec::recorded(name).is_none() && !name.starts_with(refspec::ON_DEMAND.as_bytes())
    });
    let unrecorded: BTreeSet<ObjectId> = unrecorded.map(|(_, oid)| *oid).collect();
    for tip in unrecorded {
        match repack::copy_unkept(git_dir, &refs, &[tip].into(), bad, watch) {
            Err(err) if watch.is_cancelled() => return Err(err),
            Err(err) => tracing::debug!("cannot copy what '{tip}' reaches: {err}"),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Moves bad packs into `damaged/`. Nobody may be reading the mirror.
pub(super) fn set_aside(git_dir: &Path, bad: &[String]) -> io::Result<()> {
    let aside = git_dir.join(ASIDE);
    match fs::create_dir(&aside) {
        Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
        _ => {}
    }
    // A pack may be the only copy of something: it must not go with its folder in a power cut.
    durable::sync_dir(git_dir)?;
    indexes::remove_index(git_dir)?;
    indexes::remove_graph(git_dir)?;
    verified::mark_unverified(git_dir, bad.iter().map(String::as_str))?;
    for pack in bad {
        // The index first: without one, nobody reads a pack; the mark that keeps it apart last.
        for ending in ["idx", "pack", "rev", "bitmap", packs::CRUFT, "keep"] {
            let from = file(git_dir, pack, ending);
            match fs::rename(&from, aside.join(from.file_name().unwrap_or_default())) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
                _ => {}
            }
        }
    }
    durable::sync_dir(&aside)?;
    durable::sync_dir(&packs::pack_dir(git_dir))
}

/// Removes the packs that were laid aside: the mirror is whole without them.
pub(super) fn remove_aside(git_dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(git_dir.join(ASIDE)) {
        Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
        _ => Ok(()),
    }
}

fn file(git_dir: &Path, pack: &str, ending: &str) -> PathBuf {
    packs::pack_dir(git_dir).join(format!("{pack}.{ending}"))
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{FileExt, PermissionsExt},
    };

    use tokio::sync::broadcast;

    use super::*;
    use crate::{repository::quarantine::LOCAL_MARK, upkeep::store::Store};

    const BRANCHES: [&str; 2] = ["mine", "other"];

    fn flip(path: &Path, at: u64) {
        fs::set_permissions(path, Permissions::from_mode(0o644)).expect("ours");
        let file = File::options().read(true).write(true).open(path);
        let file = file.expect("there");
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("readable");
        file.write_all_at(&[byte[0] ^ 4], at).expect("ours");
    }

    /// Mends a pack, which is laid aside unless a new index was enough.
    async fn mend(store: &Store, pack: &str) {
        let (git_dir, name) = (store.path().to_owned(), pack.to_owned());
        let mended = tokio::task::spawn_blocking(move || {
            let watch = Watch::new("", broadcast::channel(1).0, Vec::new());
            let new = reindex(&git_dir, &name, &watch)?;
            if new.is_none() {
                copy_unrecorded(&git_dir, std::slice::from_ref(&name), &watch)?;
            }
            if new.as_ref() != Some(&name) {
                set_aside(&git_dir, &[name])?;
            }
            io::Result::Ok(())
        });
        mended.await.expect("no panic").expect("mended");
    }

    /// How many branches can be read as a whole.
    fn whole_branches(store: &Store) -> usize {
        let is_whole = |branch: &&&str| {
            let walk = ["rev-list", "--objects", "--quiet", **branch];
            let walk = git::at(store.path())
                .args(walk)
                .stderr(Stdio::null())
                .status();
            walk.expect("git runs").success()
        };
        BRANCHES.iter().filter(is_whole).count()
    }

    fn copy_dir(from: &Path, to: &Path) {
        let mut cp = std::process::Command::new("cp");
        let copied = cp.arg("-a").arg(from).arg(to).status();
        assert!(copied.expect("cp runs").success());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_bad_byte_costs_the_branch_that_needs_it_and_brings_in_nothing_wrong() {
        let mut store = Store::new();
        for branch in BRANCHES {
            store.history(branch, 2);
        }
        let names = store.names();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let pack = store.together(&names);
        store.drop_replaced();
        store.mark(&[&pack]);
        let sound = tempfile::tempdir().expect("temp dir");
        let sound = sound.path().join("sound.git");
        copy_dir(store.path(), &sound);
        for ending in ["pack", "idx"] {
            let length = fs::metadata(store.file(&format!("{pack}.{ending}")));
            let length = length.expect("there").len();
            for at in (0..length).step_by(41) {
                flip(&store.file(&format!("{pack}.{ending}")), at);
                mend(&store, &pack).await;
                let left = whole_branches(&store);
                match ending {
                    "idx" => assert_eq!(left, 2, "{at}"),
                    _ if (12..length - 20).contains(&at) => assert!(left >= 1, "{at}"),
                    _ => {}
                }
                for name in store.names() {
                    let index = store.file(&format!("{name}.idx"));
                    store.git(&["verify-pack", index.to_str().expect("plain")], "");
                    let mark = fs::read(store.file(&format!("{name}.keep")));
                    assert_eq!(mark.expect("it stays apart"), LOCAL_MARK);
                }
                let aside = store.path().join(ASIDE).join(format!("{pack}.pack"));
                assert!(ending == "idx" || aside.exists(), "nothing is thrown away");
                fs::remove_dir_all(store.path()).expect("ours");
                copy_dir(&sound, store.path());
            }
        }
    }
}

//! Repacking of small packs, those of upstream's objects and those of local branches apart: `git repack --geometric`
//! chooses and writes, in a [`Workspace`]. `packs/mod.rs` finds out which packs have been replaced then.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    process::{Command, Stdio},
};

use common::{git, refspec};
use gix::ObjectId;

use super::{packs, workspace::Workspace};
use crate::{
    mirrors::registry::Mirror,
    process::{
        child::{self, Ended},
        watch::Watch,
    },
    repository::{
        local_refs,
        quarantine::{self, Origin},
        refs::{self, Refs},
    },
};

/// Limits for children that nobody waits for, so that they leave the machine to those for which somebody does.
pub(super) const LIMITS: [&str; 6] = [
    "-c",
    "pack.threads=1",
    "-c",
    "pack.windowMemory=64m",
    "-c",
    "pack.deltaCacheSize=32m",
];

/// Writes new packs in place of small ones, which stay for now. Returns how many bytes the new ones have.
pub(super) fn repack(mirror: &Mirror, watch: &Watch) -> io::Result<u64> {
    let git_dir = &mirror.git_dir;
    quarantine::sweep(git_dir)?;
    let mut bytes = keep_apart(mirror, watch)?;
    for origin in packs::KINDS {
        bytes += roll_up(git_dir, origin, watch)?;
    }
    Ok(bytes)
}

/// Repacks the packs of a kind so that each has at least twice as many objects as the next smaller one.
fn roll_up(git_dir: &Path, origin: Origin, watch: &Watch) -> io::Result<u64> {
    let names = packs::names(git_dir, origin)?;
    if names.len() < 2 {
        return Ok(0);
    }
    let is_wanted = |pack: &str, ending: &str| names.contains(pack) && ending != packs::KEEP;
    let workspace = Workspace::new(git_dir, is_wanted)?;
    let mut git = workspace.git_without_others();
    git.args(["repack", "--geometric=2", "-d", "-n", "-q"]);
    run(&git, String::new(), watch)?;
    workspace.release(origin, watch)
}

/// Copies what only local branches and tags reach into a pack that is kept apart, where it is in none: it came before such
/// packs were kept apart, or was upstream's and was brought back. Returns how many bytes that pack has.
pub(super) fn keep_apart(mirror: &Mirror, watch: &Watch) -> io::Result<u64> {
    let refs = refs::read(&mirror.git_dir)?;
    let locals = local_refs::list(&refs, &mirror.settings.rules.track);
    let locals = locals.into_iter().map(|(_, oid)| oid).collect();
    copy_unkept(&mirror.git_dir, &refs, &locals, &[], watch)
}

/// Copies what `tips` reach, and records of upstream's refs do not, into a pack that is kept apart, unless it is in one
/// that is not `bad`. Returns how many bytes the pack has.
pub(super) fn copy_unkept(
    git_dir: &Path,
    refs: &Refs,
    tips: &BTreeSet<ObjectId>,
    bad: &[String],
    watch: &Watch,
) -> io::Result<u64> {
    let repo = refs::open(git_dir)?;
    let is_there = |oid: &&ObjectId| repo.has_object(*oid);
    let recorded = refs.iter();
    let recorded = recorded.filter(|(name, _)| refspec::recorded(name).is_some());
    let recorded: BTreeSet<&ObjectId> = recorded.map(|(_, oid)| oid).collect();
    let tips = tips.iter().filter(|oid| !recorded.contains(oid));
    let mut walk: String = tips
        .filter(is_there)
        .map(|oid| format!("{oid}\n"))
        .collect();
    if walk.is_empty() {
        return Ok(0);
    }
    let recorded = recorded.into_iter().filter(is_there);
    walk.extend(recorded.map(|oid| format!("^{oid}\n")));
    let mut kept = packs::kept(git_dir)?;
    kept.retain(|name| !bad.contains(name));
    // No others: git writes no pack in place of one that has its name.
    let workspace = Workspace::new(git_dir, |pack, _| kept.contains(pack))?;
    let mut git = workspace.git();
    // git looks for an object that is bad in one pack in the others, but not in those that the multi-pack-index names: see
    // `find_pack_entry` in its packfile.c.
    git.args(["-c", "core.multiPackIndex=false"])
        .args(["pack-objects", "--revs", "--honor-pack-keep", "--non-empty"])
        .args(["--delta-base-offset", "-q"])
        .arg(workspace.path().join("pack/pack"));
    run(&git, walk, watch)?;
    workspace.release(Origin::LocalOnly, watch)
}

/// Runs a git to its end at a low priority.
pub(super) fn run(git: &Command, input: String, watch: &Watch) -> io::Result<Ended> {
    let mut nice = git::niced(git);
    nice.stdout(Stdio::piped());
    succeeded(child::run(nice, input.into_bytes(), watch)?, watch)
}

/// Returns what a child left if it succeeded.
pub(super) fn succeeded(ended: Ended, watch: &Watch) -> io::Result<Ended> {
    if watch.is_cancelled() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    if ended.status.success() {
        return Ok(ended);
    }
    let stderr = String::from_utf8_lossy(&ended.stderr);
    let line = stderr.lines().find(|line| !line.trim().is_empty());
    let message = line
        .unwrap_or("git failed")
        .trim_start_matches("error: ")
        .trim_start_matches("fatal: ");
    Err(io::Error::other(message.to_owned()))
}

#[cfg(test)]
mod tests {
    use tokio::{sync::broadcast, task::spawn_blocking};

    use super::*;
    use crate::upkeep::store::{Store, mirror};

    async fn repack(store: &Store) -> u64 {
        let mirror = mirror(store.path());
        let watch = Watch::new("", broadcast::channel(1).0, Vec::new());
        let repacked = spawn_blocking(move || super::repack(&mirror, &watch)).await;
        repacked.expect("no panic").expect("repacked")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn small_packs_become_one_each_with_its_like_and_the_old_ones_stay_until_they_are_dropped()
     {
        let mut store = Store::new();
        let theirs = [1, 1, 4, 100].map(|size| store.pack(size));
        let ours = [2, 3].map(|size| store.pack(size));
        store.mark(&ours.each_ref().map(String::as_str));
        assert!(repack(&store).await > 0);
        assert_eq!(store.names().len(), 8);
        let mut small = [&theirs[..2], &ours].concat();
        small.sort();
        assert_eq!(store.replaced(), small);
        store.drop_replaced();
        assert_eq!(store.names().len(), 4);
        assert_eq!(
            packs::names(store.path(), Origin::LocalOnly)
                .expect("readable")
                .len(),
            1
        );
        assert_eq!(store.leftovers(), [""; 0]);
        assert!(store.has_all());
        assert_eq!(repack(&store).await, 0, "there is no need");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_local_branch_alone_reaches_is_kept_apart_once() {
        let mut store = Store::new();
        store.history("main", 2);
        store.git(&["update-ref", "refs/upstream/heads/main", "main"], "");
        store.history("mine", 2);
        let before = store.names().len();
        let keep_apart = async || {
            let mirror = mirror(store.path());
            let watch = Watch::new("", broadcast::channel(1).0, Vec::new());
            let kept = spawn_blocking(move || super::keep_apart(&mirror, &watch)).await;
            kept.expect("no panic").expect("written")
        };
        assert!(keep_apart().await > 0);
        let kept = packs::names(store.path(), Origin::LocalOnly).expect("readable");
        assert_eq!(kept.len(), 1);
        assert!(store.names().len() <= before + 1);
        assert_eq!(keep_apart().await, 0, "one copy is enough");
    }
}

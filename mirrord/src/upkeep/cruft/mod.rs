//! Cruft, as git calls objects that no ref reaches any more: what left the history, and what came with a sync or a push
//! that then failed.
//!
//! A mirror's cruft is measured once a week. If there is much, `git repack --cruft` puts it into a pack of its own and the
//! rest into another, in a [`Workspace`]. The cruft pack is dropped two weeks later.
//!
//! The drop is ours for two reasons. git's `--cruft-expiration` counts from when the packs were written in which objects
//! came: what a mirror was made with would be gone as soon as it left the history. And git does not wait for readers, nor
//! for pushes and syncs that bring a ref to such an object. So the refs are walked in the packs that stay, and once more
//! from what is new in them when nobody reads the mirror or changes it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::Path,
    process::Command,
    time::{Duration, SystemTime},
};

use common::git;
use gix::ObjectId;

use super::{
    indexes, packs,
    repack::{self, run},
    workspace::Workspace,
};
use crate::{
    mirrors::registry::Mirror,
    process::watch::Watch,
    repository::{
        local_refs,
        quarantine::{self, Origin},
        refs,
    },
};

/// How often cruft is measured.
const CHECK_INTERVAL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a cruft pack stays.
const GRACE_PERIOD: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Packs are written anew when at least one byte of so many is of cruft.
const MIN_GARBAGE_SHARE: u64 = 20;

/// Less cruft than this is left where it is.
const MIN_GARBAGE_BYTES: u64 = 1024 * 1024;

/// A file in a mirror, written when its cruft was measured.
const MEASURED: &str = "looked";

/// A file in a mirror that was written when the mirror was made, and never again.
const CREATED: &str = "description";

/// What is to be done about the cruft of a mirror.
pub(super) enum Todo {
    Nothing,
    /// It is put into a pack of its own: `write`.
    Write,
    /// Old cruft packs are dropped: `drop_expired`.
    Drop(Expired),
}

/// Cruft packs that are old enough to be dropped.
pub(super) struct Expired {
    packs: BTreeSet<String>,
    /// The tips from which all was found in the packs that stay.
    walked: BTreeSet<ObjectId>,
}

/// Whether it is time to measure the cruft of a mirror.
pub(super) fn is_due(git_dir: &Path, now: SystemTime) -> io::Result<bool> {
    let last =
        fs::metadata(git_dir.join(MEASURED)).or_else(|_| fs::metadata(git_dir.join(CREATED)));
    let Ok(last) = last else {
        return Ok(git_dir.join("objects").is_dir());
    };
    // Not by a clock that was set back since.
    Ok(now
        .duration_since(last.modified()?)
        .is_ok_and(|since| since >= CHECK_INTERVAL))
}

/// Measures cruft. Returns what is to be done about it.
pub(super) fn measure(mirror: &Mirror, now: SystemTime, watch: &Watch) -> io::Result<Todo> {
    let git_dir = &mirror.git_dir;
    // First of all: a walk that fails is not tried again before the next week.
    File::create(git_dir.join(MEASURED))?.set_modified(now)?;
    if git_dir.join("worktrees").exists() {
        // Somebody works in there, with objects that no ref has to name.
        return Ok(Todo::Nothing);
    }
    quarantine::sweep(git_dir)?;
    let cruft = packs::cruft(git_dir)?;
    if cruft.is_empty() {
        if !has_much_cruft(mirror, watch)? {
            return Ok(Todo::Nothing);
        }
        repack::keep_apart(mirror, watch)?;
        return Ok(Todo::Write);
    }
    for pack in &cruft {
        let since = packs::written_at(git_dir, pack, packs::CRUFT)?;
        let age = now.duration_since(since);
        if age.is_ok_and(|age| age < GRACE_PERIOD) {
            return Ok(Todo::Nothing);
        }
    }
    let walked = tips(git_dir)?;
    match check_without(git_dir, &cruft, &walked, &BTreeSet::new(), watch) {
        Ok(()) => Ok(Todo::Drop(Expired {
            packs: cruft,
            walked,
        })),
        Err(err) if watch.is_cancelled() => Err(err),
        Err(err) => {
            let name = &mirror.settings.name;
            tracing::info!("something reaches cruft of '{name}' again: {err}");
            Ok(Todo::Write)
        }
    }
}

/// Writes all that refs reach into one pack and the rest into a cruft pack, in place of `packs`. Those of them that are
/// kept apart are left as they are.
///
/// `packs` were listed when no sync and no push ran: each brings its packs before its refs, and its objects would be taken
/// for cruft.
pub(super) fn write(git_dir: &Path, packs: &BTreeSet<String>, watch: &Watch) -> io::Result<()> {
    let workspace = Workspace::new(git_dir, |pack, _| packs.contains(pack))?;
    let mut git = workspace.git();
    git.args(["repack", "--cruft", "-d", "-n", "-q"])
        .arg("--no-write-bitmap-index");
    run(&git, String::new(), watch)?;
    workspace.release(Origin::Upstream, watch).map(drop)
}

/// Drops cruft packs, if still nothing reaches what is in them. Nobody may be reading the mirror or changing it.
pub(super) fn drop_expired(git_dir: &Path, expired: &Expired, watch: &Watch) -> io::Result<()> {
    let tips = tips(git_dir)?;
    check_without(git_dir, &expired.packs, &tips, &expired.walked, watch)?;
    // The commit-graph knows commits that go.
    indexes::remove_graph(git_dir)?;
    packs::drop_cruft(git_dir, &expired.packs)
}

/// What all refs name, and HEAD where it is on no branch.
fn tips(git_dir: &Path) -> io::Result<BTreeSet<ObjectId>> {
    let mut tips: BTreeSet<_> = refs::read(git_dir)?.into_values().collect();
    let head = fs::read(git_dir.join("HEAD"))?;
    if !head.starts_with(b"ref: ") {
        let oid = ObjectId::from_hex(head.trim_ascii_end());
        tips.insert(oid.map_err(|_| io::Error::other("its HEAD is damaged"))?);
    }
    Ok(tips)
}

/// Whether so much in the packs of upstream's objects is cruft that it is worth writing them anew.
fn has_much_cruft(mirror: &Mirror, watch: &Watch) -> io::Result<bool> {
    let git_dir = &mirror.git_dir;
    let all = packs::bytes(git_dir, Origin::Upstream)?;
    if all < MIN_GARBAGE_BYTES {
        return Ok(false);
    }
    // What local branches alone reach is in other packs.
    let mut refs = refs::read(git_dir)?;
    for (name, _) in local_refs::list(&refs, &mirror.settings.rules.track) {
        refs.remove(&name);
    }
    let tips = refs.into_values().collect();
    let git = rev_list(git_dir, "--disk-usage");
    let measured = run(&git, walk(&tips, &BTreeSet::new()), watch)?;
    let measured = String::from_utf8_lossy(&measured.stdout);
    let reached: u64 = measured.trim().parse().map_err(io::Error::other)?;
    let cruft = all.saturating_sub(reached);
    Ok(cruft >= MIN_GARBAGE_BYTES && cruft >= all / MIN_GARBAGE_SHARE)
}

/// Checks that all that `tips` reach, and `known` do not, is there without these packs.
fn check_without(
    git_dir: &Path,
    packs: &BTreeSet<String>,
    tips: &BTreeSet<ObjectId>,
    known: &BTreeSet<ObjectId>,
    watch: &Watch,
) -> io::Result<()> {
    if tips.is_subset(known) {
        return Ok(());
    }
    let others = Workspace::new(git_dir, |pack, _| !packs.contains(pack))?;
    let mut git = rev_list(git_dir, "--quiet");
    git.env("GIT_OBJECT_DIRECTORY", others.path());
    run(&git, walk(tips, known), watch).map(drop)
}

/// A `git rev-list` that reads the objects themselves, not what the commit-graph and the multi-pack-index say of them.
fn rev_list(git_dir: &Path, option: &str) -> Command {
    let mut git = git::at(git_dir);
    git.args(["-c", "core.commitGraph=false"])
        .args(["-c", "core.multiPackIndex=false"])
        .args(["rev-list", "--objects", "--stdin", option]);
    git
}

/// The input of `git rev-list --stdin`.
fn walk(tips: &BTreeSet<ObjectId>, known: &BTreeSet<ObjectId>) -> String {
    let mut walk: String = tips
        .difference(known)
        .map(|oid| format!("{oid}\n"))
        .collect();
    walk.extend(known.iter().map(|oid| format!("^{oid}\n")));
    walk
}

#[cfg(test)]
mod tests;

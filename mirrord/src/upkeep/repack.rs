//! Puts packs together: a new pack beside the old ones, which nobody is told of before it is whole and on disk.

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    process::{Command, Stdio},
};

use common::{git, packs::verified::NotVerified, refspec};
use gix::ObjectId;

use super::packs;
use crate::{
    mirrors::registry::Mirror,
    process::{
        child::{self, Ended},
        watch::Watch,
    },
    repository::{
        local_refs,
        quarantine::{self, Origin, Quarantine},
        refs,
        verified::{self, Extent},
    },
};

/// What keeps one child from taking the machine from those who wait for something.
pub(super) const LIMITS: [&str; 6] = [
    "-c",
    "pack.threads=1",
    "-c",
    "pack.windowMemory=64m",
    "-c",
    "pack.deltaCacheSize=32m",
];

/// Puts the packs together that are too small, each with its like. Returns how many bytes the new ones have; nothing when
/// there is no need.
pub(super) fn repack(mirror: &Mirror, watch: &Watch) -> io::Result<Option<u64>> {
    let git_dir = &mirror.git_dir;
    quarantine::sweep(git_dir)?;
    keep_apart(mirror, watch)?;
    let mut bytes = None;
    for origin in packs::KINDS {
        let small = packs::too_small(git_dir, origin)?;
        if small.len() < 2 {
            continue;
        }
        // All that they have, also what a bigger pack has as well: then it alone replaces each of them.
        let names = small.iter().map(|pack| pack.file_name() + "\n");
        let written = write(git_dir, &["--stdin-packs"], names.collect(), origin, watch)?;
        *bytes.get_or_insert(0) += written;
    }
    Ok(bytes)
}

/// Copies what only the user's own branches and tags reach into a pack of its own, where it is in none: it came before
/// such packs were kept apart, or was upstream's and was brought back.
fn keep_apart(mirror: &Mirror, watch: &Watch) -> io::Result<()> {
    let git_dir = &mirror.git_dir;
    let refs = refs::read(git_dir)?;
    let repo = refs::open(git_dir)?;
    let is_there = |oid: &ObjectId| repo.has_object(*oid);
    let locals = local_refs::list(&refs, &mirror.settings.rules.track);
    let locals: BTreeSet<_> = locals.into_iter().map(|(_, oid)| oid).collect();
    let mut walk: String = locals
        .iter()
        .filter(|oid| is_there(oid))
        .map(|oid| format!("{oid}\n"))
        .collect();
    if walk.is_empty() {
        return Ok(());
    }
    let upstreams = refs.iter();
    let upstreams = upstreams.filter(|(name, _)| refspec::recorded(name).is_some());
    let upstreams: BTreeSet<_> = upstreams.map(|(_, oid)| *oid).collect();
    let known = upstreams.iter().filter(|oid| is_there(oid));
    walk.extend(known.map(|oid| format!("^{oid}\n")));
    let mut git = git::at(git_dir);
    git.args(["rev-list", "--objects", "--no-object-names", "--stdin"]);
    let listed = run(&git, walk, watch)?;
    let listed = String::from_utf8_lossy(&listed.stdout);
    let objects = listed.lines();
    let objects = objects.filter_map(|line| ObjectId::from_hex(line.as_bytes()).ok());
    let missing = packs::not_apart(git_dir, objects.collect())?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.iter().map(|oid| format!("{oid}\n")).collect();
    write(git_dir, &[], missing, Origin::LocalOnly, watch).map(drop)
}

/// Has git write one pack, and lets it into the mirror when it is whole. Returns how many bytes it has.
fn write(
    git_dir: &Path,
    options: &[&str],
    input: String,
    origin: Origin,
    watch: &Watch,
) -> io::Result<u64> {
    let quarantine = Quarantine::new(git_dir)?;
    let folder = quarantine.path().join("pack");
    let mut git = quarantine.git();
    git.args(LIMITS)
        .args(["pack-objects", "--delta-base-offset", "-q"])
        .args(options)
        .arg(folder.join("pack"));
    run(&git, input, watch)?;
    let mut bytes = 0;
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        bytes += entry.metadata()?.len();
        if origin == Origin::LocalOnly && entry.path().extension() == Some("idx".as_ref()) {
            // There will be no other copy: what was written is read again.
            let mut git = quarantine.git();
            git.args(LIMITS).arg("verify-pack").arg(entry.path());
            run(&git, String::new(), watch)?;
        }
    }
    unchanged(git_dir, watch)?;
    quarantine.release(origin)?;
    Ok(bytes)
}

/// Fails when somebody has changed the mirror's packs: git takes over what lies in them without a look at it.
///
/// # Errors
/// Fails also when that cannot be told, or it is cancelled.
pub(super) fn unchanged(git_dir: &Path, watch: &Watch) -> io::Result<()> {
    let changed = verified::changed_files(git_dir, Extent::Touched, watch)?;
    match changed.into_iter().next() {
        Some(changed) => Err(NotVerified(changed.path).into()),
        None => Ok(()),
    }
}

/// Runs a git to its end at a low priority.
pub(super) fn run(git: &Command, input: String, watch: &Watch) -> io::Result<Ended> {
    let mut nice = git::niced(git);
    nice.stdout(Stdio::piped());
    ended(child::run(nice, input.into_bytes(), watch)?, watch)
}

/// Returns a child that did what it should.
pub(super) fn ended(ended: Ended, watch: &Watch) -> io::Result<Ended> {
    if watch.is_cancelled() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    if ended.status.success() {
        return Ok(ended);
    }
    let words = String::from_utf8_lossy(&ended.stderr);
    let words = words.lines().find(|line| !line.trim().is_empty());
    let words = words.unwrap_or("git failed");
    let words = words
        .trim_start_matches("error: ")
        .trim_start_matches("fatal: ");
    Err(io::Error::other(words.to_owned()))
}

//! The packs of a mirror: which of them may be put together, which are not needed any more, and how those go.
//!
//! Nothing is written down of a repack. A pack has been replaced when a bigger one has every object that it has, and the
//! indexes say so: whoever is killed, the next look finds the same.

mod going;
mod leftovers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::SystemTime,
};

pub(super) use common::packs::listing::pack_dir as folder;
use common::packs::listing::pack_files as files;
use gix::{
    ObjectId,
    odb::pack::index::{self, File as Index},
};

pub(super) use self::{
    going::{drop_aging, drop_doubles, drop_replaced},
    leftovers::without_index,
};
use crate::repository::{
    quarantine::{LOCAL_MARK, Origin},
    refs,
};

/// The ending that a pack has beside it which git leaves alone. Those of what only this mirror has are ours; those that a
/// hand from outside has made stay as they are.
const KEPT: &str = "keep";

/// The ending that a pack has beside it origin objects nothing reached when it was made; how old that is tells its age.
pub(super) const AGING: &str = "aging";

/// The endings of packs without all of their objects, and of those with objects that nobody reaches: git's, and ours.
const ODD: [&str; 3] = ["promisor", "mtimes", AGING];

/// What upstream has and what this mirror alone has never come into one pack.
pub(super) const KINDS: [Origin; 2] = [Origin::Upstream, Origin::LocalOnly];

/// The ending that the index of a pack has in the moment in which the pack goes: without one, nobody looks into it.
const GOING: &str = "going";

/// How many times more objects than all smaller packs together a pack has that is left as it is.
const FACTOR: u64 = 2;

/// One pack that may be put together with its like.
pub(super) struct Pack {
    /// Its name: that of its files, without their endings.
    pub(super) name: String,
    index: Index,
}

/// A pack that is not needed any more, and the one that has all that it has.
pub(super) struct Replaced {
    origin: Origin,
    pub(super) name: String,
    by: String,
}

/// How many packs a mirror has that may be put together.
pub(super) fn count(git_dir: &Path) -> io::Result<usize> {
    KINDS.iter().try_fold(0, |count, kind| {
        Ok(count + names(&folder(git_dir), *kind)?.len())
    })
}

/// How many objects each pack has that readers find, of whatever kind.
pub(super) fn sizes(git_dir: &Path) -> io::Result<BTreeMap<String, u32>> {
    let all = files(&folder(git_dir))?.into_iter();
    let whole = all.filter(|(_, endings)| is_whole(endings));
    let packs = open(git_dir, whole.map(|(name, _)| name))?.into_iter();
    Ok(packs.map(|pack| (pack.name.clone(), pack.size())).collect())
}

/// Whether something lies there that is nobody's: packs that were about to go when somebody was killed, or files that
/// somebody left half written, long ago.
pub(super) fn has_leftovers(git_dir: &Path, now: SystemTime) -> io::Result<bool> {
    let dir = folder(git_dir);
    let are_going = || {
        let files = files(&dir)?;
        io::Result::Ok(files.values().any(|endings| endings.contains(GOING)))
    };
    Ok(are_going()? || !leftovers::of(&dir, now)?.is_empty())
}

/// The packs of a kind that are too small for what they have: those that make one, so that each of the rest has at least twice as
/// many objects as all that are smaller. As `git repack --geometric=2` chooses them.
pub(super) fn too_small(git_dir: &Path, origin: Origin) -> io::Result<Vec<Pack>> {
    let mut packs = of(git_dir, origin)?;
    let sizes: Vec<_> = packs.iter().map(|pack| pack.size().into()).collect();
    packs.truncate(rolled_up(&sizes));
    Ok(packs)
}

/// How many of these sizes, the smallest first, are to become one.
fn rolled_up(sizes: &[u64]) -> usize {
    let is_step = |at: usize| sizes[at] >= FACTOR * sizes[at - 1];
    let Some(last) = (1..sizes.len()).rev().find(|at| !is_step(*at)) else {
        return 0;
    };
    // What becomes of them may be too big for those that were well above.
    let mut count = last + 1;
    let mut sum: u64 = sizes[..count].iter().sum();
    while sizes.get(count).is_some_and(|size| *size < FACTOR * sum) {
        sum += sizes[count];
        count += 1;
    }
    count
}

/// The packs of which a bigger one of their kind has every object.
pub(super) fn replaced(git_dir: &Path) -> io::Result<Vec<Replaced>> {
    let mut replaced = Vec::new();
    for origin in KINDS {
        let packs = of(git_dir, origin)?;
        replaced.extend(packs.iter().enumerate().filter_map(|(at, pack)| {
            let by = packs[at + 1..].iter().rev().find(|other| other.has(pack))?;
            Some(Replaced {
                origin,
                name: pack.name.clone(),
                by: by.name.clone(),
            })
        }));
    }
    Ok(replaced)
}

/// The objects of these that no pack has which is kept apart.
pub(super) fn not_apart(git_dir: &Path, objects: Vec<ObjectId>) -> io::Result<Vec<ObjectId>> {
    let apart = apart(git_dir)?;
    let is_there = |oid: &ObjectId| apart.iter().any(|pack| pack.at(oid).is_some());
    Ok(objects.into_iter().filter(|oid| !is_there(oid)).collect())
}

/// The packs that are kept, by us or by somebody else's hand.
pub(super) fn apart(git_dir: &Path) -> io::Result<Vec<Pack>> {
    let all = files(&folder(git_dir))?.into_iter();
    let apart = all.filter(|(_, endings)| is_whole(endings) && endings.contains(KEPT));
    open(git_dir, apart.map(|(name, _)| name))
}

/// The packs of objects that nothing reached when they were made.
pub(super) fn aging(git_dir: &Path) -> io::Result<Vec<Pack>> {
    let all = files(&folder(git_dir))?.into_iter();
    let aging = all.filter(|(_, endings)| is_aging(endings));
    open(git_dir, aging.map(|(name, _)| name))
}

/// Origin the objects of a pack are; the mirror's own where that is not plain.
pub(super) fn origin(git_dir: &Path, name: &str) -> Origin {
    let dir = folder(git_dir);
    let is_odd = |ending: &&str| dir.join(format!("{name}.{ending}")).exists();
    match ODD.iter().chain(&[KEPT]).any(is_odd) {
        true => Origin::LocalOnly,
        false => Origin::Upstream,
    }
}

/// When a file of a pack was written.
pub(super) fn written(git_dir: &Path, name: &str, ending: &str) -> io::Result<SystemTime> {
    fs::metadata(folder(git_dir).join(format!("{name}.{ending}")))?.modified()
}

/// The packs of a kind that may be put together, the smallest first.
pub(super) fn of(git_dir: &Path, origin: Origin) -> io::Result<Vec<Pack>> {
    let mut packs = open(git_dir, names(&folder(git_dir), origin)?)?;
    packs.sort_by(|a, b| (a.size(), &a.name).cmp(&(b.size(), &b.name)));
    Ok(packs)
}

/// The names of the packs of a kind.
fn names(dir: &Path, origin: Origin) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for (name, endings) in files(dir)? {
        if kind(dir, &name, &endings)? == Some(origin) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// Of which kind a pack is; of none when it is to be left as it is.
fn kind(dir: &Path, name: &str, endings: &BTreeSet<String>) -> io::Result<Option<Origin>> {
    if !is_whole(endings) || ODD.iter().any(|ending| endings.contains(*ending)) {
        return Ok(None);
    }
    if !endings.contains(KEPT) {
        return Ok(Some(Origin::Upstream));
    }
    match fs::read(dir.join(format!("{name}.{KEPT}"))) {
        Ok(mark) => Ok((mark == LOCAL_MARK).then_some(Origin::LocalOnly)),
        // Somebody's hand is at work.
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// The packs of these names.
pub(super) fn open(
    git_dir: &Path,
    names: impl IntoIterator<Item = String>,
) -> io::Result<Vec<Pack>> {
    let dir = folder(git_dir);
    let format = refs::open(git_dir)?.object_hash();
    let open = |name: String| {
        let path = dir.join(format!("{name}.idx"));
        let index = index::File::at(&path, format)
            .map_err(|err| io::Error::other(format!("'{}': {err}", path.display())))?;
        Ok(Pack { name, index })
    };
    names.into_iter().map(open).collect()
}

fn is_whole(endings: &BTreeSet<String>) -> bool {
    ["pack", "idx"]
        .iter()
        .all(|ending| endings.contains(*ending))
}

fn is_aging(endings: &BTreeSet<String>) -> bool {
    is_whole(endings)
        && endings.contains(AGING)
        && ![KEPT, "promisor"]
            .iter()
            .any(|ending| endings.contains(*ending))
}

impl Pack {
    /// Its file, without the folder.
    pub(super) fn file_name(&self) -> String {
        format!("{}.pack", self.name)
    }

    /// How many objects it has.
    pub(super) fn size(&self) -> u32 {
        self.index.num_objects()
    }

    /// Which of its objects this is, in their order; nothing when it does not have it.
    pub(super) fn at(&self, oid: &gix::oid) -> Option<u32> {
        self.index.lookup(oid)
    }

    /// The object that is so many places behind the first.
    pub(super) fn oid(&self, at: u32) -> &gix::oid {
        self.index.oid_at_index(at)
    }

    fn has(&self, other: &Self) -> bool {
        (0..other.size()).all(|at| self.index.lookup(other.index.oid_at_index(at)).is_some())
    }
}

#[cfg(test)]
mod tests;

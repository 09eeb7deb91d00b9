//! The packs of a mirror: their kinds, which of them others have replaced, and how those are dropped (`drop.rs`).
//!
//! A repack leaves no record. A pack has been replaced when others have every object that it has, which their indexes
//! tell: a daemon that is killed in between is no loss.

mod drop;
mod leftovers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::SystemTime,
};

use gix::odb::pack::index::{self, File as Index};

pub(super) use common::packs::listing::pack_dir;
use common::packs::listing::pack_files;

pub(super) use self::{
    drop::{drop_cruft, drop_replaced},
    leftovers::without_index,
};
use crate::repository::{
    quarantine::{LOCAL_MARK, Origin},
    refs,
};

/// The ending that git puts beside a pack which it is to leave alone. The content tells whether it is ours (`LOCAL_MARK`) or
/// somebody else's.
pub(super) const KEEP: &str = "keep";

/// The ending that git puts beside a pack of objects that nothing reached when it was written.
pub(super) const CRUFT: &str = "mtimes";

/// The ending that git puts beside a pack that lacks objects on purpose.
const PROMISOR: &str = "promisor";

/// The kinds of packs, of which no two are put together.
pub(super) const KINDS: [Origin; 2] = [Origin::Upstream, Origin::LocalOnly];

/// The ending that the index of a pack gets before the pack is removed: without an index, nobody reads a pack.
const DROPPED: &str = "going";

/// One pack with its index.
pub(super) struct Pack {
    /// Its name: that of its files, without their endings.
    pub(super) name: String,
    index: Index,
}

/// Packs of one kind that are not needed any more, and those of that kind which have all that they have.
pub(super) struct Replaced {
    origin: Origin,
    pub(super) names: Vec<String>,
    by: Vec<String>,
}

/// How many packs a mirror has, without those that somebody else keeps.
pub(super) fn count(git_dir: &Path) -> io::Result<usize> {
    KINDS
        .iter()
        .try_fold(0, |count, kind| Ok(count + names(git_dir, *kind)?.len()))
}

/// The names of all packs, of whatever kind.
pub(super) fn all(git_dir: &Path) -> io::Result<BTreeSet<String>> {
    let all = pack_files(&pack_dir(git_dir))?.into_iter();
    let whole = all.filter(|(_, endings)| is_whole(endings));
    Ok(whole.map(|(name, _)| name).collect())
}

/// How many objects each pack has, of whatever kind.
pub(super) fn sizes(git_dir: &Path) -> io::Result<BTreeMap<String, u32>> {
    let packs = open(git_dir, all(git_dir)?)?.into_iter();
    Ok(packs.map(|pack| (pack.name.clone(), pack.size())).collect())
}

/// Whether files lie there that belong to no pack: of packs that were being dropped when the daemon was killed, or half
/// written ones that a killed git left long ago.
pub(super) fn has_leftovers(git_dir: &Path, now: SystemTime) -> io::Result<bool> {
    let dir = pack_dir(git_dir);
    let is_dropped = || {
        let files = pack_files(&dir)?;
        io::Result::Ok(files.values().any(|endings| endings.contains(DROPPED)))
    };
    Ok(is_dropped()? || !leftovers::find(&dir, now)?.is_empty())
}

/// Finds packs of which others of their kind have every object; of two with the same objects, the newer one stays.
///
/// `git repack -d` would remove such packs at once. Readers are waited for, maybe until long after the new packs came.
pub(super) fn replaced(git_dir: &Path) -> io::Result<Vec<Replaced>> {
    let mut all = Vec::new();
    for origin in KINDS {
        let mut packs = Vec::new();
        for pack in open(git_dir, names(git_dir, origin)?)? {
            packs.push((written_at(git_dir, &pack.name, "idx")?, pack));
        }
        packs.sort_by(|(a, one), (b, other)| (a, &one.name).cmp(&(b, &other.name)));
        let (mut gone, mut stay) = (Vec::new(), packs);
        let mut at = 0;
        while at < stay.len() {
            let (_, pack) = &stay[at];
            let others = || stay.iter().filter(|(_, other)| other.name != pack.name);
            let is_elsewhere = |oid| others().any(|(_, other)| other.has(oid));
            if pack.oids().all(is_elsewhere) {
                gone.push(stay.remove(at).1.name);
            } else {
                at += 1;
            }
        }
        if !gone.is_empty() {
            let by = stay.into_iter().map(|(_, pack)| pack.name).collect();
            all.push(Replaced {
                origin,
                names: gone,
                by,
            });
        }
    }
    Ok(all)
}

/// The names of the packs that are kept, by us or by somebody else.
pub(super) fn kept(git_dir: &Path) -> io::Result<BTreeSet<String>> {
    let all = pack_files(&pack_dir(git_dir))?.into_iter();
    let kept = all.filter(|(_, endings)| endings.contains(KEEP));
    Ok(kept.map(|(name, _)| name).collect())
}

/// The names of the cruft packs.
pub(super) fn cruft(git_dir: &Path) -> io::Result<BTreeSet<String>> {
    let all = pack_files(&pack_dir(git_dir))?;
    let mut names = names(git_dir, Origin::Upstream)?;
    names.retain(|name| all.get(name).is_some_and(|endings| endings.contains(CRUFT)));
    Ok(names)
}

/// How many bytes the packs of a kind have.
pub(super) fn bytes(git_dir: &Path, origin: Origin) -> io::Result<u64> {
    let dir = pack_dir(git_dir);
    names(git_dir, origin)?.iter().try_fold(0, |bytes, name| {
        Ok(bytes + fs::metadata(dir.join(format!("{name}.pack")))?.len())
    })
}

/// Where the objects of a pack come from; where that is not plain, from this mirror alone.
pub(super) fn origin(git_dir: &Path, name: &str) -> Origin {
    let dir = pack_dir(git_dir);
    let is_there = |ending: &str| dir.join(format!("{name}.{ending}")).exists();
    match is_there(KEEP) || is_there(PROMISOR) {
        true => Origin::LocalOnly,
        false => Origin::Upstream,
    }
}

/// When a file of a pack was written.
pub(super) fn written_at(git_dir: &Path, name: &str, ending: &str) -> io::Result<SystemTime> {
    fs::metadata(pack_dir(git_dir).join(format!("{name}.{ending}")))?.modified()
}

/// The names of the packs of a kind, cruft packs among upstream's.
pub(super) fn names(git_dir: &Path, origin: Origin) -> io::Result<BTreeSet<String>> {
    let (dir, mut names) = (pack_dir(git_dir), BTreeSet::new());
    for (name, endings) in pack_files(&dir)? {
        if kind(&dir, &name, &endings)? == Some(origin) {
            names.insert(name);
        }
    }
    Ok(names)
}

/// The kind of a pack; None when it is to be left as it is.
fn kind(dir: &Path, name: &str, endings: &BTreeSet<String>) -> io::Result<Option<Origin>> {
    if !is_whole(endings) || endings.contains(PROMISOR) {
        return Ok(None);
    }
    if !endings.contains(KEEP) {
        return Ok(Some(Origin::Upstream));
    }
    match fs::read(dir.join(format!("{name}.{KEEP}"))) {
        Ok(mark) => Ok((mark == LOCAL_MARK).then_some(Origin::LocalOnly)),
        // Somebody has just removed it.
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

/// The packs of these names.
pub(super) fn open(
    git_dir: &Path,
    names: impl IntoIterator<Item = String>,
) -> io::Result<Vec<Pack>> {
    let dir = pack_dir(git_dir);
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

impl Pack {
    /// How many objects it has.
    pub(super) fn size(&self) -> u32 {
        self.index.num_objects()
    }

    /// Whether it has an object.
    pub(super) fn has(&self, oid: &gix::oid) -> bool {
        self.index.lookup(oid).is_some()
    }

    fn oids(&self) -> impl Iterator<Item = &gix::oid> {
        (0..self.size()).map(|at| self.index.oid_at_index(at))
    }
}

#[cfg(test)]
mod tests;

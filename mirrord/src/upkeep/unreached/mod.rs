//! Objects that nothing reaches any more: what left the history, and what came with a sync or a push that then failed.
//!
//! Once a week they are looked for. Where there are many, they are put into a pack of their own, and what else there was
//! in their packs into another. Nothing is lost by that, and readers find all of it as before. A pack of theirs goes when
//! it is two weeks old. Before it does, all that the refs reach is walked in the packs that stay; and then, while nobody
//! reads the mirror or changes it, what the refs have come to reach since.

mod walk;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime},
};

use common::git;
use gix::{ObjectId, oid};

use self::walk::Roots;
use super::{
    indexes,
    packs::{self, AGING, Pack},
    repack::{LIMITS, ended},
};
use crate::{
    process::{child, watch::Watch},
    repository::quarantine::{self, Origin, Quarantine},
};

/// How often they are looked for.
const CHECK_INTERVAL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// What has only just come may wait to be named by a ref: such packs are left as they are.
const MIN_AGE: Duration = Duration::from_secs(10 * 60);

/// How long they stay after they were found.
const GRACE_PERIOD: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Of so many bytes one must be theirs to be worth writing anything anew.
const MIN_GARBAGE_SHARE: u64 = 20;

/// Less than so many bytes are not worth it in any mirror.
const MIN_GARBAGE_BYTES: u64 = 1024 * 1024;

/// In a mirror: written whenever they were looked for.
const LOOKED: &str = "looked";

/// In a mirror: written when it was made, and never again.
const BORN: &str = "description";

/// What goes when nobody reads the mirror.
#[derive(Default)]
pub(super) struct Going {
    /// Packs of which those that stay have every object.
    doubles: Vec<String>,
    /// Those that have it.
    stay: Vec<String>,
    /// Packs of objects origin time has come.
    old: Vec<String>,
    /// From where all was walked in the packs that stay.
    walked: Roots,
}

/// Whether it is time to look for them.
pub(super) fn is_time(git_dir: &Path, now: SystemTime) -> io::Result<bool> {
    let last = fs::metadata(git_dir.join(LOOKED)).or_else(|_| fs::metadata(git_dir.join(BORN)));
    let Ok(last) = last else {
        return Ok(git_dir.join("objects").is_dir());
    };
    // By a clock that was set back since, it is not.
    Ok(now
        .duration_since(last.modified()?)
        .is_ok_and(|since| since >= CHECK_INTERVAL))
}

/// Looks for them, and writes the packs that are to be in place of others. Returns what may go then.
pub(super) fn sort(git_dir: &Path, now: SystemTime, watch: &Watch) -> io::Result<Going> {
    // First: what cannot be walked would else be walked over and over.
    File::create(git_dir.join(LOOKED))?.set_modified(now)?;
    if git_dir.join("worktrees").exists() {
        // Somebody works in there, with objects that no ref has to name.
        return Ok(Going::default());
    }
    quarantine::sweep(git_dir)?;
    // Before the refs are read: what comes later is none of our business.
    let mut all = Sorted::of(git_dir)?;
    let roots = Roots::of(git_dir)?;
    let scratch = Quarantine::new(git_dir)?;
    let walked = scratch.path().join("walked");
    walk::list(git_dir, &roots, File::create(&walked)?, watch)?;
    for line in lines(&walked)? {
        all.mark(&oid_of(&line?)?);
    }
    let mut going = Going::default();
    let is_notable = all.is_notable(now);
    let (split, whole): (Vec<_>, Vec<_>) = all
        .fresh
        .into_iter()
        .partition(|pack| is_notable && pack.has_unreached(now));
    let (kept, left) = (scratch.path().join("kept"), scratch.path().join("left"));
    let is_marked =
        |packs: &[Marked], oid: &oid| packs.iter().any(|pack| pack.pack.at(oid).is_some());
    let is_in = |packs: &[Pack], oid: &oid| packs.iter().any(|pack| pack.at(oid).is_some());
    // In the order in which they were walked: that is how objects are laid out best.
    let are_kept = copy_lines(&walked, &kept, |oid| {
        let goes = is_marked(&split, oid) || (is_in(&all.aging, oid) && !is_in(&all.apart, oid));
        goes && !is_marked(&whole, oid)
    })?;
    let mut list = BufWriter::new(File::create(&left)?);
    for oid in split.iter().flat_map(Marked::not_reached) {
        writeln!(list, "{oid}")?;
    }
    list.flush()?;
    if !split.is_empty() {
        going.stay.push(write(git_dir, &left, Some(now), watch)?);
    }
    if are_kept {
        going.stay.push(write(git_dir, &kept, None, watch)?);
    }
    going
        .stay
        .extend(whole.into_iter().map(|pack| pack.pack.name));
    let names = split.iter().map(|pack| pack.pack.name.clone());
    // One that is the same as a new one has become it.
    going.doubles = names.filter(|name| !going.stay.contains(name)).collect();
    going.stays_whole(git_dir, &split)?;
    for Pack { name, .. } in all.aging {
        let since = packs::written(git_dir, &name, AGING)?;
        let is_old = now
            .duration_since(since)
            .is_ok_and(|age| age >= GRACE_PERIOD);
        if is_old && !going.stay.contains(&name) {
            going.old.push(name);
        }
    }
    if !going.old.is_empty() {
        walk::check_without(git_dir, &going.all(), &roots, &Roots::default(), watch)?;
        going.walked = roots;
    }
    Ok(going)
}

/// Drops what may go, if that is still so. Nobody may be reading the mirror or changing it.
pub(super) fn drop_all(git_dir: &Path, going: &Going, watch: &Watch) -> io::Result<()> {
    if !going.old.is_empty() {
        let roots = Roots::of(git_dir)?;
        walk::check_without(git_dir, &going.all(), &roots, &going.walked, watch)?;
        // It knows commits that go.
        indexes::forget_graph(git_dir)?;
    }
    packs::drop_doubles(git_dir, &going.doubles, &going.stay)?;
    packs::drop_aging(git_dir, &going.old)
}

impl Going {
    /// Whether there is nothing that may go.
    pub(super) fn is_empty(&self) -> bool {
        self.doubles.is_empty() && self.old.is_empty()
    }

    fn all(&self) -> BTreeSet<String> {
        self.doubles.iter().chain(&self.old).cloned().collect()
    }

    /// Looks whether what is to go is indeed in what stays.
    fn stays_whole(&self, git_dir: &Path, split: &[Marked]) -> io::Result<()> {
        let stay = packs::open(git_dir, self.stay.iter().cloned())?;
        let going = split
            .iter()
            .filter(|pack| self.doubles.contains(&pack.pack.name));
        for Marked { pack, .. } in going {
            let is_there =
                |at| -> bool { stay.iter().any(|other| other.at(pack.oid(at)).is_some()) };
            if !(0..pack.size()).all(is_there) {
                let name = &pack.name;
                return Err(io::Error::other(format!("'{name}' would be missed")));
            }
        }
        Ok(())
    }
}

/// A pack, and what of it is reached.
struct Marked {
    pack: Pack,
    /// How long it is, in bytes.
    bytes: u64,
    /// When it was written.
    since: SystemTime,
    /// Of each of its objects, in their order.
    marks: Vec<bool>,
    reached: u32,
}

impl Marked {
    fn of(git_dir: &Path, pack: Pack) -> io::Result<Self> {
        Ok(Self {
            bytes: fs::metadata(packs::folder(git_dir).join(pack.file_name()))?.len(),
            since: packs::written(git_dir, &pack.name, "idx")?,
            marks: vec![false; pack.size() as usize],
            pack,
            reached: 0,
        })
    }

    fn mark(&mut self, oid: &oid) {
        let Some(at) = self.pack.at(oid) else { return };
        let mark = &mut self.marks[at as usize];
        self.reached += u32::from(!*mark);
        *mark = true;
    }

    /// Whether some of it is not reached, though there was time enough.
    fn has_unreached(&self, now: SystemTime) -> bool {
        let is_old = now
            .duration_since(self.since)
            .is_ok_and(|age| age >= MIN_AGE);
        is_old && self.reached < self.pack.size()
    }

    /// About how many bytes that is.
    fn unreached_bytes(&self) -> u64 {
        let (all, reached) = (u64::from(self.pack.size()), u64::from(self.reached));
        self.bytes.saturating_mul(all - reached) / all.max(1)
    }

    fn not_reached(&self) -> impl Iterator<Item = &oid> {
        (0..self.pack.size())
            .zip(&self.marks)
            .filter(|(_, is_reached)| !**is_reached)
            .map(|(at, _)| self.pack.oid(at))
    }
}

/// The packs of a mirror.
struct Sorted {
    /// Of upstream's objects.
    fresh: Vec<Marked>,
    /// Of objects that nothing reached when they were looked for.
    aging: Vec<Pack>,
    /// Those that are kept.
    apart: Vec<Pack>,
}

impl Sorted {
    fn of(git_dir: &Path) -> io::Result<Self> {
        let fresh = packs::of(git_dir, Origin::Upstream)?.into_iter();
        Ok(Self {
            fresh: fresh
                .map(|pack| Marked::of(git_dir, pack))
                .collect::<io::Result<_>>()?,
            aging: packs::aging(git_dir)?,
            apart: packs::apart(git_dir)?,
        })
    }

    fn mark(&mut self, oid: &oid) {
        for pack in &mut self.fresh {
            pack.mark(oid);
        }
    }

    /// Whether there is something to be won.
    fn is_notable(&self, now: SystemTime) -> bool {
        let split = self.fresh.iter().filter(|pack| pack.has_unreached(now));
        let lost: u64 = split.map(Marked::unreached_bytes).sum();
        let all: u64 = self.fresh.iter().map(|pack| pack.bytes).sum();
        lost >= MIN_GARBAGE_BYTES && lost >= all / MIN_GARBAGE_SHARE
    }
}

/// Has git put the objects that a file lists into a pack, which begins to age now or not at all. Returns its name.
fn write(
    git_dir: &Path,
    list: &Path,
    ages: Option<SystemTime>,
    watch: &Watch,
) -> io::Result<String> {
    let quarantine = Quarantine::new(git_dir)?;
    let folder = quarantine.path().join("pack");
    let mut git = quarantine.git();
    git.args(LIMITS)
        .args(["pack-objects", "--delta-base-offset", "-q"])
        .arg(folder.join("pack"));
    let mut nice = git::niced(&git);
    nice.stdin(File::open(list)?).stdout(Stdio::piped());
    let written = ended(child::run(nice, Vec::new(), watch)?, watch)?;
    let name = format!("pack-{}", String::from_utf8_lossy(&written.stdout).trim());
    if let Some(now) = ages {
        File::create(folder.join(format!("{name}.{AGING}")))?.set_modified(now)?;
    }
    quarantine.release(Origin::Upstream)?;
    Ok(name)
}

/// Copies the lines of the objects that are wanted from one file to another. Returns whether there were any.
fn copy_lines(from: &Path, to: &Path, is_wanted: impl Fn(&oid) -> bool) -> io::Result<bool> {
    let mut copy = BufWriter::new(File::create(to)?);
    let mut is_any = false;
    for line in lines(from)? {
        let line = line?;
        if is_wanted(&oid_of(&line)?) {
            is_any = true;
            copy.write_all(&line)?;
            copy.write_all(b"\n")?;
        }
    }
    copy.flush()?;
    Ok(is_any)
}

fn lines(path: &Path) -> io::Result<impl Iterator<Item = io::Result<Vec<u8>>>> {
    Ok(BufReader::new(File::open(path)?).split(b'\n'))
}

/// The object of a line of `git rev-list --objects`: `<oid>`, or `<oid> <path>`.
fn oid_of(line: &[u8]) -> io::Result<ObjectId> {
    let hex = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    ObjectId::from_hex(hex).map_err(|_| io::Error::other("git lists what is no object"))
}

#[cfg(test)]
mod tests;

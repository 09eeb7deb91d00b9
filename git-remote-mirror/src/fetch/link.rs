//! Gives a clone the mirror's own packs, whole: as reflinks, hard links or copies.
//!
//! Nothing is walked: what a mirror shows has been checked, and its record says so of every file. Each file is compared
//! with that in the moment in which it is taken: by its ctime, and where that is another than was recorded by its digest.
//! A copy is hashed itself.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use common::packs::{
    derived::DerivedLock,
    digest::Digest,
    link::Link,
    listing::pack_dir,
    stamps::{self, LOCK_TIMEOUT, Stamp, Stamps},
    verified::{self, ENDINGS, Fit, NotVerified, TIPS, Verified},
};
use rustix::fs::ioctl_ficlone;

use crate::fetch::{pack_index::PackIndex, pack_objects};

/// git removes files of this name that nobody has finished.
const UNFINISHED: &str = "tmp_pack_mirror";

/// What git makes of a file in a pack's folder.
const MODE: u32 = 0o444;

/// A plan is made anew when packs have come or gone since, and not for ever.
const MAX_TRIES: usize = 5;
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// What has been put into a repository. It goes with this, unless somebody keeps it.
struct Placed {
    files: Vec<PathBuf>,
    means: Means,
}

/// Puts all packs of a mirror into an object directory in which there are none. Returns the path of a pack, without an
/// ending, in which all of these objects are found: names in hexadecimal.
pub(crate) fn link(
    mirror: &Path,
    objects: &Path,
    wants: &BTreeSet<Vec<u8>>,
    mode: Link,
) -> io::Result<PathBuf> {
    let names: Result<Vec<_>, _> = wants.iter().map(hex::decode).collect();
    let names = names.map_err(|_| ErrorKind::InvalidInput)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let Some(Fit { packs, tips }) = verified::fit(mirror)? else {
            if tries < MAX_TRIES {
                // A pack is being let in just now.
                thread::sleep(RETRY_INTERVAL);
                continue;
            }
            return Err(io::Error::other("its packs have not been verified"));
        };
        match place(mirror, &packs, objects, mode) {
            Ok(mut placed) => {
                let pack = match has_all(&packs, objects, &names)? {
                    Some(pack) => objects.join("pack").join(&pack.name),
                    None => match placed.tips(mirror, tips, objects, &names) {
                        Some(pack) => pack,
                        None => write_tips(mirror, objects, wants)?,
                    },
                };
                placed.keep();
                return Ok(pack);
            }
            Err(err) if err.kind() == ErrorKind::NotFound && tries < MAX_TRIES => {}
            Err(err) => return Err(err),
        }
    }
}

/// Puts some packs of a mirror into an object directory.
pub(crate) fn link_some(
    mirror: &Path,
    objects: &Path,
    names: &[&str],
    mode: Link,
) -> io::Result<()> {
    let fit = verified::fit(mirror)?.ok_or(ErrorKind::NotFound)?;
    let packs = fit.packs.into_iter();
    let packs: Vec<Verified> = packs.filter(|pack| names.contains(&&*pack.name)).collect();
    if packs.len() != names.len() {
        return Err(ErrorKind::NotFound.into());
    }
    place(mirror, &packs, objects, mode)?.keep();
    Ok(())
}

/// Puts a pack that was made for it into an object directory; with `promisor`, what that is says that what is missing in
/// it is so on purpose.
pub(crate) fn link_derived(
    held: &DerivedLock,
    pack: &Verified,
    promisor: Option<&[u8]>,
    objects: &Path,
    mode: Link,
) -> io::Result<()> {
    let to = objects.join("pack");
    fs::create_dir_all(&to)?;
    let mut placed = Placed {
        files: Vec::new(),
        means: Means::of(mode),
    };
    if let Some(words) = promisor {
        let file = to.join(format!("{}.promisor", pack.name));
        fill(&file, |new| new.write_all(words))?;
        placed.files.push(file);
    }
    let packs = std::slice::from_ref(pack);
    placed.add(&held.folder(), packs, &to, || held.stamps())?;
    placed.keep();
    Ok(())
}

/// Puts these packs in their places.
fn place(mirror: &Path, packs: &[Verified], objects: &Path, mode: Link) -> io::Result<Placed> {
    let to = objects.join("pack");
    fs::create_dir_all(&to)?;
    let mut placed = Placed {
        files: Vec::new(),
        means: Means::of(mode),
    };
    let stamps = || Stamps::lock(mirror, LOCK_TIMEOUT);
    placed.add(&pack_dir(mirror), packs, &to, stamps)?;
    Ok(placed)
}

/// The pack that has all of these.
fn has_all<'p>(
    packs: &'p [Verified],
    objects: &Path,
    names: &[Vec<u8>],
) -> io::Result<Option<&'p Verified>> {
    for pack in packs {
        let index = objects.join("pack").join(format!("{}.idx", pack.name));
        if PackIndex::open(&index)?.has_all(names)? {
            return Ok(Some(pack));
        }
    }
    Ok(None)
}

/// Writes a small pack that has just these, for git to see that all of them are there.
fn write_tips(mirror: &Path, objects: &Path, wants: &BTreeSet<Vec<u8>>) -> io::Result<PathBuf> {
    let lines: Vec<&[u8]> = wants.iter().flat_map(|want| [&**want, b"\n"]).collect();
    let made = pack_objects::run(mirror, objects, &["pack-objects"], &lines.concat(), false)?;
    let made = made.ok_or_else(|| io::Error::other("there are no tips"))?;
    Ok(objects.join("pack").join(made))
}

/// What works here; what has failed once is not tried again.
struct Means {
    reflink: bool,
    hard_link: bool,
    copy: bool,
}

impl Means {
    fn of(mode: Link) -> Self {
        Self {
            reflink: matches!(mode, Link::Auto | Link::Reflink),
            hard_link: matches!(mode, Link::Auto | Link::Hardlink),
            copy: mode != Link::Reflink && mode != Link::Off,
        }
    }

    /// Whether the file of the mirror may be shared with whoever is given it.
    fn can_share(&self) -> bool {
        self.reflink || self.hard_link
    }

    /// Makes `target` be what `source` is, without a copy; says whether it could.
    fn share(
        &mut self,
        source: &Path,
        digest: &Digest,
        target: &Path,
        apart: bool,
        stamps: &mut Stamps,
    ) -> io::Result<bool> {
        let file = stamps::open(source)?;
        // The only copy of somebody's work does not share its file with a clone.
        let hard_link = self.hard_link && !apart;
        if hard_link && file.metadata()?.permissions().mode() & 0o777 != MODE {
            file.set_permissions(Permissions::from_mode(MODE))?;
        }
        if !self.reflink && !hard_link {
            return Ok(false);
        }
        let Some(stamp) = stamps.verify(source, &file, digest, false, || false)? else {
            return Err(NotVerified(source.to_owned()).into());
        };
        if self.reflink {
            match fill(target, |new| {
                ioctl_ficlone(&*new, &file)?;
                // What was written since it was looked at may be in it.
                is_same(stamp == Stamp::of(&file.metadata()?))
            }) {
                Err(err) if is_elsewhere(&err) => self.reflink = false,
                done => return done.map(|()| true),
            }
        }
        if hard_link {
            match fs::hard_link(source, target) {
                Ok(()) => {
                    let now = Stamp::of(&fs::symlink_metadata(target)?);
                    if let Err(err) = is_same(now.is_but_linked(&stamp)) {
                        fs::remove_file(target)?;
                        return Err(err);
                    }
                    stamps.record(source, now);
                    return Ok(true);
                }
                Err(err) if is_elsewhere(&err) => self.hard_link = false,
                Err(err) => return Err(err),
            }
        }
        Ok(false)
    }

    /// Makes `target` a copy of `source`.
    fn copy(&self, source: &Path, digest: &Digest, target: &Path) -> io::Result<()> {
        if !self.copy {
            return Err(ErrorKind::Unsupported.into());
        }
        let mut file = stamps::open(source)?;
        fill(target, |new| {
            io::copy(&mut file, new)?;
            match Digest::of(new, || false)? == *digest {
                true => Ok(()),
                false => Err(NotVerified(source.to_owned()).into()),
            }
        })
    }
}

/// Whether it is this way of giving a file that does not work here, and another may.
fn is_elsewhere(err: &io::Error) -> bool {
    use ErrorKind::{CrossesDevices, InvalidInput, PermissionDenied, TooManyLinks, Unsupported};
    let kinds = [
        CrossesDevices,
        InvalidInput,
        PermissionDenied,
        TooManyLinks,
        Unsupported,
    ];
    // ENOTTY: a file system that does not know what a reflink is.
    kinds.contains(&err.kind()) || err.raw_os_error() == Some(25)
}

/// Whoever replaced the file since it was looked at, or wrote into it, has given us another one.
fn is_same(is_same: bool) -> io::Result<()> {
    match is_same {
        true => Ok(()),
        false => Err(ErrorKind::NotFound.into()),
    }
}

/// Makes a file that is there as a whole or not at all.
fn fill(target: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = target.with_file_name(format!("{UNFINISHED}_{name}"));
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).read(true).write(true);
    let mut new = options.open(&unfinished)?;
    let filled = fill(&mut new)
        .and_then(|()| new.set_permissions(Permissions::from_mode(MODE)))
        // A ref that names what is in it lasts, too.
        .and_then(|()| new.sync_all())
        .and_then(|()| fs::rename(&unfinished, target));
    if filled.is_err() {
        // What is left, git removes one day.
        let _ = fs::remove_file(&unfinished);
    }
    filled
}

impl Placed {
    /// Puts the files of these packs in their places, indexes last. As long as files may be shared, what `stamps` gives is
    /// locked: what another clone links meanwhile changes their ctimes, too.
    fn add(
        &mut self,
        from: &Path,
        packs: &[Verified],
        to: &Path,
        stamps: impl FnOnce() -> io::Result<Stamps>,
    ) -> io::Result<()> {
        let mut stamps = match self.means.can_share() {
            true => Some(stamps()?),
            false => None,
        };
        for ending in ENDINGS {
            for pack in packs {
                let Some(digest) = pack.files.get(ending) else {
                    continue;
                };
                let name = format!("{}.{ending}", pack.name);
                let (source, target) = (from.join(&name), to.join(&name));
                // Of two packs of one name either will do.
                if target.exists() {
                    continue;
                }
                stamps = stamps.filter(|_| self.means.can_share());
                let is_shared = match &mut stamps {
                    Some(stamps) => {
                        let apart = pack.apart;
                        self.means.share(&source, digest, &target, apart, stamps)?
                    }
                    None => false,
                };
                if !is_shared {
                    self.means.copy(&source, digest, &target)?;
                }
                self.files.push(target);
            }
        }
        Ok(())
    }

    /// Puts the mirror's pack of tips there, if it has all of these. Where it cannot be had, another one can be made.
    fn tips(
        &mut self,
        mirror: &Path,
        tips: Option<Verified>,
        objects: &Path,
        names: &[Vec<u8>],
    ) -> Option<PathBuf> {
        let (tips, from) = ([tips?], mirror.join(TIPS));
        let index = PackIndex::open(&from.join(format!("{}.idx", tips[0].name)));
        if !index.ok()?.has_all(names).ok()? {
            return None;
        }
        let to = objects.join("pack");
        let before = self.files.len();
        let stamps = || Stamps::lock(mirror, LOCK_TIMEOUT);
        if self.add(&from, &tips, &to, stamps).is_err() {
            // The daemon has just made another one; half of this one is nothing.
            for file in self.files.drain(before..).rev() {
                let _ = fs::remove_file(file);
            }
            return None;
        }
        Some(to.join(&tips[0].name))
    }

    fn keep(mut self) {
        self.files.clear();
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        // An index goes before its pack.
        for file in self.files.iter().rev() {
            let _ = fs::remove_file(file);
        }
    }
}

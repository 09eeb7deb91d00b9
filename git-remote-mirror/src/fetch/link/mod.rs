//! Links packs of a mirror, whole, into a client's object directory: as reflinks, hard links or copies.
//!
//! No history is walked. What a mirror shows has been verified, and its record has a digest of every file. At the moment
//! in which a file is linked it is compared with that record: by its ctime, and where that differs by its digest.
//! [`method`] does that for one file.

mod method;

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Stderr, Write},
    path::{Path, PathBuf},
};

use common::{
    packs::{
        derived::DerivedLock,
        digest::Digest,
        link::Link,
        listing::pack_dir,
        stamps::{self, LOCK_TIMEOUT, Stamps},
        verified::{self, ENDINGS, Fit, NotVerified, TIPS, Verified},
    },
    progress::Renderer,
    protocol::Amount,
};

use self::method::Methods;
use super::{pack_index::PackIndex, pack_objects};
use crate::wants::{self, Wants};

/// How often the list of packs is read: packs may come and go while they are linked.
const MAX_TRIES: usize = 5;

/// Links all packs of a mirror into an object directory without packs. Returns the path, without an ending, of a pack
/// that has all wanted objects.
pub(crate) fn link_all(
    mirror: &Path,
    objects: &Path,
    wants: &Wants,
    link: Link,
    progress: bool,
) -> io::Result<PathBuf> {
    let names: Result<Vec<_>, _> = wants.iter().map(hex::decode).collect();
    let names = names.map_err(|_| ErrorKind::InvalidInput)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let Fit { packs, tips } = verified::wait_until_fit(mirror)?;
        match link_packs(mirror, &packs, objects, link, progress) {
            Ok(mut linked) => {
                let pack = match find_pack_with_all(&packs, objects, &names)? {
                    Some(pack) => objects.join("pack").join(&pack.name),
                    None => match linked.add_tips(mirror, tips, objects, &names) {
                        Some(pack) => pack,
                        None => write_tips(mirror, objects, wants)?,
                    },
                };
                linked.keep();
                return Ok(pack);
            }
            Err(err) if err.kind() == ErrorKind::NotFound && tries < MAX_TRIES => {}
            Err(err) => return Err(err),
        }
    }
}

/// Finds the packs of these names, in their order.
pub(crate) fn find(mirror: &Path, names: &[&str]) -> io::Result<Vec<Verified>> {
    let mut fit = verified::fit(mirror)?.ok_or(ErrorKind::NotFound)?;
    let found = names.iter().map(|name| {
        let at = fit.packs.iter().position(|pack| pack.name == *name)?;
        Some(fit.packs.swap_remove(at))
    });
    let found: Option<_> = found.collect();
    found.ok_or_else(|| ErrorKind::NotFound.into())
}

/// Links packs of a mirror into an object directory.
pub(crate) fn link_some(
    mirror: &Path,
    objects: &Path,
    packs: &[Verified],
    link: Link,
    progress: bool,
) -> io::Result<()> {
    link_packs(mirror, packs, objects, link, progress)?.keep();
    Ok(())
}

/// Opens a pack of a mirror, after its content was compared with what was verified.
pub(crate) fn open(mirror: &Path, pack: &Verified) -> io::Result<File> {
    let path = pack_dir(mirror).join(&pack.name).with_extension("pack");
    let file = stamps::open(&path)?;
    match pack.files.get("pack") {
        Some(digest) if Digest::of(&file, || false)? == *digest => Ok(file),
        _ => Err(NotVerified(path).into()),
    }
}

/// Links a derived pack into an object directory. `promisor` is the content of the pack's `.promisor` file, by which git
/// knows that objects are missing on purpose.
pub(crate) fn link_derived(
    lock: &DerivedLock,
    pack: &Verified,
    promisor: Option<&[u8]>,
    objects: &Path,
    link: Link,
    progress: bool,
) -> io::Result<()> {
    let to = objects.join("pack");
    fs::create_dir_all(&to)?;
    let mut linked = Linked::new(link, progress);
    if let Some(content) = promisor {
        let file = to.join(format!("{}.promisor", pack.name));
        method::create(&file, |new| new.write_all(content))?;
        linked.files.push(file);
    }
    let packs = std::slice::from_ref(pack);
    linked.add(&lock.folder(), packs, &to, || lock.stamps())?;
    linked.keep();
    Ok(())
}

fn link_packs(
    mirror: &Path,
    packs: &[Verified],
    objects: &Path,
    link: Link,
    progress: bool,
) -> io::Result<Linked> {
    let to = objects.join("pack");
    fs::create_dir_all(&to)?;
    let mut linked = Linked::new(link, progress);
    let stamps = || Stamps::lock(mirror, LOCK_TIMEOUT);
    linked.add(&pack_dir(mirror), packs, &to, stamps)?;
    Ok(linked)
}

/// Finds a linked pack that has all of these objects.
fn find_pack_with_all<'p>(
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

/// Writes a small pack with just the wanted objects: git checks that the pack which it locks has all of them.
fn write_tips(mirror: &Path, objects: &Path, wants: &Wants) -> io::Result<PathBuf> {
    let lines = wants::lines(wants);
    let name = pack_objects::run(mirror, objects, &["pack-objects"], &lines, false)?;
    let name = name.ok_or_else(|| io::Error::other("there are no tips"))?;
    Ok(objects.join("pack").join(name))
}

/// Files that were put into an object directory. Dropping it removes them, unless [`Linked::keep`] was called.
struct Linked {
    files: Vec<PathBuf>,
    methods: Methods,
    renderer: Renderer<Stderr>,
}

impl Linked {
    fn new(link: Link, progress: bool) -> Self {
        Self {
            files: Vec::new(),
            methods: Methods::new(link),
            renderer: Renderer::stderr(progress),
        }
    }

    /// Links the files of these packs from one folder into another, indexes last. While files may be shared, the stamps
    /// are locked: another clone that hard-links a file at the same time changes its ctime, too.
    fn add(
        &mut self,
        from: &Path,
        packs: &[Verified],
        to: &Path,
        lock_stamps: impl FnOnce() -> io::Result<Stamps>,
    ) -> io::Result<()> {
        let mut stamps = match self.methods.can_share() {
            true => Some(lock_stamps()?),
            false => None,
        };
        let of = packs.iter().map(|pack| pack.files.len() as u64).sum();
        let mut done = 0;
        for ending in ENDINGS {
            for pack in packs {
                let Some(digest) = pack.files.get(ending) else {
                    continue;
                };
                done += 1;
                let name = format!("{}.{ending}", pack.name);
                let (source, target) = (from.join(&name), to.join(&name));
                // Packs of one name have the same objects.
                if target.exists() {
                    self.renderer.linked(Amount { done, of });
                    continue;
                }
                stamps = stamps.filter(|_| self.methods.can_share());
                let is_shared = match &mut stamps {
                    Some(stamps) => {
                        let apart = pack.apart;
                        self.methods
                            .share(&source, digest, &target, apart, stamps)?
                    }
                    None => false,
                };
                if !is_shared {
                    self.methods.copy(&source, digest, &target)?;
                }
                self.files.push(target);
                self.renderer.linked(Amount { done, of });
            }
        }
        Ok(())
    }

    /// Links the mirror's pack of tips, if it has all of these objects. Returns its path; None where it cannot be had, and
    /// another one is to be written.
    fn add_tips(
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
            // The daemon has just replaced it: what was linked of it has no use.
            remove_in_reverse(self.files.drain(before..));
            return None;
        }
        Some(to.join(&tips[0].name))
    }

    fn keep(mut self) {
        self.files.clear();
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.renderer.close();
        remove_in_reverse(self.files.drain(..));
    }
}

/// Removes files in the reverse order: an index goes before its pack.
fn remove_in_reverse(files: impl DoubleEndedIterator<Item = PathBuf>) {
    for file in files.rev() {
        let _ = fs::remove_file(file);
    }
}

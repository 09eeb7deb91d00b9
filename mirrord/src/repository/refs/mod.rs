//! Reads the refs of a mirror. All of them are in `packed-refs`, which is only ever replaced as a whole, and which has a
//! copy: [`check`] compares the two and repairs one from the other. [`publish`](super::publish) writes them.

mod check;
mod copy;
pub(crate) mod head;
pub(crate) mod lock;
mod reconcile;
mod recover;
pub(crate) mod write;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Stdio,
};

use common::{
    git::{self, child_log},
    packs::packed_refs::{self, PackedRef, PackedRefs, has_loose},
    refspec::{self, Refspecs, UpstreamRef},
};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

use crate::{process::durable, repository::objects::MAX_OBJECT_BYTES};

/// The file in a mirror that says when the last good sync was, in seconds since 1970.
pub(crate) const SYNCED: &str = "synced";

/// The file of all refs.
const PACKED: &str = packed_refs::FILE;

/// The file that names the branch which a clone checks out.
const HEAD: &str = "HEAD";

/// How often the refs are verified before the lock is given up: somebody else may change them whenever it is free.
const MAX_TRIES: usize = 5;

/// From so many refs on, what goes through all of them is avoided where it can be.
pub(crate) const MANY_REFS: usize = 2_000;

/// All refs of a mirror, by their names there: public refs, records and the mirror's own; `HEAD` aside.
pub(crate) type Refs = BTreeMap<BString, ObjectId>;

/// Refs of upstream, by their names there.
pub(crate) type UpstreamRefs = BTreeMap<UpstreamRef, ObjectId>;

/// Opens a mirror for one piece of work: gix keeps a fixed number of slots for packs, which a longer life would use up.
pub(crate) fn open(git_dir: &Path) -> io::Result<gix::Repository> {
    let options = gix::open::Options::isolated()
        .open_path_as_is(true)
        .config_overrides([format!("gitoxide.objects.allocLimit={MAX_OBJECT_BYTES}")])
        .with(gix::sec::Trust::Full);
    gix::open_opts(git_dir, options)
        .map_err(|err| io::Error::other(format!("cannot open '{}': {err}", git_dir.display())))
}

/// What `stat` says of a file. Two equal stamps are of the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct FileStamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    /// The ctime, which no program can set.
    changed: (i64, i64),
}

impl FileStamp {
    /// The stamp of a file now; the default where there is no file.
    fn of(path: &Path) -> Self {
        fs::metadata(path).map_or_else(|_| Self::default(), |file| Self::new(&file))
    }

    fn new(file: &fs::Metadata) -> Self {
        Self {
            inode: file.ino(),
            length: file.len(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// Whether a mirror has any ref, as far as the length of `packed-refs` tells.
pub(crate) fn has_any(git_dir: &Path) -> bool {
    fs::metadata(git_dir.join(PACKED))
        .is_ok_and(|file| file.len() > packed_refs::HEADER.len() as u64)
}

/// What `stat` says of the refs. Two equal stamps are of the same refs, because the files are only ever replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    packed: FileStamp,
    head: FileStamp,
}

impl Stamp {
    /// The stamp of a mirror's refs now.
    pub(crate) fn of(git_dir: &Path) -> Self {
        Self {
            packed: FileStamp::of(&git_dir.join(PACKED)),
            head: FileStamp::of(&git_dir.join(HEAD)),
        }
    }
}

/// The refs of one moment, as bytes: they are parsed when they are needed.
#[derive(Default)]
pub(crate) struct Snapshot {
    bytes: Vec<u8>,
    stamp: Stamp,
}

impl Snapshot {
    /// The refs now, verified. Loose refs, which only somebody outside the daemon makes, are packed first.
    pub(crate) fn take(git_dir: &Path) -> io::Result<Self> {
        verify(git_dir)?;
        Self::of_packed(git_dir)
    }

    /// The refs in `packed-refs`, for a caller that has verified them and has the lock.
    pub(crate) fn of_packed(git_dir: &Path) -> io::Result<Self> {
        let head = FileStamp::of(&git_dir.join(HEAD));
        let mut file = match fs::File::open(git_dir.join(PACKED)) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                let packed = FileStamp::default();
                let stamp = Stamp { packed, head };
                return Ok(Self {
                    bytes: Vec::new(),
                    stamp,
                });
            }
            file => file?,
        };
        let packed = FileStamp::new(&file.metadata()?);
        let stamp = Stamp { packed, head };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Self { bytes, stamp })
    }

    /// The refs in a copy of `packed-refs`.
    fn of_bytes(bytes: Vec<u8>) -> Self {
        let stamp = Stamp::default();
        Self { bytes, stamp }
    }

    /// The content of `packed-refs`.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The stamp of the files when they were read.
    pub(crate) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// The refs.
    pub(crate) fn refs(&self, git_dir: &Path) -> io::Result<Refs> {
        // They are sorted, and to make a map of sorted entries at once takes a fraction of the time.
        let mut refs = Vec::new();
        self.for_each(git_dir, |entry| {
            refs.push((entry.name.to_owned(), entry.object));
        })?;
        Ok(refs.into_iter().collect())
    }

    /// Each object that a ref names, with what it is peeled to, where it is a tag. The file has that already, so that no
    /// object has to be read.
    pub(crate) fn peeled(&self, git_dir: &Path) -> io::Result<HashMap<ObjectId, Option<ObjectId>>> {
        let mut peeled = HashMap::new();
        if PackedRefs::parse(&self.bytes).is_ok_and(|refs| refs.is_fully_peeled()) {
            self.for_each(git_dir, |entry| {
                peeled.insert(entry.object, entry.peeled);
            })?;
        }
        Ok(peeled)
    }

    fn for_each(&self, git_dir: &Path, mut visit: impl FnMut(Entry<'_>)) -> io::Result<()> {
        let damaged = || {
            let path = git_dir.join(PACKED);
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("'{}' is damaged", path.display()),
            )
        };
        if self.bytes.is_empty() {
            return Ok(());
        }
        let format = open(git_dir)?.object_hash();
        for entry in PackedRefs::parse(&self.bytes).map_err(|_| damaged())? {
            let entry = entry.ok().and_then(|entry| Entry::parse(&entry, format));
            visit(entry.ok_or_else(damaged)?);
        }
        Ok(())
    }
}

/// A ref in `packed-refs`.
struct Entry<'f> {
    name: &'f BStr,
    object: ObjectId,
    peeled: Option<ObjectId>,
}

impl<'f> Entry<'f> {
    /// Checks the name and the objects; None where one of them is not as git writes it.
    fn parse(packed: &PackedRef<'f>, format: gix::hash::Kind) -> Option<Self> {
        let oid = |hex: &[u8]| {
            let oid = ObjectId::from_hex(hex).ok();
            oid.filter(|oid| oid.kind() == format)
        };
        Some(Self {
            name: gix::validate::reference::name(packed.name.into()).ok()?,
            object: oid(packed.object)?,
            peeled: match packed.peeled {
                Some(hex) => Some(oid(hex)?),
                None => None,
            },
        })
    }
}

/// Reads all refs.
pub(crate) fn read(git_dir: &Path) -> io::Result<Refs> {
    Snapshot::take(git_dir)?.refs(git_dir)
}

/// What upstream had of what is tracked.
pub(crate) fn records(refs: &Refs, track: &Refspecs) -> UpstreamRefs {
    let recorded = refs.iter().filter_map(|(name, oid)| {
        let name = refspec::recorded(name).filter(|name| track.public(name).is_some())?;
        Some((name, *oid))
    });
    recorded.collect()
}

/// Whether a ref is a record.
pub(crate) fn is_record(name: &[u8]) -> bool {
    name.starts_with(refspec::RECORDS.as_bytes())
}

/// A ref that cannot exist beside `name`, as `a` cannot exist beside `a/b`.
pub(crate) fn conflicting<'r>(refs: &'r Refs, name: &BStr) -> Option<&'r BString> {
    let above = name
        .char_indices()
        .filter(|(_, _, c)| *c == '/')
        .find_map(|(at, _, _)| refs.get_key_value(name[..at].as_bstr()));
    let below = || {
        let below = BString::from([name.as_bytes(), b"/"].concat());
        refs.range(below.clone()..)
            .next()
            .filter(|(other, _)| other.starts_with(&below))
    };
    above.or_else(below).map(|(other, _)| other)
}

/// Verifies `packed-refs` and `HEAD`: repairs them where they are damaged or gone, and packs loose refs. What somebody else
/// has changed on purpose stays.
pub(crate) fn verify(git_dir: &Path) -> io::Result<()> {
    let has_loose = match has_loose(&git_dir.join("refs")) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            check::make_dirs(git_dir)?;
            false
        }
        found => found?,
    };
    if has_loose && pack_loose(git_dir)?.is_some() {
        // git packs nothing into a file that it cannot read.
        check::check(git_dir)?;
        // Or somebody has the lock: wait for it.
        drop(lock::acquire(git_dir)?);
        if let Some(message) = pack_loose(git_dir)? {
            let git_dir = git_dir.display();
            return Err(io::Error::other(format!(
                "cannot pack the refs of '{git_dir}': {message}"
            )));
        }
    }
    check::check(git_dir)
}

/// Why the records are not to be believed, when `packed-refs` and its copy were lost and upstream has not been asked since.
pub(crate) fn lost_reason(git_dir: &Path) -> Option<String> {
    check::lost_reason(git_dir)
}

/// Removes the reason: upstream has been asked.
pub(crate) fn clear_lost(git_dir: &Path) -> io::Result<()> {
    durable::remove(&git_dir.join(check::LOST))
}

/// Verifies the refs, and takes their lock.
pub(crate) fn lock_verified(git_dir: &Path) -> io::Result<gix::lock::File> {
    for _ in 0..MAX_TRIES {
        verify(git_dir)?;
        let lock = lock::acquire(git_dir)?;
        if check::is_verified(git_dir) {
            return Ok(lock);
        }
    }
    Err(io::Error::other("its refs change too fast"))
}

/// Has git pack loose refs. Returns git's message when it cannot.
fn pack_loose(git_dir: &Path) -> io::Result<Option<String>> {
    let mut git = git::at(git_dir);
    git.args(["pack-refs", "--all", "--prune"]);
    let output = child_log::output(git.stdin(Stdio::null()))?;
    if output.status.success() {
        return Ok(None);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    Ok(Some(message.lines().next().unwrap_or_default().to_owned()))
}

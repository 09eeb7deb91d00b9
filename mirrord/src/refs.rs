//! Reads the refs of a mirror. They are all in `packed-refs`, which is only ever replaced as a whole.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Stdio,
    time::SystemTime,
};

use common::{
    git,
    refspec::{self, Refspecs},
};
use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
    refs::packed,
};

/// All refs of a repository, as packed; `HEAD` aside.
pub(crate) type Refs = BTreeMap<BString, ObjectId>;

/// Opens a mirror for one piece of work: a handle that lives longer runs out of room for new packs.
///
/// # Errors
/// Fails when it is not a repository.
pub(crate) fn open(git_dir: &Path) -> io::Result<gix::Repository> {
    let options = gix::open::Options::isolated()
        .open_path_as_is(true)
        .with(gix::sec::Trust::Full);
    gix::open_opts(git_dir, options)
        .map_err(|err| io::Error::other(format!("cannot open '{}': {err}", git_dir.display())))
}

/// What can be told of the refs without reading them. Two equal stamps are of the same refs: a file is only ever
/// replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stamp {
    inode: u64,
    modified: Option<SystemTime>,
    length: u64,
}

impl Stamp {
    /// The stamp of a mirror's refs now.
    pub(crate) fn of(git_dir: &Path) -> Self {
        fs::metadata(git_dir.join("packed-refs"))
            .map_or_else(|_| Self::default(), |file| Self::new(&file))
    }

    fn new(file: &fs::Metadata) -> Self {
        Self {
            inode: file.ino(),
            modified: file.modified().ok(),
            length: file.len(),
        }
    }
}

/// The refs of one moment, read when it was and understood when they are needed.
#[derive(Default)]
pub(crate) struct Snapshot {
    bytes: Vec<u8>,
    stamp: Stamp,
}

impl Snapshot {
    /// The refs now. Loose ones, which only a hand from outside makes, are packed first.
    ///
    /// # Errors
    /// Fails when `packed-refs` cannot be read.
    pub(crate) fn take(git_dir: &Path) -> io::Result<Self> {
        fold(git_dir)?;
        Self::of_packed(git_dir)
    }

    /// The refs now, for whoever holds their lock and has folded loose ones in before.
    pub(crate) fn of_packed(git_dir: &Path) -> io::Result<Self> {
        let mut file = match fs::File::open(git_dir.join("packed-refs")) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            file => file?,
        };
        let stamp = Stamp::new(&file.metadata()?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(Self { bytes, stamp })
    }

    /// Its stamp.
    pub(crate) fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// The refs.
    ///
    /// # Errors
    /// Fails when `packed-refs` is not one.
    pub(crate) fn refs(&self, git_dir: &Path) -> io::Result<Refs> {
        let mut refs = Refs::new();
        self.each(git_dir, |entry| {
            refs.insert(entry.name.as_bstr().to_owned(), entry.target());
        })?;
        Ok(refs)
    }

    /// What the objects that refs name point to, where those are tags. Whoever wrote them down has looked, so that
    /// nobody has to look again.
    ///
    /// # Errors
    /// Fails when `packed-refs` is not one.
    pub(crate) fn peeled(&self, git_dir: &Path) -> io::Result<HashMap<ObjectId, Option<ObjectId>>> {
        let mut peeled = HashMap::new();
        if self
            .bytes
            .lines()
            .next()
            .is_some_and(|first| first.contains_str(" fully-peeled "))
        {
            self.each(git_dir, |entry| {
                let object = entry.object.map(|_| entry.object());
                peeled.insert(entry.target(), object);
            })?;
        }
        Ok(peeled)
    }

    fn each(&self, git_dir: &Path, mut see: impl FnMut(packed::Reference<'_>)) -> io::Result<()> {
        let damaged = || {
            let path = git_dir.join("packed-refs");
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("'{}' is damaged", path.display()),
            )
        };
        if self.bytes.is_empty() {
            return Ok(());
        }
        let format = open(git_dir)?.object_hash();
        for entry in packed::Iter::new(&self.bytes, format).map_err(|_| damaged())? {
            see(entry.map_err(|_| damaged())?);
        }
        Ok(())
    }
}

/// Reads all refs.
///
/// # Errors
/// Fails when they cannot be read.
pub(crate) fn read(git_dir: &Path) -> io::Result<Refs> {
    Snapshot::take(git_dir)?.refs(git_dir)
}

/// What upstream had of what is tracked, by upstream's names.
pub(crate) fn records(refs: &Refs, track: &Refspecs) -> Refs {
    let recorded = refs.iter().filter_map(|(name, oid)| {
        let name = refspec::recorded(name).filter(|name| track.public(name).is_some())?;
        Some((BString::from(name), *oid))
    });
    recorded.collect()
}

/// Whether a ref says what upstream had.
pub(crate) fn is_record(name: &[u8]) -> bool {
    name.starts_with(refspec::RECORDS.as_bytes())
}

/// A ref that cannot exist beside `name`: one that is a directory of it, or that it is a directory of.
pub(crate) fn in_the_way<'r>(refs: &'r Refs, name: &BStr) -> Option<&'r BString> {
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

/// Packs loose refs.
///
/// # Errors
/// Fails when git cannot.
pub(crate) fn fold(git_dir: &Path) -> io::Result<()> {
    if !has_loose(&git_dir.join("refs"))? {
        return Ok(());
    }
    let status = git::at(git_dir)
        .args(["pack-refs", "--all", "--prune"])
        .stderr(Stdio::null())
        .status()?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "cannot pack the refs of '{}'",
        git_dir.display()
    )))
}

fn has_loose(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || has_loose(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

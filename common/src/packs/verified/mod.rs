//! Which packs of a mirror a client may be handed: those of which every byte has been verified, as long as the content
//! of their files is the same.
//!
//! The daemon writes down a digest of each file when it is verified, in one file per mirror; whoever hands packs out
//! compares (see [`crate::packs::stamps`]). A mirror in which other packs lie than the record has hands out none.

use std::{
    collections::BTreeMap,
    error, fmt,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::packs::{
    digest::Digest,
    listing::{pack_dir, pack_files},
    stamps::{self, LOCK_TIMEOUT, Stamp, Stamps, open},
};

/// The file of the record, inside a mirror.
const RECORD: &str = "verified";

/// The folder of the pack of tips, inside a mirror. Git does not look for objects in it.
pub const TIPS: &str = "tips/pack";

/// The beginning of the line about it.
const TIPS_LINE: &str = "tips ";

/// The files of a pack that are handed out, in the order in which they appear: git looks for indexes.
pub const ENDINGS: [&str; 3] = ["pack", "rev", "idx"];

/// The ending beside packs that lack objects on purpose.
const UNFIT: &str = "promisor";

/// How long the daemon may take to let packs into a mirror: it syncs each file to disk.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause while it does.
const RETRY_INTERVAL: Duration = Duration::from_millis(2);

/// The files of one pack, by their endings.
pub type Files = BTreeMap<&'static str, Stamp>;

/// The verified digests of the files of one pack, by their endings.
pub type Digests = BTreeMap<&'static str, Digest>;

/// The stamps and digests of the files of one pack when they were hashed, by their endings.
pub type Hashed = BTreeMap<&'static str, (Stamp, Digest)>;

/// The record of what was verified of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Whether all that the refs reach was in these packs.
    pub complete: bool,
    /// The digests of each pack, by its name.
    pub packs: BTreeMap<String, Digests>,
    /// A small pack of all that refs name and nothing else, in a folder of its own.
    pub tips: Option<(String, Digests)>,
}

/// A pack as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// The name of the pack: `pack-` and git's hash of its content.
    pub name: String,
    /// The files of the pack.
    pub files: Files,
    /// Whether it is kept apart, because it has what this mirror alone has.
    pub apart: bool,
}

/// Returns the digests, which are recorded.
#[must_use]
pub fn digests(hashed: &Hashed) -> Digests {
    let files = hashed.iter();
    files
        .map(|(ending, (_, digest))| (*ending, *digest))
        .collect()
}

/// A pack that may be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The name of the pack.
    pub name: String,
    /// The digests that its files must have.
    pub files: Digests,
    /// Whether it is kept apart, because it has what this mirror alone has.
    pub apart: bool,
}

/// The content of a file is not what was verified.
#[derive(Debug)]
pub struct NotVerified(/** The file. */ pub PathBuf);

impl error::Error for NotVerified {}

impl fmt::Display for NotVerified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not what was verified", self.0.display())
    }
}

impl NotVerified {
    /// Whether this is why something failed.
    #[must_use]
    pub fn is(err: &io::Error) -> bool {
        err.get_ref()
            .is_some_and(<dyn error::Error + Send + Sync>::is::<Self>)
    }
}

impl From<NotVerified> for io::Error {
    fn from(err: NotVerified) -> Self {
        Self::other(err)
    }
}

impl Record {
    /// Reads the record of a mirror; a blank one when there is none, or none that is whole.
    ///
    /// # Errors
    /// Fails when the file cannot be read.
    pub fn read(git_dir: &Path) -> io::Result<Self> {
        match fs::read_to_string(path(git_dir)) {
            // One of before there were digests is not read either, and all is verified anew.
            Ok(text) => Ok(Self::parse(&text).unwrap_or_default()),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(err) => Err(err),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix("end\n")?.lines();
        let complete = match lines.next()? {
            "complete" => true,
            "incomplete" => false,
            _ => return None,
        };
        let mut record = Self {
            complete,
            ..Self::default()
        };
        for line in lines {
            match line.strip_prefix(TIPS_LINE) {
                Some(line) => record.tips = Some(parse(line)?),
                None => {
                    let (name, files) = parse(line)?;
                    record.packs.insert(name, files);
                }
            }
        }
        Some(record)
    }

    /// Returns the content of the file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from(match self.complete {
            true => "complete\n",
            false => "incomplete\n",
        });
        let packs = self.packs.iter().map(|(name, files)| ("", name, files));
        let tips = self.tips.iter();
        let tips = tips.map(|(name, files)| (TIPS_LINE, name, files));
        for (begin, name, files) in packs.chain(tips) {
            text.push_str(begin);
            text.push_str(&line(name, files));
        }
        text + "end\n"
    }

    /// Whether these are the packs that it has, with the same files, and no others.
    #[must_use]
    pub fn is_of(&self, packs: &[Pack]) -> bool {
        self.complete && packs.len() == self.packs.len() && packs.iter().all(|pack| self.has(pack))
    }

    /// Whether it has this pack, with the same files.
    #[must_use]
    pub fn has(&self, pack: &Pack) -> bool {
        let known = self.packs.get(&pack.name);
        known.is_some_and(|known| known.keys().eq(pack.files.keys()))
    }

    /// The files that it has a digest of, the pack of tips among them.
    pub fn files(&self, git_dir: &Path) -> impl Iterator<Item = (PathBuf, &Digest)> {
        let folder = pack_dir(git_dir);
        let packs = self.packs.iter().map(move |pack| (folder.clone(), pack));
        let tips = self.tips.iter();
        let tips = tips.map(|(name, files)| (git_dir.join(TIPS), (name, files)));
        packs.chain(tips).flat_map(|(folder, (name, files))| {
            let file = move |ending: &&str| folder.join(format!("{name}.{ending}"));
            files
                .iter()
                .map(move |(ending, digest)| (file(ending), digest))
        })
    }
}

/// A pack and what its files have to be, as a line of their own.
pub(crate) fn line(name: &str, files: &Digests) -> String {
    let mut line = name.to_owned();
    for (ending, digest) in files {
        let _ = write!(line, " {ending}={digest}");
    }
    line + "\n"
}

/// Reads a pack and what its files have to be.
pub(crate) fn parse(line: &str) -> Option<(String, Digests)> {
    let mut fields = line.split(' ');
    let name = fields.next()?.to_owned();
    let mut files = Digests::new();
    for word in fields {
        let (ending, digest) = word.split_once('=')?;
        let ending = ENDINGS.into_iter().find(|known| *known == ending)?;
        files.insert(ending, digest.parse().ok()?);
    }
    Some((name, files))
}

/// Returns the path of the record of a mirror.
#[must_use]
pub fn path(git_dir: &Path) -> PathBuf {
    git_dir.join(RECORD)
}

/// The packs that are in a folder now, the largest first.
///
/// # Errors
/// Fails when the folder cannot be read.
pub fn packs(folder: &Path) -> io::Result<Vec<Pack>> {
    let mut packs = Vec::new();
    for (name, endings) in pack_files(folder)? {
        let has = |ending: &str| endings.contains(ending);
        if !has("pack") || !has("idx") || has(UNFIT) {
            continue;
        }
        let mut files = Files::new();
        for ending in ENDINGS.into_iter().filter(|ending| has(ending)) {
            // A link to somewhere else is another file than the one that was verified.
            match fs::symlink_metadata(folder.join(format!("{name}.{ending}"))) {
                Ok(file) => drop(files.insert(ending, Stamp::of(&file))),
                // It has just gone.
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
        packs.push(Pack {
            apart: has("keep"),
            name,
            files,
        });
    }
    packs.sort_by_key(|pack| std::cmp::Reverse(pack.length()));
    Ok(packs)
}

impl Pack {
    /// The digests of its files, which nobody else has yet.
    ///
    /// # Errors
    /// Fails when one cannot be read.
    pub fn digests(&self, folder: &Path) -> io::Result<Digests> {
        let digest = |ending: &&'static str| {
            let file = open(&folder.join(format!("{}.{ending}", self.name)))?;
            Ok((*ending, Digest::of(&file, || false)?))
        };
        self.files.keys().map(digest).collect()
    }

    /// Hashes its files, and says what they were meanwhile.
    ///
    /// # Errors
    /// Fails when one cannot be read, changes meanwhile, or when that is cancelled.
    pub fn hash(&self, folder: &Path, is_cancelled: impl Fn() -> bool) -> io::Result<Hashed> {
        let hash = |ending: &&'static str| {
            let file = open(&folder.join(format!("{}.{ending}", self.name)))?;
            Ok((*ending, stamps::hash(&file, &is_cancelled)?))
        };
        self.files.keys().map(hash).collect()
    }

    /// Returns the length of the pack without its indexes, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.files.get("pack").map_or(0, Stamp::length)
    }
}

/// The packs of a mirror that may be handed out, after each file was compared with its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// The packs, the largest first.
    pub packs: Vec<Verified>,
    /// The pack of tips; it may be older than the refs.
    pub tips: Option<Verified>,
}

/// The packs of a mirror that may be handed out: all that it has, or else none.
///
/// # Errors
/// Fails when they cannot be looked at.
pub fn fit(git_dir: &Path) -> io::Result<Option<Fit>> {
    if has_others(git_dir)? {
        return Ok(None);
    }
    let packs = packs(&pack_dir(git_dir))?;
    let mut record = Record::read(git_dir)?;
    if !record.is_of(&packs) {
        return Ok(None);
    }
    let packs = packs.into_iter().map(|Pack { name, apart, .. }| Verified {
        files: record.packs.remove(&name).unwrap_or_default(),
        name,
        apart,
    });
    Ok(Some(Fit {
        packs: packs.collect(),
        tips: record.tips.map(|(name, files)| Verified {
            name,
            files,
            apart: false,
        }),
    }))
}

/// Reads the packs as [`fit`] does. Between two steps of letting a pack in they do not fit: that is waited for.
///
/// # Errors
/// Fails when they do not fit for longer, and when that cannot be told.
pub fn wait_until_fit(git_dir: &Path) -> io::Result<Fit> {
    let deadline = Instant::now() + ADMISSION_TIMEOUT;
    loop {
        match fit(git_dir)? {
            Some(fit) => return Ok(fit),
            None if Instant::now() < deadline => thread::sleep(RETRY_INTERVAL),
            None => return Err(io::Error::other("its packs have not been verified")),
        }
    }
}

/// Fails unless the packs of a mirror are what was verified, for who makes something of them that is handed out. Where
/// that is not known by their ctime, they are hashed.
///
/// # Errors
/// Fails with [`NotVerified`] when a file is not, and when that cannot be told.
pub fn require(git_dir: &Path) -> io::Result<()> {
    let fit = wait_until_fit(git_dir)?;
    let mut stamps = Stamps::lock(git_dir, LOCK_TIMEOUT)?;
    for Verified { name, files, .. } in fit.packs {
        for (ending, digest) in files {
            let path = pack_dir(git_dir).join(format!("{name}.{ending}"));
            let is_it = stamps.verify(&path, &open(&path)?, &digest, false, || false)?;
            is_it.ok_or(NotVerified(path))?;
        }
    }
    Ok(())
}

/// Whether there are objects that are in no pack, or in another repository: a hand from outside can have done that.
fn has_others(git_dir: &Path) -> io::Result<bool> {
    let objects = git_dir.join("objects");
    if objects.join("info/alternates").exists() {
        return Ok(true);
    }
    for entry in fs::read_dir(objects)? {
        let entry = entry?;
        // A loose object is in a folder that is called by the first byte of its name.
        if entry.file_name().len() == 2 && fs::read_dir(entry.path())?.next().is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;

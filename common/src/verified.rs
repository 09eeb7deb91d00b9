//! Which packs of a mirror a client may be handed: those of which every byte has been verified, as long as their files
//! have not changed since.
//!
//! The daemon writes down what each file was when it was verified, in one file per mirror; whoever hands packs out
//! compares. A mirror of which the record says anything else than what is on disk hands out none.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Where the record is, inside a mirror.
const RECORD: &str = "verified";

/// Where the pack of tips is, inside a mirror: not among those in which git looks for objects.
pub const TIPS: &str = "tips/pack";

/// How its line begins.
const TIPS_LINE: &str = "tips ";

/// The files of a pack that are handed out, in the order in which they appear: git looks for indexes.
pub const ENDINGS: [&str; 3] = ["pack", "rev", "idx"];

/// Of packs with these, not every object is there or wanted.
const UNFIT: [&str; 2] = ["promisor", "mtimes"];

/// What a file was. A hard link or a rename changes none of it, and hardly anything else leaves all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    length: u64,
    seconds: i64,
    nanoseconds: i64,
    inode: u64,
}

/// The files of one pack, by their endings.
pub type Files = BTreeMap<&'static str, Stamp>;

/// What has been verified of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Whether all that the refs reach was in these packs.
    pub complete: bool,
    /// By the names of the packs.
    pub packs: BTreeMap<String, Files>,
    /// A small pack of all that refs name and nothing else, in a folder of its own.
    pub tips: Option<(String, Files)>,
}

/// A pack as it is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Its name, `pack-` and what git makes of what is in it.
    pub name: String,
    /// Its files.
    pub files: Files,
    /// Whether it is kept apart, because it has what this mirror alone has.
    pub apart: bool,
}

impl Stamp {
    /// What a file is now.
    #[must_use]
    pub fn of(file: &fs::Metadata) -> Self {
        Self {
            length: file.len(),
            seconds: file.mtime(),
            nanoseconds: file.mtime_nsec(),
            inode: file.ino(),
        }
    }

    /// How long it is, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split('.');
        let stamp = Self {
            length: words.next()?.parse().ok()?,
            seconds: words.next()?.parse().ok()?,
            nanoseconds: words.next()?.parse().ok()?,
            inode: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(stamp)
    }
}

impl Record {
    /// Reads the record of a mirror; a blank one when there is none, or none that is whole.
    ///
    /// # Errors
    /// Fails when the file cannot be read.
    pub fn read(git_dir: &Path) -> io::Result<Self> {
        match fs::read_to_string(path(git_dir)) {
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

    /// As it is written.
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

    /// Whether it says of all these packs what they are now, and of no others.
    #[must_use]
    pub fn is_of(&self, packs: &[Pack]) -> bool {
        let same = |pack: &Pack| self.packs.get(&pack.name) == Some(&pack.files);
        self.complete && packs.len() == self.packs.len() && packs.iter().all(same)
    }
}

/// A pack and its files, as a line of their own.
pub(crate) fn line(name: &str, files: &Files) -> String {
    let mut line = name.to_owned();
    for (ending, stamp) in files {
        let Stamp {
            length,
            seconds,
            nanoseconds,
            inode,
        } = stamp;
        let _ = write!(line, " {ending}={length}.{seconds}.{nanoseconds}.{inode}");
    }
    line + "\n"
}

/// Reads a pack and its files.
pub(crate) fn parse(line: &str) -> Option<(String, Files)> {
    let mut words = line.split(' ');
    let name = words.next()?.to_owned();
    let mut files = Files::new();
    for word in words {
        let (ending, stamp) = word.split_once('=')?;
        let ending = ENDINGS.into_iter().find(|known| *known == ending)?;
        files.insert(ending, Stamp::parse(stamp)?);
    }
    Some((name, files))
}

/// Where the record of a mirror is.
#[must_use]
pub fn path(git_dir: &Path) -> PathBuf {
    git_dir.join(RECORD)
}

/// Where the packs of a mirror are.
#[must_use]
pub fn folder(git_dir: &Path) -> PathBuf {
    git_dir.join("objects/pack")
}

/// The packs that are in a folder now, the largest first.
///
/// # Errors
/// Fails when the folder cannot be read.
pub fn packs(folder: &Path) -> io::Result<Vec<Pack>> {
    let mut endings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some((pack, ending)) = name.to_string_lossy().split_once('.')
            && pack.starts_with("pack-")
        {
            let endings = endings.entry(pack.to_owned()).or_default();
            endings.push(ending.to_owned());
        }
    }
    let mut packs = Vec::new();
    for (name, endings) in endings {
        let has = |ending: &str| endings.iter().any(|each| each == ending);
        if !has("pack") || !has("idx") || UNFIT.into_iter().any(has) {
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
    /// How long it is without its indexes, in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.files.get("pack").map_or(0, Stamp::length)
    }
}

/// What of a mirror may be handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// Its packs, the largest first.
    pub packs: Vec<Pack>,
    /// The pack of tips; it may be older than the refs.
    pub tips: Option<Pack>,
}

/// The packs of a mirror that may be handed out: all that it has, or else none.
///
/// # Errors
/// Fails when they cannot be looked at.
pub fn fit(git_dir: &Path) -> io::Result<Option<Fit>> {
    if has_others(git_dir)? {
        return Ok(None);
    }
    let packs = packs(&folder(git_dir))?;
    let record = Record::read(git_dir)?;
    Ok(record.is_of(&packs).then(|| Fit {
        packs,
        tips: record.tips.map(|(name, files)| Pack {
            name,
            files,
            apart: false,
        }),
    }))
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
mod tests {
    use super::*;

    fn mirror() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::create_dir_all(folder(dir.path())).expect("ours");
        dir
    }

    fn put(dir: &Path, file: &str, content: &str) {
        fs::write(folder(dir).join(file), content).expect("ours");
    }

    fn packs_of(dir: &Path) -> Vec<Pack> {
        packs(&folder(dir)).expect("there")
    }

    fn verify(dir: &Path, complete: bool) {
        let packs = packs(&folder(dir)).expect("there").into_iter();
        let packs = packs.map(|pack| (pack.name, pack.files)).collect();
        let tips = packs_of(dir).pop();
        let tips = tips.map(|pack| (pack.name, pack.files));
        let record = Record {
            complete,
            packs,
            tips,
        };
        fs::write(path(dir), record.text()).expect("ours");
        assert_eq!(Record::read(dir).expect("whole"), record);
    }

    fn names(dir: &Path) -> Option<Vec<String>> {
        let packs = fit(dir).expect("readable");
        packs.map(|fit| fit.packs.into_iter().map(|pack| pack.name).collect())
    }

    #[test]
    fn what_is_as_it_was_when_it_was_verified_is_fit() {
        let dir = mirror();
        let dir = dir.path();
        put(dir, "pack-a.pack", "a");
        put(dir, "pack-a.idx", "a");
        put(dir, "pack-b.pack", "longer");
        put(dir, "pack-b.idx", "b");
        put(dir, "pack-b.rev", "b");
        put(dir, "pack-b.keep", "");
        put(dir, "pack-c.pack", "still without an index");
        assert_eq!(names(dir), None, "nothing was verified yet");
        verify(dir, false);
        assert_eq!(names(dir), None, "something may be missing");
        verify(dir, true);
        let fit = fit(dir).expect("readable").expect("fit");
        assert_eq!(
            fit.packs
                .iter()
                .map(|pack| (&*pack.name, pack.apart))
                .collect::<Vec<_>>(),
            [("pack-b", true), ("pack-a", false)]
        );
        fs::hard_link(folder(dir).join("pack-a.pack"), dir.join("x")).expect("ours");
        assert!(names(dir).is_some(), "a link changes nothing");
    }

    #[test]
    fn nothing_is_fit_where_anything_has_changed() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 7] = [
            ("a loose object", |dir| {
                fs::create_dir(dir.join("objects/ab")).expect("ours");
                fs::write(dir.join("objects/ab/cd"), "").expect("ours");
            }),
            ("objects elsewhere", |dir| {
                fs::create_dir(dir.join("objects/info")).expect("ours");
                fs::write(dir.join("objects/info/alternates"), "/x").expect("ours");
            }),
            ("touched", |dir| put(dir, "pack-a.pack", "b")),
            ("an index gone", |dir| {
                fs::remove_file(folder(dir).join("pack-a.rev")).expect("ours");
            }),
            ("a pack gone", |dir| {
                fs::remove_file(folder(dir).join("pack-a.pack")).expect("ours");
            }),
            ("one more", |dir| {
                put(dir, "pack-b.pack", "b");
                put(dir, "pack-b.idx", "b");
            }),
            ("half a record", |dir| {
                let text = fs::read_to_string(path(dir)).expect("there");
                fs::write(path(dir), &text[..text.len() - 2]).expect("ours");
            }),
        ];
        for (name, change) in changes {
            let dir = mirror();
            let dir = dir.path();
            for ending in ENDINGS {
                put(dir, &format!("pack-a.{ending}"), "a");
            }
            verify(dir, true);
            assert!(names(dir).is_some(), "{name}");
            change(dir);
            assert_eq!(names(dir), None, "{name}");
        }
    }
}

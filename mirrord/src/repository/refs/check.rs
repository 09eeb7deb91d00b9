//! Looks whether `packed-refs` and `HEAD` are what was written, and rebuilds what is not.
//!
//! The rule: what is equal to the copy is right. What differs and can be read is a hand's from outside, but for refs that
//! are gone. What cannot be read is rebuilt from the copy. Where the copy is damaged as well, whole lines of both files
//! are taken, and branches for the newest local commits; what upstream has is then not known before upstream is asked.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use common::{
    packs::{listing::pack_dir, verified as packs},
    refspec::Refspecs,
};
use gix::bstr::{BStr, BString, ByteSlice};
use parking_lot::Mutex;

use super::{
    FileStamp, HEAD, PACKED, Refs, Snapshot, Stamp,
    copy::Copy,
    head, lock, open,
    reconcile::{reconcile, salvage},
    recover, write,
};
use crate::{mirrors::repairs, process::durable};

/// In a mirror: `packed-refs` and its copy were lost, and upstream has not been asked since.
pub(super) const LOST: &str = "refs-lost";

/// Refs that are named one by one.
const MAX_NAMED: usize = 5;

/// More mirrors than this are not remembered.
const MAX_KNOWN: usize = 4096;

/// A branch that is nobody's.
const UNBORN: &[u8] = b"ref: refs/heads/unborn-1\n";

/// The files of one look: those of the refs, and the copy.
type Stamps = (Stamp, FileStamp);

/// Mirrors whose files are what was written, as far as their stamps tell.
static KNOWN: Mutex<Option<HashMap<PathBuf, Stamps>>> = Mutex::new(None);

fn stamps(git_dir: &Path) -> Stamps {
    (Stamp::of(git_dir), FileStamp::of(&Copy::path(git_dir)))
}

/// Whether nothing has changed since the last look.
pub(super) fn is_known(git_dir: &Path) -> bool {
    let now = stamps(git_dir);
    let known = KNOWN.lock();
    known.as_ref().and_then(|known| known.get(git_dir)) == Some(&now)
}

/// Remembers that the files are what was written, as they are now.
pub(super) fn remember(git_dir: &Path) {
    remember_as(git_dir, stamps(git_dir));
}

fn remember_as(git_dir: &Path, stamps: Stamps) {
    let mut known = KNOWN.lock();
    let known = known.get_or_insert_default();
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    known.insert(git_dir.to_owned(), stamps);
}

/// Why it is not known what upstream has, when it is not.
pub(super) fn lost(git_dir: &Path) -> Option<String> {
    let text = fs::read(git_dir.join(LOST)).ok()?;
    Some(String::from_utf8_lossy(text.trim_end()).into_owned())
}

/// What is in the files.
struct Found {
    stamps: Stamps,
    /// None where the file is not there, or cannot be read.
    packed: Option<Vec<u8>>,
    head: Option<Vec<u8>>,
    copy: Option<Copy>,
}

impl Found {
    fn at(git_dir: &Path) -> Self {
        Self {
            stamps: stamps(git_dir),
            packed: fs::read(git_dir.join(PACKED)).ok(),
            head: fs::read(git_dir.join(HEAD)).ok(),
            copy: Copy::read(git_dir),
        }
    }

    /// Whether both files are what was written last.
    fn is_as_written(&self) -> bool {
        self.copy.as_ref().is_some_and(|copy| {
            self.packed.as_deref() == Some(copy.content())
                && self.head.as_ref() == Some(&copy.head())
        })
    }

    /// Whether nothing was ever published: nothing was synced either, or there is no pack, as in a mirror of an empty
    /// project that an older version made.
    fn is_new(&self, git_dir: &Path) -> bool {
        let has_local_packs = || recover::local_packs(git_dir).is_ok_and(|packs| !packs.is_empty());
        let has_packs = || {
            let packs = packs::packs(&pack_dir(git_dir));
            packs.is_ok_and(|packs| !packs.is_empty())
        };
        let is_synced = git_dir.join(super::SYNCED).exists();
        self.packed.is_none()
            && self.copy.is_none()
            && self.head.as_deref().and_then(Target::parse).is_some()
            && !has_local_packs()
            && (!is_synced || !has_packs())
    }
}

/// What `HEAD` names.
enum Target<'h> {
    Ref(&'h BStr),
    Object(gix::ObjectId),
}

impl<'h> Target<'h> {
    fn parse(head: &'h [u8]) -> Option<Self> {
        let text = head.trim_end();
        match text.strip_prefix(b"ref: ") {
            Some(name) => gix::validate::reference::name(name.into())
                .is_ok()
                .then(|| Self::Ref(name.into())),
            None => gix::ObjectId::from_hex(text).ok().map(Self::Object),
        }
    }
}

/// Rebuilds what is not as it was written, unless it is as at the last look.
pub(super) fn check(git_dir: &Path) -> io::Result<()> {
    if is_known(git_dir) {
        return Ok(());
    }
    let found = Found::at(git_dir);
    if found.is_as_written() || found.is_new(git_dir) {
        remember_as(git_dir, found.stamps);
        return Ok(());
    }
    if !git_dir.exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let lock = lock::acquire(git_dir)?;
    let found = Found::at(git_dir);
    if found.is_as_written() {
        remember_as(git_dir, found.stamps);
        return Ok(());
    }
    repair(git_dir, &found, lock).map_err(|err| {
        let why = common::text::io_message(&err);
        io::Error::new(
            err.kind(),
            format!("cannot rebuild the refs of '{}': {why}", git_dir.display()),
        )
    })
}

/// Makes the folders without which git takes a directory for no repository.
pub(super) fn make_folders(git_dir: &Path) -> io::Result<()> {
    for folder in ["refs", "refs/heads", "refs/tags", "objects", "objects/pack"] {
        match fs::create_dir(git_dir.join(folder)) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
    }
    repairs::record(git_dir, "the directory 'refs' was gone; it is made anew")
}

/// What the refs are to be.
struct Rebuilt {
    refs: Refs,
    /// What a person should know.
    message: Option<String>,
    /// Whether what upstream has is not known.
    is_lost: bool,
}

fn repair(git_dir: &Path, found: &Found, lock: gix::lock::File) -> io::Result<()> {
    let copy = found.copy.as_ref().filter(|copy| copy.is_whole());
    let sound_head = found.head.as_deref();
    let sound_head = sound_head.filter(|head| Target::parse(head).is_some());
    if sound_head.is_none() {
        // Without one it is no repository.
        let head = copy.map_or(UNBORN.to_vec(), Copy::head);
        durable::replace(&git_dir.join(HEAD), &head)?;
    }
    let repo = open(git_dir)?;
    let parsed = found.packed.as_ref().filter(|file| !file.is_empty());
    let parsed = parsed.and_then(|file| Snapshot::of_bytes(file.clone()).refs(git_dir).ok());
    let before = found.packed.as_deref().unwrap_or_default();
    let is_interrupted = parsed.is_some()
        && copy.is_some_and(|copy| copy.is_after(before) && copy.content() != before);
    let rebuilt = match (copy.filter(|_| !is_interrupted), parsed) {
        (None, Some(refs)) => {
            if found.copy.is_some() && !is_interrupted {
                tracing::warn!(
                    "the copy of the refs of '{}' was damaged",
                    git_dir.display()
                );
            }
            Rebuilt {
                refs,
                message: None,
                is_lost: false,
            }
        }
        (Some(copy), parsed) => of_copy(git_dir, &repo, copy, before, parsed)?,
        (None, None) => of_nothing(git_dir, &repo, found)?,
    };
    let known = match copy {
        Some(copy) => Snapshot::of_bytes(copy.content().to_vec()).peeled(git_dir)?,
        None => HashMap::new(),
    };
    let content = write::content(&repo, &rebuilt.refs, &known)?;
    let written_head = copy.filter(|_| !is_interrupted).map(Copy::head);
    let head = right_head(&repo, &rebuilt.refs, sound_head, written_head);
    if let Some(message) = &rebuilt.message {
        repairs::record(git_dir, message)?;
        if rebuilt.is_lost {
            durable::replace(&git_dir.join(LOST), message.as_bytes())?;
        }
    }
    if sound_head != Some(&*head) {
        repairs::record(git_dir, "'HEAD' was damaged or gone; it is made anew")?;
        durable::replace(&git_dir.join(HEAD), &head)?;
    }
    if content != before {
        return write::replace(git_dir, lock, before, &content, &head);
    }
    if let Err(err) = write::replace_head(git_dir, &content, &head) {
        // The refs are as they should be.
        tracing::warn!(
            "cannot write the copy of the refs of '{}': {err}",
            git_dir.display()
        );
        remember(git_dir);
    }
    drop(lock);
    Ok(())
}

/// What the refs are to be when the copy is whole.
fn of_copy(
    git_dir: &Path,
    repo: &gix::Repository,
    copy: &Copy,
    before: &[u8],
    parsed: Option<Refs>,
) -> io::Result<Rebuilt> {
    let written = Snapshot::of_bytes(copy.content().to_vec()).refs(git_dir)?;
    let is_readable = parsed.is_some();
    let found = parsed.unwrap_or_else(|| {
        let mut found = salvage(before);
        // A damaged file says nothing of what the copy knows.
        found.retain(|name, oid| !written.contains_key(name) && repo.has_object(*oid));
        found
    });
    let now = reconcile(&found, &written, |oid| repo.has_object(*oid));
    let message = match (is_readable, before.is_empty()) {
        (false, true) => Some("'packed-refs' was gone; it is rebuilt from its copy".to_owned()),
        (false, false) => Some("'packed-refs' was damaged; it is rebuilt from its copy".to_owned()),
        (true, _) => (!now.restored.is_empty()).then(|| {
            let names = named(&now.restored);
            format!("'packed-refs' had lost {names}; this is restored from its copy")
        }),
    };
    Ok(Rebuilt {
        refs: now.refs,
        message,
        is_lost: false,
    })
}

/// What the refs are to be when both files are damaged.
fn of_nothing(git_dir: &Path, repo: &gix::Repository, found: &Found) -> io::Result<Rebuilt> {
    let mut refs = Refs::new();
    let files = [found.packed.as_deref(), found.copy.as_ref().map(Copy::file)];
    for file in files.into_iter().flatten() {
        for (name, oid) in salvage(file) {
            let is_free = super::conflicting(&refs, name.as_bstr()).is_none();
            if repo.has_object(oid) && is_free {
                refs.entry(name).or_insert(oid);
            }
        }
    }
    let read = refs.len();
    let recovered = recover::tips(git_dir, repo, &refs)?;
    let names: Vec<_> = recovered.keys().cloned().collect();
    for (name, oid) in recovered {
        refs.entry(name).or_insert(oid);
    }
    let kept = match names.is_empty() {
        true => String::new(),
        false => format!("; local commits without a name are now {}", named(&names)),
    };
    let message = format!(
        "'packed-refs' and its copy were damaged or gone; {read} refs could be read{kept}; what upstream has is asked of it"
    );
    Ok(Rebuilt {
        refs,
        message: Some(message),
        is_lost: true,
    })
}

/// `HEAD`, when it can be right; or else what was written last, or what may be.
fn right_head(
    repo: &gix::Repository,
    refs: &Refs,
    found: Option<&[u8]>,
    written: Option<Vec<u8>>,
) -> Vec<u8> {
    let exists = |head: &[u8]| match Target::parse(head) {
        Some(Target::Ref(name)) => refs.contains_key(name),
        Some(Target::Object(oid)) => repo.has_object(oid),
        None => false,
    };
    match (found, written) {
        (Some(found), None) => found.to_vec(),
        (Some(found), Some(written)) if found == written || exists(found) => found.to_vec(),
        (_, Some(written)) if Target::parse(&written).is_some() => written,
        _ => head::choose(refs, None, b"", &Refspecs::everything()),
    }
}

fn named(names: &[BString]) -> String {
    let mut shown: Vec<_> = names
        .iter()
        .take(MAX_NAMED)
        .map(ToString::to_string)
        .collect();
    if names.len() > MAX_NAMED {
        shown.push(format!("{} more", names.len() - MAX_NAMED));
    }
    shown.join(", ")
}

//! Checks that `packed-refs` and `HEAD` are what this program wrote, and rebuilds them where they are not.
//!
//! A file that equals the copy is right. A file that differs and can be read was changed by somebody on purpose; only refs
//! that are gone from it come back. A file that cannot be read is rebuilt from the copy. Where the copy is damaged as well,
//! the whole lines of both files are used, and the newest local commits become branches; what upstream has is then unknown
//! until the next sync.

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
    copy::RefsCopy,
    head, lock, open,
    reconcile::{reconcile, salvage},
    recover, write,
};
use crate::{mirrors::repairs, process::durable};

/// The file in a mirror that is there when `packed-refs` and its copy were lost and upstream has not been asked since. It
/// has the reason.
pub(super) const LOST: &str = "refs-lost";

/// How many refs a message names; the others are counted.
const MAX_NAMES: usize = 5;

/// How many mirrors the cache has before it is cleared.
const MAX_VERIFIED: usize = 4096;

/// A `HEAD` on a branch that does not exist, and is neither local nor upstream's.
const UNBORN: &[u8] = b"ref: refs/heads/unborn-1\n";

/// The stamps of the refs and of their copy.
type Stamps = (Stamp, FileStamp);

/// The mirrors whose files were verified, with the stamps that these had then.
static VERIFIED: Mutex<Option<HashMap<PathBuf, Stamps>>> = Mutex::new(None);

fn stamps(git_dir: &Path) -> Stamps {
    (Stamp::of(git_dir), FileStamp::of(&RefsCopy::path(git_dir)))
}

/// Whether the files have not changed since they were verified.
pub(super) fn is_verified(git_dir: &Path) -> bool {
    let now = stamps(git_dir);
    let verified = VERIFIED.lock();
    verified.as_ref().and_then(|stamps| stamps.get(git_dir)) == Some(&now)
}

/// Records that the files are verified as they are now.
pub(super) fn record_verified(git_dir: &Path) {
    record_stamps(git_dir, stamps(git_dir));
}

fn record_stamps(git_dir: &Path, stamps: Stamps) {
    let mut verified = VERIFIED.lock();
    let verified = verified.get_or_insert_default();
    if verified.len() >= MAX_VERIFIED {
        verified.clear();
    }
    verified.insert(git_dir.to_owned(), stamps);
}

/// Why it is unknown what upstream has; `None` when it is known.
pub(super) fn lost_reason(git_dir: &Path) -> Option<String> {
    let text = fs::read(git_dir.join(LOST)).ok()?;
    Some(String::from_utf8_lossy(text.trim_end()).into_owned())
}

/// The content of the files.
struct Files {
    stamps: Stamps,
    /// `None` when there is no file, or it cannot be read.
    packed: Option<Vec<u8>>,
    head: Option<Vec<u8>>,
    copy: Option<RefsCopy>,
}

impl Files {
    fn at(git_dir: &Path) -> Self {
        Self {
            stamps: stamps(git_dir),
            packed: fs::read(git_dir.join(PACKED)).ok(),
            head: fs::read(git_dir.join(HEAD)).ok(),
            copy: RefsCopy::read(git_dir),
        }
    }

    /// Whether both files equal the copy.
    fn is_as_written(&self) -> bool {
        self.copy.as_ref().is_some_and(|copy| {
            self.packed.as_deref() == Some(copy.content())
                && self.head.as_ref() == Some(&copy.head())
        })
    }

    /// Whether nothing was ever published: there was no sync, or there is no pack, as in a mirror of an empty project that an
    /// older version made.
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

/// Rebuilds the files where they are not what was written. Does nothing when they have not changed since the last call.
pub(super) fn check(git_dir: &Path) -> io::Result<()> {
    if is_verified(git_dir) {
        return Ok(());
    }
    let files = Files::at(git_dir);
    if files.is_as_written() || files.is_new(git_dir) {
        record_stamps(git_dir, files.stamps);
        return Ok(());
    }
    if !git_dir.exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let lock = lock::acquire(git_dir)?;
    let files = Files::at(git_dir);
    if files.is_as_written() {
        record_stamps(git_dir, files.stamps);
        return Ok(());
    }
    repair(git_dir, &files, lock).map_err(|err| {
        let why = common::text::io_message(&err);
        io::Error::new(
            err.kind(),
            format!("cannot rebuild the refs of '{}': {why}", git_dir.display()),
        )
    })
}

/// Makes the directories without which git sees no repository.
pub(super) fn make_dirs(git_dir: &Path) -> io::Result<()> {
    for dir in ["refs", "refs/heads", "refs/tags", "objects", "objects/pack"] {
        match fs::create_dir(git_dir.join(dir)) {
            Err(err) if err.kind() != io::ErrorKind::AlreadyExists => return Err(err),
            _ => {}
        }
    }
    repairs::record(git_dir, "the directory 'refs' was gone; it is made anew")
}

/// The refs to write.
struct Rebuilt {
    refs: Refs,
    /// What was lost and what was rebuilt, for a person.
    message: Option<String>,
    /// Whether it is unknown what upstream has.
    is_lost: bool,
}

fn repair(git_dir: &Path, files: &Files, lock: gix::lock::File) -> io::Result<()> {
    let copy = files.copy.as_ref().filter(|copy| copy.is_whole());
    let sound_head = files.head.as_deref();
    let sound_head = sound_head.filter(|head| Target::parse(head).is_some());
    if sound_head.is_none() {
        // git sees no repository without one.
        let head = copy.map_or(UNBORN.to_vec(), RefsCopy::head);
        durable::replace(&git_dir.join(HEAD), &head)?;
    }
    let repo = open(git_dir)?;
    let parsed = files.packed.as_ref().filter(|file| !file.is_empty());
    let parsed = parsed.and_then(|file| Snapshot::of_bytes(file.clone()).refs(git_dir).ok());
    let before = files.packed.as_deref().unwrap_or_default();
    let is_interrupted = parsed.is_some()
        && copy.is_some_and(|copy| copy.is_after(before) && copy.content() != before);
    let rebuilt = match (copy.filter(|_| !is_interrupted), parsed) {
        (None, Some(refs)) => {
            if files.copy.is_some() && !is_interrupted {
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
        (Some(copy), parsed) => rebuild_from_copy(git_dir, &repo, copy, before, parsed)?,
        (None, None) => rebuild_without_copy(git_dir, &repo, files)?,
    };
    let written = copy.map(|copy| copy.content().to_vec());
    let written = Snapshot::of_bytes(written.unwrap_or_default());
    let content = write::content(&repo, &rebuilt.refs, &written)?;
    let written_head = copy.filter(|_| !is_interrupted).map(RefsCopy::head);
    let head = choose_head(&repo, &rebuilt.refs, sound_head, written_head);
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
        // The refs are right all the same.
        tracing::warn!(
            "cannot write the copy of the refs of '{}': {err}",
            git_dir.display()
        );
        record_verified(git_dir);
    }
    drop(lock);
    Ok(())
}

/// The refs when the copy is whole.
fn rebuild_from_copy(
    git_dir: &Path,
    repo: &gix::Repository,
    copy: &RefsCopy,
    before: &[u8],
    parsed: Option<Refs>,
) -> io::Result<Rebuilt> {
    let written = Snapshot::of_bytes(copy.content().to_vec()).refs(git_dir)?;
    let is_readable = parsed.is_some();
    let found = parsed.unwrap_or_else(|| {
        let mut found = salvage(before);
        // The copy is right about its refs; a damaged file can only add others.
        found.retain(|name, oid| !written.contains_key(name) && repo.has_object(*oid));
        found
    });
    let now = reconcile(&found, &written, |oid| repo.has_object(*oid));
    let message = match (is_readable, before.is_empty()) {
        (false, true) => Some("'packed-refs' was gone; it is rebuilt from its copy".to_owned()),
        (false, false) => Some("'packed-refs' was damaged; it is rebuilt from its copy".to_owned()),
        (true, _) => (!now.restored.is_empty()).then(|| {
            let names = name_list(&now.restored);
            format!("'packed-refs' had lost {names}; this is restored from its copy")
        }),
    };
    Ok(Rebuilt {
        refs: now.refs,
        message,
        is_lost: false,
    })
}

/// The refs when both files are damaged.
fn rebuild_without_copy(
    git_dir: &Path,
    repo: &gix::Repository,
    files: &Files,
) -> io::Result<Rebuilt> {
    let mut refs = Refs::new();
    let contents = [
        files.packed.as_deref(),
        files.copy.as_ref().map(RefsCopy::file),
    ];
    for file in contents.into_iter().flatten() {
        for (name, oid) in salvage(file) {
            let is_free = super::conflicting(&refs, name.as_bstr()).is_none();
            if repo.has_object(oid) && is_free {
                refs.entry(name).or_insert(oid);
            }
        }
    }
    let read = refs.len();
    let recovered = recover::lost_tips(git_dir, repo, &refs)?;
    let names: Vec<_> = recovered.keys().cloned().collect();
    for (name, oid) in recovered {
        refs.entry(name).or_insert(oid);
    }
    let kept = match names.is_empty() {
        true => String::new(),
        false => format!(
            "; local commits without a name are now {}",
            name_list(&names)
        ),
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

/// The `HEAD` to write: the one that was found if it can be right, or else the one that was written last, or a new choice.
fn choose_head(
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

fn name_list(names: &[BString]) -> String {
    let mut shown: Vec<_> = names
        .iter()
        .take(MAX_NAMES)
        .map(ToString::to_string)
        .collect();
    if names.len() > MAX_NAMES {
        shown.push(format!("{} more", names.len() - MAX_NAMES));
    }
    shown.join(", ")
}

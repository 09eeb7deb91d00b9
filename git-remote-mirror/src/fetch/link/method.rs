//! The methods by which one file gets from a mirror into a client's repository.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use common::packs::{
    digest::Digest,
    link::Link,
    stamps::{self, Stamp, Stamps},
    verified::NotVerified,
};
use rustix::fs::ioctl_ficlone;

/// The prefix of an unfinished file. `git gc` removes files in a pack folder whose name begins with `tmp_`
/// (`remove_temporary_files()` in git's builtin/prune.c).
const UNFINISHED: &str = "tmp_pack_mirror";

/// The mode that git gives the files in a pack folder.
const MODE: u32 = 0o444;

/// ENOTTY, from a file system that does not know the request for a reflink.
const ENOTTY: i32 = 25;

/// The methods that work; one that has failed is not tried again.
pub(super) struct Methods {
    reflink: bool,
    hard_link: bool,
    copy: bool,
}

impl Methods {
    /// The methods that the setting allows.
    pub(super) fn new(link: Link) -> Self {
        Self {
            reflink: matches!(link, Link::Auto | Link::Reflink),
            hard_link: matches!(link, Link::Auto | Link::Hardlink),
            copy: link != Link::Reflink && link != Link::Off,
        }
    }

    /// Whether a client may share the mirror's file.
    pub(super) fn can_share(&self) -> bool {
        self.reflink || self.hard_link
    }

    /// Makes `target` share the file `source`; returns false where that does not work. A file that is `apart` is not
    /// hard-linked: it is the only copy of local work.
    pub(super) fn share(
        &mut self,
        source: &Path,
        digest: &Digest,
        target: &Path,
        apart: bool,
        stamps: &mut Stamps,
    ) -> io::Result<bool> {
        let file = stamps::open(source)?;
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
            match create(target, |new| {
                ioctl_ficlone(&*new, &file)?;
                // The reflink may have what was written into the file since it was verified.
                require_unchanged(stamp == Stamp::of(&file.metadata()?))
            }) {
                Err(err) if is_unsupported(&err) => self.reflink = false,
                created => return created.map(|()| true),
            }
        }
        if hard_link {
            match fs::hard_link(source, target) {
                Ok(()) => {
                    let now = Stamp::of(&fs::symlink_metadata(target)?);
                    if let Err(err) = require_unchanged(now.is_but_linked(&stamp)) {
                        fs::remove_file(target)?;
                        return Err(err);
                    }
                    stamps.record(source, now);
                    return Ok(true);
                }
                Err(err) if is_unsupported(&err) => self.hard_link = false,
                Err(err) => return Err(err),
            }
        }
        Ok(false)
    }

    /// Makes `target` a copy of `source`, and compares the copy's digest with what was recorded.
    pub(super) fn copy(&self, source: &Path, digest: &Digest, target: &Path) -> io::Result<()> {
        if !self.copy {
            return Err(ErrorKind::Unsupported.into());
        }
        let mut file = stamps::open(source)?;
        create(target, |new| {
            io::copy(&mut file, new)?;
            match Digest::of(new, || false)? == *digest {
                true => Ok(()),
                false => Err(NotVerified(source.to_owned()).into()),
            }
        })
    }
}

/// Whether this method does not work between these two folders, and another may.
fn is_unsupported(err: &io::Error) -> bool {
    use ErrorKind::{CrossesDevices, InvalidInput, PermissionDenied, TooManyLinks, Unsupported};
    let kinds = [
        CrossesDevices,
        InvalidInput,
        PermissionDenied,
        TooManyLinks,
        Unsupported,
    ];
    kinds.contains(&err.kind()) || err.raw_os_error() == Some(ENOTTY)
}

/// Fails, as if the file were gone, when it was replaced or written into since it was verified.
fn require_unchanged(is_unchanged: bool) -> io::Result<()> {
    match is_unchanged {
        true => Ok(()),
        false => Err(ErrorKind::NotFound.into()),
    }
}

/// Creates a file that is there as a whole or not at all, and lasts: a ref may name what is in it.
pub(super) fn create(
    target: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = target.with_file_name(format!("{UNFINISHED}_{name}"));
    let mut options = OpenOptions::new();
    options.create(true).truncate(true).read(true).write(true);
    let mut new = options.open(&unfinished)?;
    let created = fill(&mut new)
        .and_then(|()| new.set_permissions(Permissions::from_mode(MODE)))
        .and_then(|()| new.sync_all())
        .and_then(|()| fs::rename(&unfinished, target));
    if created.is_err() {
        // `git gc` removes what cannot be removed now.
        let _ = fs::remove_file(&unfinished);
    }
    created
}

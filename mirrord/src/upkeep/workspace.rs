//! An object store of links to packs of a mirror, in which `git repack` may write and remove what it likes: the packs of
//! the mirror itself stay as they are. What git has written there is let into the mirror (`Quarantine::release`); what is
//! no longer needed then goes when nobody reads the mirror (`packs/drop.rs`).
//!
//! In the mirror itself git would remove packs that somebody reads, and the new ones would not be in the record of what was
//! verified, without which no client is handed a pack.

use std::{fs, io, os::unix::fs::symlink, path::Path, process::Command};

use common::packs::verified::NotVerified;

use super::{
    packs,
    repack::{LIMITS, run},
};
use crate::{
    process::watch::Watch,
    repository::{
        quarantine::{Origin, Quarantine},
        verified::{self, Extent},
    },
};

/// Such an object store; dropping it leaves nothing of it.
pub(super) struct Workspace<'g> {
    quarantine: Quarantine,
    git_dir: &'g Path,
}

impl<'g> Workspace<'g> {
    /// Links to the files of packs that are wanted, by the name of the pack and the ending.
    pub(super) fn new(
        git_dir: &'g Path,
        is_wanted: impl Fn(&str, &str) -> bool,
    ) -> io::Result<Self> {
        let quarantine = Quarantine::new(git_dir)?;
        for entry in fs::read_dir(packs::pack_dir(git_dir))? {
            let entry = entry?;
            let name = entry.file_name();
            let is_file_wanted = name
                .to_string_lossy()
                .split_once('.')
                .is_some_and(|(pack, ending)| pack.starts_with("pack-") && is_wanted(pack, ending));
            if is_file_wanted {
                symlink(entry.path(), quarantine.path().join("pack").join(&name))?;
            }
        }
        Ok(Self {
            quarantine,
            git_dir,
        })
    }

    /// A fenced git in it, which finds other objects in the mirror.
    pub(super) fn git(&self) -> Command {
        let mut git = self.quarantine.git();
        git.args(LIMITS);
        git
    }

    /// The same, which finds no other objects.
    pub(super) fn git_without_others(&self) -> Command {
        let mut git = self.git();
        git.env_remove("GIT_ALTERNATE_OBJECT_DIRECTORIES");
        git
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.quarantine.path()
    }

    /// Lets the packs that git has written into the mirror. Returns how many bytes they have.
    pub(super) fn release(self, origin: Origin, watch: &Watch) -> io::Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(self.path().join("pack"))? {
            let entry = entry?;
            if entry.file_type()?.is_symlink() {
                fs::remove_file(entry.path())?;
            } else {
                bytes += entry.metadata()?.len();
            }
        }
        // git copies what lies in a pack without computing its hash.
        match origin {
            Origin::Upstream => {
                let changed = verified::changed_files(self.git_dir, Extent::Touched, watch)?;
                if let Some(changed) = changed.into_iter().next() {
                    return Err(NotVerified(changed.path).into());
                }
            }
            // There will be no other copy: what was written is read again.
            Origin::LocalOnly => {
                for pack in self.quarantine.packs()? {
                    let mut git = self.git();
                    git.arg("verify-pack");
                    git.arg(self.path().join(format!("pack/{pack}.idx")));
                    run(&git, String::new(), watch)?;
                }
            }
        }
        self.quarantine.release(origin)?;
        Ok(bytes)
    }
}

//! The scratch repository from which one push goes to upstream. Its refs are the push: below `refs/new/` what upstream's
//! refs are to be, below `refs/old/` what they must be for that. git writes there what they have after the push.
//!
//! git sends new refs in the order of their names in this repository, so each has its number before its name.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use common::{git::config_file::quoted, protocol::Lease};

use super::ref_update::{NEW, OLD, RefUpdate};

/// How many refs are sent in the order of the client's push. git compares each with each.
const MAX_IN_ORDER: usize = 500;

/// The length of an object's name in SHA-256, in hexadecimal.
const SHA256_DIGITS: usize = 64;

/// A repository without objects of its own.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the repository in the quarantine of the push. `hook_checks` says whether the hook checks the leases, so that
    /// what has one is forced.
    ///
    /// # Errors
    /// Fails when a file cannot be written.
    pub(crate) fn new(
        quarantine: &Path,
        url: &str,
        updates: &[RefUpdate<'_>],
        hook_checks: bool,
    ) -> io::Result<Self> {
        let dir = quarantine.join("push.git");
        fs::create_dir_all(dir.join("refs"))?;
        fs::write(dir.join("HEAD"), "ref: refs/heads/none\n")?;
        fs::write(dir.join("config"), config(url, updates, hook_checks))?;
        fs::write(dir.join("packed-refs"), packed_refs(updates, hook_checks))?;
        Ok(Self(dir))
    }

    /// The value that a ref of upstream has after the push, in hexadecimal, where git has written it down.
    pub(crate) fn value(&self, name: &[u8]) -> Option<String> {
        let name = [OLD, name.strip_prefix(b"refs/")?].concat();
        let value = fs::read_to_string(self.0.join(OsStr::from_bytes(&name))).ok()?;
        Some(value.trim_end().to_owned())
    }

    /// The git directory.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a global configuration with the directories that the user trusts. An upstream on this machine is read by a
    /// git of its own, which accepts `safe.directory` from no environment (git-config(1)).
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub(crate) fn write_safe_directories(
        &self,
        settings: &[(String, String)],
    ) -> io::Result<PathBuf> {
        let mut config = b"[safe]\n".to_vec();
        for (_, directory) in settings.iter().filter(|(key, _)| key == "safe.directory") {
            config.extend([b"\tdirectory = ", &*quoted(directory.as_bytes()), b"\n"].concat());
        }
        let path = self.0.join("user.config");
        fs::write(&path, config)?;
        Ok(path)
    }
}

/// The directory, below `refs/new/`, of updates that are forced.
const FORCED: &str = "forced";

/// The directory, below `refs/new/`, of the update at this position.
fn group(at: usize, updates: &[RefUpdate<'_>], hook_checks: bool) -> String {
    if hook_checks && updates[at].lease != Lease::None {
        FORCED.to_owned()
    } else if updates.len() <= MAX_IN_ORDER {
        format!("{at:03}")
    } else {
        "all".to_owned()
    }
}

/// The configuration: the object format, and the remote with what is pushed to it.
fn config(url: &str, updates: &[RefUpdate<'_>], hook_checks: bool) -> Vec<u8> {
    let mut objects = updates
        .iter()
        .filter_map(|update| update.command.new.as_ref().or(update.command.old.as_ref()));
    let is_sha256 = objects
        .next()
        .is_some_and(|object| object.len() == SHA256_DIGITS);
    // What git reports has the values in full.
    let core: &[u8] = match is_sha256 {
        true => {
            b"[core]\n\trepositoryformatversion = 1\n\tbare = true\n\tabbrev = 64\n\
              [extensions]\n\tobjectformat = sha256\n"
        }
        false => b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tabbrev = 40\n",
    };
    let mut config = core.to_vec();
    config.extend_from_slice(b"[remote \"upstream\"]\n");
    let mut set = |key: &str, value: &[u8]| {
        config.extend([b"\t", key.as_bytes(), b" = ", &quoted(value), b"\n"].concat());
    };
    set("url", url.as_bytes());
    set("fetch", b"refs/*:refs/old/*");
    let groups = updates.iter().enumerate();
    let groups = groups.filter(|(_, update)| update.command.new.is_some());
    let groups: BTreeSet<_> = groups
        .map(|(at, _)| group(at, updates, hook_checks))
        .collect();
    for group in groups {
        let force = if group == FORCED { "+" } else { "" };
        set(
            "push",
            format!("{force}refs/new/{group}/*:refs/*").as_bytes(),
        );
    }
    for RefUpdate { command, name, .. } in updates {
        if command.new.is_none() {
            set("push", &[b":", name.as_slice()].concat());
        }
    }
    config
}

/// The refs, sorted as git wants them.
fn packed_refs(updates: &[RefUpdate<'_>], hook_checks: bool) -> Vec<u8> {
    let mut refs: Vec<(Vec<u8>, &str)> = Vec::new();
    for (at, update) in updates.iter().enumerate() {
        let name = &*update.name;
        let rest = name.strip_prefix(b"refs/").unwrap_or(name);
        if let Some(new) = &update.command.new {
            let group = group(at, updates, hook_checks);
            refs.push(([NEW, group.as_bytes(), b"/", rest].concat(), new));
        }
        if let Lease::Value(old) = &update.lease {
            refs.push(([OLD, rest].concat(), old));
        }
    }
    refs.sort();
    let mut file = b"# pack-refs with: sorted \n".to_vec();
    for (name, object) in refs {
        file.extend([object.as_bytes(), b" ", &name, b"\n"].concat());
    }
    file
}

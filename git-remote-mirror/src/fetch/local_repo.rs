//! The repository that is fetched into: where its objects are, and what of its state rules linking out.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use common::git::client_context::{UserConfig, truth};

/// Where it is noted, in a client, what git was last given without having asked for it by its own protocol.
const GIVEN: &str = "mirror-given";

/// The client's repository, as gitrepository-layout(5) has it.
pub(crate) struct LocalRepo {
    /// What all of its worktrees share.
    common: PathBuf,
    objects: PathBuf,
}

impl LocalRepo {
    /// The repository that git runs us in; None where there is none, as for `git ls-remote` with a URL.
    pub(crate) fn find() -> io::Result<Option<Self>> {
        let Some(git_dir) = env::var_os("GIT_DIR").map(PathBuf::from) else {
            return Ok(None);
        };
        let git_dir = std::path::absolute(git_dir)?;
        if !git_dir.is_dir() {
            return Ok(None);
        }
        let mut place = Self::at(git_dir)?;
        if let Some(objects) = env::var_os("GIT_OBJECT_DIRECTORY") {
            place.objects = std::path::absolute(objects)?;
        }
        Ok(Some(place))
    }

    fn at(git_dir: PathBuf) -> io::Result<Self> {
        let common = match fs::read_to_string(git_dir.join("commondir")) {
            Ok(text) => git_dir.join(text.trim_end_matches('\n')),
            Err(err) if err.kind() == io::ErrorKind::NotFound => git_dir,
            Err(err) => return Err(err),
        };
        Ok(Self {
            objects: common.join("objects"),
            common,
        })
    }

    /// Whether some of its history or of its objects is not there on purpose: only git's own protocol can add to that.
    pub(crate) fn is_partial(&self, config: &UserConfig) -> bool {
        let is_shallow = fs::metadata(self.common.join("shallow")).is_ok_and(|file| file.len() > 0);
        is_shallow
            || config.get("extensions.partialclone").is_some()
            || config
                .entries()
                .iter()
                .any(|(key, _)| key.starts_with("remote.") && key.ends_with(".promisor"))
    }

    /// Writes down at which commits its history ends on purpose. Nothing may be there yet.
    pub(crate) fn end_history(&self, commits: &[String]) -> io::Result<()> {
        let lock = self.common.join("shallow.lock");
        let mut file = File::create_new(&lock)?;
        let lines: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
        let written = file
            .write_all(lines.as_bytes())
            .and_then(|()| fs::rename(&lock, self.common.join("shallow")));
        if written.is_err() {
            let _ = fs::remove_file(lock);
        }
        written
    }

    /// Whether git has refused what was put together for one of these, or nobody knows: what was given it and it has, it
    /// does not ask for again.
    pub(crate) fn has_refused(&self, wants: &BTreeSet<Vec<u8>>) -> bool {
        let given = fs::read(self.common.join(GIVEN)).unwrap_or_default();
        let mut given = given.split(|byte| *byte == b'\n');
        given.any(|given| wants.contains(given))
    }

    /// Notes what git is about to be given.
    pub(crate) fn note_given(&self, wants: &BTreeSet<Vec<u8>>) -> io::Result<()> {
        let lines: Vec<&[u8]> = wants.iter().flat_map(|want| [&**want, b"\n"]).collect();
        fs::write(self.common.join(GIVEN), lines.concat())
    }

    /// Whether it has no objects of its own yet.
    pub(crate) fn is_empty(&self) -> io::Result<bool> {
        for entry in fs::read_dir(&self.objects)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_empty = match name.to_str() {
                Some("info") => true,
                Some("pack") => fs::read_dir(entry.path())?.next().is_none(),
                _ => false,
            };
            if !is_empty {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it has no objects, and nobody lends it any.
    pub(crate) fn has_nothing(&self) -> bool {
        let borrows = self.objects.join("info/alternates").exists();
        !borrows && self.is_empty().unwrap_or(false)
    }

    /// Where its objects are.
    pub(crate) fn objects(&self) -> &Path {
        &self.objects
    }
}

/// Whether a push asks first what both sides have, by a fetch that looks like any other and that only git's own protocol
/// can answer.
pub(crate) fn negotiates_pushes(config: &UserConfig) -> bool {
    config.is_true("push.negotiate")
}

/// Whether whatever comes is to be looked at for faults by git, which does not look at what is there already.
pub(crate) fn wants_fsck(config: &UserConfig) -> bool {
    let keys = ["fetch.fsckobjects", "transfer.fsckobjects"];
    let set = keys.into_iter().find_map(|key| config.get(key));
    set.is_some_and(truth)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with these files among its objects.
    fn with(files: &[&str]) -> (tempfile::TempDir, LocalRepo) {
        let dir = tempfile::tempdir().expect("temp dir");
        let objects = dir.path().join("objects");
        for folder in ["info", "pack"] {
            fs::create_dir_all(objects.join(folder)).expect("ours");
        }
        for file in files {
            let path = objects.join(file);
            let folder = path.parent().expect("it has one");
            fs::create_dir_all(folder).expect("ours");
            fs::write(path, "").expect("ours");
        }
        let place = LocalRepo::at(dir.path().to_owned()).expect("readable");
        (dir, place)
    }

    #[test]
    fn a_repository_has_nothing_until_anything_comes_from_anywhere() {
        let (_dir, place) = with(&[]);
        assert!(place.has_nothing());
        for file in ["pack/pack-a.pack", "0a/bc", "info/alternates"] {
            let (_dir, place) = with(&[file]);
            assert!(!place.has_nothing(), "{file}");
        }
    }

    #[test]
    fn a_worktree_has_what_its_repository_has() {
        let (dir, store) = with(&[]);
        let worktree = dir.path().join("worktrees/other");
        fs::create_dir_all(&worktree).expect("ours");
        fs::write(worktree.join("commondir"), "../..\n").expect("ours");
        let found = LocalRepo::at(worktree).expect("readable");
        let real = |place: &LocalRepo| fs::canonicalize(place.objects()).expect("there");
        assert_eq!(real(&found), real(&store));
    }
}

//! The client's repository, which git runs the helper in: where its objects are, whether it has all of them, and what the
//! helper writes into it.

use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use common::git::{
    self, child_log,
    client_context::{UserConfig, truth},
};

use crate::wants::{self, Wants};

/// The file, in a client's repository, that names the objects which were last linked into it.
const LINKED: &str = "mirror-given";

/// A client's repository, as gitrepository-layout(5) describes it.
pub(crate) struct LocalRepo {
    /// The git directory that all worktrees share.
    common_dir: PathBuf,
    objects: PathBuf,
}

impl LocalRepo {
    /// Finds the repository that git runs this program in; None where there is none, as for `git ls-remote` with a URL.
    pub(crate) fn find() -> io::Result<Option<Self>> {
        let Some(git_dir) = env::var_os("GIT_DIR").map(PathBuf::from) else {
            return Ok(None);
        };
        let git_dir = std::path::absolute(git_dir)?;
        if !git_dir.is_dir() {
            return Ok(None);
        }
        let mut found = Self::open(git_dir)?;
        if let Some(objects) = env::var_os("GIT_OBJECT_DIRECTORY") {
            found.objects = std::path::absolute(objects)?;
        }
        Ok(Some(found))
    }

    fn open(git_dir: PathBuf) -> io::Result<Self> {
        let common_dir = match fs::read_to_string(git_dir.join("commondir")) {
            Ok(text) => git_dir.join(text.trim_end_matches('\n')),
            Err(err) if err.kind() == io::ErrorKind::NotFound => git_dir,
            Err(err) => return Err(err),
        };
        Ok(Self {
            objects: common_dir.join("objects"),
            common_dir,
        })
    }

    /// Whether the repository is a shallow or a partial clone: only git's own protocol can add to such a one.
    pub(crate) fn is_partial(&self, config: &UserConfig) -> bool {
        let is_shallow =
            fs::metadata(self.common_dir.join("shallow")).is_ok_and(|file| file.len() > 0);
        is_shallow
            || config.get("extensions.partialclone").is_some()
            || config
                .entries()
                .iter()
                .any(|(key, _)| key.starts_with("remote.") && key.ends_with(".promisor"))
    }

    /// Writes the file `shallow` of a new repository: the commits at which its history ends.
    pub(crate) fn write_shallow(&self, commits: &[String]) -> io::Result<()> {
        let lock = self.common_dir.join("shallow.lock");
        let mut file = File::create_new(&lock)?;
        let lines: String = commits.iter().map(|commit| format!("{commit}\n")).collect();
        let written = file
            .write_all(lines.as_bytes())
            .and_then(|()| fs::rename(&lock, self.common_dir.join("shallow")));
        if written.is_err() {
            let _ = fs::remove_file(lock);
        }
        written
    }

    /// Whether git may have refused the packs that were last linked for one of these objects: git does not ask again for
    /// objects that it has accepted.
    pub(crate) fn has_refused(&self, wants: &Wants) -> bool {
        let linked = fs::read(self.common_dir.join(LINKED)).unwrap_or_default();
        let mut linked = linked.split(|byte| *byte == b'\n');
        linked.any(|object| wants.contains(object))
    }

    /// Writes down which objects are linked now, before git decides about them.
    pub(crate) fn record_linked(&self, wants: &Wants) -> io::Result<()> {
        fs::write(self.common_dir.join(LINKED), wants::lines(wants))
    }

    /// Whether the object directory has no objects yet.
    fn is_empty(&self) -> io::Result<bool> {
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

    /// Whether the repository has no objects and borrows none.
    pub(crate) fn has_no_objects(&self) -> bool {
        !self.borrows() && self.is_empty().unwrap_or(false)
    }

    /// Whether the repository borrows objects of others, as after `git clone --reference`.
    pub(crate) fn borrows(&self) -> bool {
        let of_environment = env::var_os("GIT_ALTERNATE_OBJECT_DIRECTORIES");
        of_environment.is_some_and(|dirs| !dirs.is_empty())
            || self.objects.join("info/alternates").exists()
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.common_dir.join("config")
    }

    /// The object directory.
    pub(crate) fn objects(&self) -> &Path {
        &self.objects
    }
}

/// Sets a value in a configuration file of a repository. Nothing that is set this way is worth the failure of a command. The
/// file is named, as git 2.44 does not open a repository that a clone has begun.
pub(crate) fn set_config(file: &Path, key: &str, value: &str) {
    let mut git = git::of_user();
    git.args(["config", "--file"]).arg(file).args([key, value]);
    let _ = child_log::status(git.stdout(Stdio::null()).stderr(Stdio::null()));
}

/// Whether a push negotiates: git then begins a fetch that looks like any other, and asks in its own protocol what both
/// sides have.
pub(crate) fn negotiates_pushes(config: &UserConfig) -> bool {
    config.is_true("push.negotiate")
}

/// Whether a clone asks the server for the URIs of bundles. git does that in its own protocol, and complains to the person
/// where the other end does not speak it.
pub(crate) fn wants_bundle_uris(config: &UserConfig) -> bool {
    config.is_true("transfer.bundleuri")
}

/// Whether git is to check the objects that it fetches for faults. git does not check linked ones, since they are there
/// already.
pub(crate) fn wants_fsck(config: &UserConfig) -> bool {
    let keys = ["fetch.fsckobjects", "transfer.fsckobjects"];
    let value = keys.into_iter().find_map(|key| config.get(key));
    value.is_some_and(truth)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with these files in its object directory.
    fn with_files(files: &[&str]) -> (tempfile::TempDir, LocalRepo) {
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
        let repo = LocalRepo::open(dir.path().to_owned()).expect("readable");
        (dir, repo)
    }

    #[test]
    fn a_repository_has_no_objects_until_it_gets_or_borrows_any() {
        let (_dir, repo) = with_files(&[]);
        assert!(repo.has_no_objects());
        for file in ["pack/pack-a.pack", "0a/bc", "info/alternates"] {
            let (_dir, repo) = with_files(&[file]);
            assert!(!repo.has_no_objects(), "{file}");
        }
    }

    #[test]
    fn a_worktree_has_the_objects_of_its_repository() {
        let (dir, repo) = with_files(&[]);
        let worktree = dir.path().join("worktrees/other");
        fs::create_dir_all(&worktree).expect("ours");
        fs::write(worktree.join("commondir"), "../..\n").expect("ours");
        let found = LocalRepo::open(worktree).expect("readable");
        let real = |repo: &LocalRepo| fs::canonicalize(repo.objects()).expect("there");
        assert_eq!(real(&found), real(&repo));
    }
}

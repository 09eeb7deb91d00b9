//! The mirrors on disk. The directory is the registry: one bare repository per mirror, its settings in its own
//! configuration, and symbolic links for other URLs that upstream itself redirects to one of them.
//!
//! This file finds mirrors; `change.rs` makes, changes and removes them.

mod change;

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{
    address::{
        mirror_dir::{dir_names, has_stem, stem},
        name::Name,
        upstream_url::UpstreamUrl,
    },
    text::io_message,
};
use parking_lot::Mutex;

pub(crate) use self::change::NewMirror;
use crate::mirrors::settings::{ServesUrl, Settings, copy};

/// The prefix of directories that are no mirror yet, or no longer. The next daemon removes them.
const UNFINISHED: &str = ".new-";

/// All mirrors below one folder.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    root: PathBuf,
    /// Locked while a mirror gets a name or a directory, so that no two get the same.
    names: Arc<Mutex<()>>,
}

/// A mirror on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Its bare repository.
    pub git_dir: PathBuf,
    /// Its settings.
    pub settings: Settings,
}

impl Mirror {
    /// The key of its syncs.
    pub(crate) fn target(&self) -> Target {
        Target {
            url: self.settings.url.clone(),
            git_dir: self.git_dir.clone(),
        }
    }
}

/// All mirrors, as they were when the folder was read.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Those whose settings can be read, by name.
    pub mirrors: Vec<Mirror>,
    /// The others.
    pub unreadable: Vec<Unreadable>,
}

/// A mirror whose settings cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Its bare repository.
    pub git_dir: PathBuf,
    /// Why its settings cannot be read.
    pub reason: String,
}

impl Unreadable {
    /// The name of its directory, since its own is not known.
    pub(crate) fn name(&self) -> String {
        let name = self.git_dir.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The key of a mirror's syncs, whether the mirror exists yet or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// Its upstream.
    pub url: UpstreamUrl,
    /// Its bare repository, which exists after the first sync has succeeded.
    pub git_dir: PathBuf,
}

impl Registry {
    /// The mirrors below `root`, which exists.
    pub(crate) fn new(root: PathBuf) -> Self {
        let names = Arc::default();
        Self { root, names }
    }

    /// Removes what interrupted first syncs and removals left, finishes interrupted moves of mirrors, and returns all
    /// mirrors. Only a daemon that serves nobody yet may call this.
    pub(crate) fn sweep(&self) -> io::Result<Survey> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let dangling = entry.file_type()?.is_symlink() && !entry.path().exists();
            if dangling {
                fs::remove_file(entry.path())?;
            } else if is_unfinished(&entry.file_name()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let mut survey = self.survey()?;
        for mirror in &mut survey.mirrors {
            let dir_name = mirror.git_dir.file_name().unwrap_or_default();
            if !has_stem(&dir_name.to_string_lossy(), &stem(&mirror.settings.url)) {
                *mirror = self.move_to_own_dir(mirror.clone())?;
            }
        }
        Ok(survey)
    }

    /// Finds the mirror that serves a URL: the one that the URL itself has made.
    pub(crate) fn find(&self, url: &UpstreamUrl) -> io::Result<Option<Mirror>> {
        let mut unreadable = None;
        for dir in self.dirs_of_url(url)? {
            match self.mirror_at(&dir) {
                Ok(Some(mirror)) if mirror.settings.serves_url == ServesUrl::Yes => {
                    return Ok(Some(mirror));
                }
                Ok(_) => {}
                Err(err) => unreadable = Some(err),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// Returns all mirrors of an upstream whose settings can be read, by name.
    pub(crate) fn mirrors_of_url(&self, url: &UpstreamUrl) -> io::Result<Vec<Mirror>> {
        let dirs = self.dirs_of_url(url)?.into_iter();
        let found = dirs.filter_map(|dir| self.mirror_at(&dir).ok().flatten());
        let mut mirrors: Vec<Mirror> = found.collect();
        mirrors.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        mirrors.dedup();
        Ok(mirrors)
    }

    /// Lists the directories of mirrors of an upstream, and the aliases that lead to them.
    fn dirs_of_url(&self, url: &UpstreamUrl) -> io::Result<Vec<PathBuf>> {
        let stem = stem(url);
        let mut dirs = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            if has_stem(&name.to_string_lossy(), &stem) {
                dirs.push(self.root.join(name));
            }
        }
        dirs.sort();
        Ok(dirs)
    }

    /// Reads the mirror in a directory, or behind an alias. None where there is no such directory.
    pub(crate) fn mirror_at(&self, dir: &Path) -> io::Result<Option<Mirror>> {
        let Ok(git_dir) = fs::canonicalize(dir) else {
            return Ok(None);
        };
        match Self::read_mirror(git_dir.clone())? {
            Some(mirror) => Ok(Some(mirror)),
            // Its settings were lost. What else is in it may be all that there is of somebody's work.
            None => Err(io::Error::other(format!(
                "'{}' is in its place and has no mirror.url",
                git_dir.display()
            ))),
        }
    }

    /// Finds the mirror with a name.
    pub(crate) fn find_name(&self, name: &Name) -> io::Result<Option<Mirror>> {
        let mut mirrors = self.mirrors()?.into_iter();
        Ok(mirrors.find(|mirror| mirror.settings.name == *name))
    }

    /// Finds the directory with a name, if it is a mirror whose settings cannot be read.
    pub(crate) fn find_unreadable(&self, name: &Name) -> io::Result<Option<Unreadable>> {
        let mut unreadable = self.survey()?.unreadable.into_iter();
        Ok(unreadable.find(|found| found.name() == name.as_ref()))
    }

    /// Returns all mirrors, by name. One whose settings cannot be read is logged and left out.
    pub(crate) fn mirrors(&self) -> io::Result<Vec<Mirror>> {
        Ok(self.survey()?.mirrors)
    }

    /// Reads all mirrors, also those whose settings cannot be read.
    pub(crate) fn survey(&self) -> io::Result<Survey> {
        let (mut mirrors, mut unreadable) = (Vec::new(), Vec::new());
        for git_dir in self.mirror_dirs()? {
            let reason = match Self::read_mirror(git_dir.clone()) {
                Ok(Some(mirror)) => {
                    mirrors.push(mirror);
                    continue;
                }
                Ok(None) => "it has no mirror.url".to_owned(),
                Err(err) => {
                    tracing::warn!("{err}");
                    io_message(&err)
                }
            };
            unreadable.push(Unreadable { git_dir, reason });
        }
        mirrors.sort_by(|a: &Mirror, b: &Mirror| a.settings.name.cmp(&b.settings.name));
        Ok(Survey {
            mirrors,
            unreadable,
        })
    }

    /// Lists the directories of all mirrors, whether their settings can be read or not.
    pub(crate) fn mirror_dirs(&self) -> io::Result<Vec<PathBuf>> {
        let mut dirs = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if !is_unfinished(&entry.file_name()) && entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            }
        }
        Ok(dirs)
    }

    /// Returns the directory of the first mirror of an upstream.
    pub(crate) fn first_dir(&self, url: &UpstreamUrl) -> PathBuf {
        self.root
            .join(dir_names(&stem(url)).next().unwrap_or_default())
    }

    /// Reads the settings of a mirror, after they were restored from their copy if they are damaged.
    fn read_mirror(git_dir: PathBuf) -> io::Result<Option<Mirror>> {
        let mut read = Settings::read(&git_dir);
        let is_damaged = !matches!(read, Ok(Some(_))) || copy::is_longer(&git_dir);
        if is_damaged && copy::restore(&git_dir)? {
            read = Settings::read(&git_dir);
        }
        Ok(read?.map(|settings| Mirror { git_dir, settings }))
    }
}

fn is_unfinished(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(UNFINISHED)
}

#[cfg(test)]
mod tests;

//! The mirrors on disk. The directory is the registry: one bare repository per upstream, its settings in its own
//! configuration, and symbolic links for other URLs that upstream itself redirects to one of them.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{
    address::{name::Name, upstream_url::UpstreamUrl},
    packs::lease,
};
use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest, Sha256};

use crate::{
    mirrors::{
        journal,
        settings::{ServesUrl, Settings, copy},
    },
    process::durable,
};

/// The prefix of what is not a mirror yet, or no longer; nothing of that name outlives the daemon that made it.
const UNFINISHED: &str = ".new-";

/// All mirrors below one folder.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    root: PathBuf,
    /// Held while a mirror gets a name or a place, so that no two get the same.
    naming: Arc<Mutex<()>>,
}

/// A mirror on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Its bare repository.
    pub git_dir: PathBuf,
    /// What it is told to do.
    pub settings: Settings,
}

/// All mirrors, as they were found at one look.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Those that can be read, by name.
    pub mirrors: Vec<Mirror>,
    /// The others.
    pub unreadable: Vec<Unreadable>,
}

/// A mirror whose configuration cannot be read, and why.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Its bare repository.
    pub git_dir: PathBuf,
    /// In words.
    pub reason: String,
}

impl Unreadable {
    /// What it is called: as its directory.
    pub(crate) fn name(&self) -> String {
        let name = self.git_dir.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// A mirror, whether it is there yet or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// Its upstream.
    pub url: UpstreamUrl,
    /// Where it lies, or will lie when its first sync has succeeded.
    pub git_dir: PathBuf,
}

/// A repository that becomes a mirror when its first sync has succeeded, and vanishes otherwise.
pub(crate) struct NewMirror {
    dir: tempfile::TempDir,
    settings: Settings,
}

impl Registry {
    /// The mirrors below `root`, which exists.
    pub(crate) fn new(root: PathBuf) -> Self {
        let naming = Arc::default();
        Self { root, naming }
    }

    /// Removes what interrupted first syncs and removals left, and brings mirrors whose move to another URL was
    /// interrupted to their places. Says what mirrors there are. Only the daemon calls this, before it serves anybody.
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
            let name = mirror.git_dir.file_name().unwrap_or_default();
            if !is_place(&stem(&mirror.settings.url), &name.to_string_lossy()) {
                *mirror = self.take_place(mirror.clone())?;
            }
        }
        Ok(survey)
    }

    /// The mirror that serves this URL: the one that the URL itself has made.
    pub(crate) fn find(&self, url: &UpstreamUrl) -> io::Result<Option<Mirror>> {
        let mut unreadable = None;
        for place in self.places_of(url)? {
            match self.at(&place) {
                Ok(Some(mirror)) if mirror.settings.serves_url == ServesUrl::Yes => {
                    return Ok(Some(mirror));
                }
                Ok(_) => {}
                Err(err) => unreadable = Some(err),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// All mirrors of this upstream whose settings can be read, by name.
    pub(crate) fn of_url(&self, url: &UpstreamUrl) -> io::Result<Vec<Mirror>> {
        let places = self.places_of(url)?.into_iter();
        let found = places.filter_map(|place| self.at(&place).ok().flatten());
        let mut mirrors: Vec<Mirror> = found.collect();
        mirrors.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        mirrors.dedup();
        Ok(mirrors)
    }

    /// Where mirrors of this upstream lie, and links that lead to them, the first one first.
    fn places_of(&self, url: &UpstreamUrl) -> io::Result<Vec<PathBuf>> {
        let stem = stem(url);
        let mut places = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            if is_place(&stem, &name.to_string_lossy()) {
                places.push(self.root.join(name));
            }
        }
        places.sort();
        Ok(places)
    }

    /// The mirror in this directory, or where the link of this name leads.
    pub(crate) fn at(&self, place: &Path) -> io::Result<Option<Mirror>> {
        let Ok(git_dir) = fs::canonicalize(place) else {
            return Ok(None);
        };
        match Self::mirror_at(git_dir.clone())? {
            Some(mirror) => Ok(Some(mirror)),
            // Its settings were lost. What else is in it may be all that there is of somebody's work.
            None => Err(io::Error::other(format!(
                "'{}' is in its place and has no mirror.url",
                git_dir.display()
            ))),
        }
    }

    /// The mirror of this name.
    pub(crate) fn find_name(&self, name: &Name) -> io::Result<Option<Mirror>> {
        let mut all = self.all()?.into_iter();
        Ok(all.find(|mirror| mirror.settings.name == *name))
    }

    /// The mirror in the directory of this name, if its configuration cannot be read.
    pub(crate) fn find_unreadable(&self, name: &Name) -> io::Result<Option<Unreadable>> {
        let mut all = self.survey()?.unreadable.into_iter();
        Ok(all.find(|found| found.name() == name.as_ref()))
    }

    /// All mirrors, by name. One whose settings cannot be read is logged and left out.
    pub(crate) fn all(&self) -> io::Result<Vec<Mirror>> {
        Ok(self.survey()?.mirrors)
    }

    /// All mirrors, and those whose settings cannot be read.
    pub(crate) fn survey(&self) -> io::Result<Survey> {
        let (mut mirrors, mut unreadable) = (Vec::new(), Vec::new());
        for git_dir in self.places()? {
            let reason = match Self::mirror_at(git_dir.clone()) {
                Ok(Some(mirror)) => {
                    mirrors.push(mirror);
                    continue;
                }
                Ok(None) => "it has no mirror.url".to_owned(),
                Err(err) => {
                    tracing::warn!("{err}");
                    common::text::io_message(&err)
                }
            };
            unreadable.push(Unreadable { git_dir, reason });
        }
        let mut survey = Survey {
            mirrors,
            unreadable,
        };
        let by_name = |a: &Mirror, b: &Mirror| a.settings.name.cmp(&b.settings.name);
        survey.mirrors.sort_by(by_name);
        Ok(survey)
    }

    /// Where mirrors lie, whether they can be read or not.
    pub(crate) fn places(&self) -> io::Result<Vec<PathBuf>> {
        let mut places = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if !is_unfinished(&entry.file_name()) && entry.file_type()?.is_dir() {
                places.push(entry.path());
            }
        }
        Ok(places)
    }

    /// Begins a mirror, beside the others and invisible to them.
    pub(crate) fn begin(
        &self,
        settings: Settings,
        format: gix::hash::Kind,
    ) -> io::Result<NewMirror> {
        let dir = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.root)?;
        let options = gix::create::Options {
            object_hash: Some(format),
            ..Default::default()
        };
        gix::create::into(dir.path(), gix::create::Kind::Bare, options).map_err(durable::as_io)?;
        fs::remove_dir_all(dir.path().join("hooks"))?;
        settings.write_new(dir.path())?;
        fs::write(dir.path().join(lease::FILE), "")?;
        journal::write_id(dir.path())?;
        Ok(NewMirror { dir, settings })
    }

    /// Makes what was begun the mirror in a place of its upstream's.
    pub(crate) fn settle(&self, unborn: NewMirror, place: &Path) -> io::Result<Mirror> {
        durable::sync_tree(unborn.dir.path())?;
        let _turn = self.naming();
        self.require_free_name(&unborn.settings.name)?;
        fs::rename(unborn.dir.path(), place)?;
        // Renamed away: there is nothing left for the guard to remove.
        let _ = unborn.dir.keep();
        durable::sync_dir(&self.root)?;
        Ok(Mirror {
            // As it will be found from now on: there is one name for it.
            git_dir: fs::canonicalize(place)?,
            settings: unborn.settings,
        })
    }

    /// Writes new settings of a mirror, and moves it where its URL belongs.
    pub(crate) fn change(&self, mirror: &Mirror, settings: Settings) -> io::Result<Mirror> {
        let _turn = self.naming();
        if settings.name != mirror.settings.name {
            self.require_free_name(&settings.name)?;
        }
        settings.write(&mirror.git_dir)?;
        let changed = Mirror {
            git_dir: mirror.git_dir.clone(),
            settings,
        };
        if changed.settings.url == mirror.settings.url {
            return Ok(changed);
        }
        self.take_place(changed)
    }

    /// Moves a mirror to a place of its URL's. What led to its old one leads nowhere then, and goes.
    fn take_place(&self, mirror: Mirror) -> io::Result<Mirror> {
        let place = self.free_place(&mirror.settings.url)?;
        self.remove_aliases(&mirror.git_dir)?;
        fs::rename(&mirror.git_dir, &place)?;
        durable::sync_dir(&self.root)?;
        Ok(Mirror {
            git_dir: fs::canonicalize(place)?,
            settings: mirror.settings,
        })
    }

    /// Removes a mirror. Nobody may be using it.
    pub(crate) fn remove(&self, git_dir: &Path) -> io::Result<()> {
        let turn = self.naming();
        self.remove_aliases(git_dir)?;
        // At once for all who look, however long it takes and even if it is interrupted.
        let gone = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.root)?;
        fs::rename(git_dir, gone.path().join("mirror.git"))?;
        durable::sync_dir(&self.root)?;
        // It is gone for all who look, and its size holds up nobody; what cannot be removed now, the next daemon removes.
        drop(turn);
        if let Err(err) = gone.close() {
            tracing::warn!("cannot remove all of '{}': {err}", git_dir.display());
        }
        Ok(())
    }

    fn remove_aliases(&self, git_dir: &Path) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path.is_symlink() && fs::canonicalize(&path).is_ok_and(|path| path == git_dir) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Remembers that upstream redirects `url` to the upstream of a mirror.
    pub(crate) fn alias(&self, url: &UpstreamUrl, mirror: &Mirror) -> io::Result<()> {
        let target = mirror.git_dir.file_name().unwrap_or_default();
        let place = self.place(url);
        // It may lead to one that has got another name since, and no longer serves its URL.
        if fs::read_link(&place).is_ok_and(|leads_to| leads_to != Path::new(target)) {
            fs::remove_file(&place)?;
        }
        match symlink(target, place) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    /// A name that no mirror has: the one that is wanted, or that with a number.
    pub(crate) fn free_name(&self, wanted: &Name) -> io::Result<Name> {
        let mirrors = self.all()?.into_iter();
        let taken: BTreeSet<_> = mirrors.map(|mirror| mirror.settings.name).collect();
        let numbered = (2..).map_while(|number| Name::parse(&format!("{wanted}-{number}")).ok());
        let mut names = std::iter::once(wanted.clone()).chain(numbered);
        let free = names.find(|name| !taken.contains(name));
        free.ok_or_else(|| io::Error::other(format!("no name like '{wanted}' is free")))
    }

    fn require_free_name(&self, name: &Name) -> io::Result<()> {
        match self.find_name(name)? {
            Some(other) => Err(io::Error::other(format!(
                "a mirror of '{}' is called '{name}' already",
                other.settings.url
            ))),
            None => Ok(()),
        }
    }

    fn naming(&self) -> MutexGuard<'_, ()> {
        self.naming.lock()
    }

    fn mirror_at(git_dir: PathBuf) -> io::Result<Option<Mirror>> {
        let mut read = Settings::read(&git_dir);
        let is_damaged = !matches!(read, Ok(Some(_))) || copy::is_longer(&git_dir);
        if is_damaged && copy::restore(&git_dir)? {
            read = Settings::read(&git_dir);
        }
        Ok(read?.map(|settings| Mirror { git_dir, settings }))
    }

    /// Where the first mirror of this upstream lies.
    pub(crate) fn place(&self, url: &UpstreamUrl) -> PathBuf {
        self.root.join(format!("{}.git", stem(url)))
    }

    /// A place for one more mirror of this upstream.
    pub(crate) fn free_place(&self, url: &UpstreamUrl) -> io::Result<PathBuf> {
        let (first, stem) = (self.place(url), stem(url));
        let numbered = (2..).map(|number| self.root.join(format!("{stem}-{number}.git")));
        for place in std::iter::once(first).chain(numbered) {
            match fs::symlink_metadata(&place) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(place),
                Ok(found) if found.is_symlink() && !place.exists() => {
                    fs::remove_file(&place)?;
                    return Ok(place);
                }
                _ => {}
            }
        }
        unreachable!("there is always a next number")
    }
}

/// What the directories of all mirrors of this upstream are called by: a part for people, and a hash of the whole URL so
/// that two upstreams never share a directory, whatever the file system thinks of upper and lower case.
fn stem(url: &UpstreamUrl) -> String {
    let last = url
        .path()
        .trim_end_matches(".git")
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let slug: String = last.chars().map(plain).take(40).collect();
    let hash = Sha256::digest(url.as_str().as_bytes());
    format!("{}-{}", slug.trim_matches('-'), hex::encode(&hash[..16]))
}

/// Whether a directory of this name is for mirrors of the upstream with this stem.
fn is_place(stem: &str, name: &str) -> bool {
    let number = name
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_suffix(".git"));
    number.is_some_and(|number| {
        let digits = number.strip_prefix('-').unwrap_or("1");
        let counts = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        number.is_empty() || (number.starts_with('-') && counts)
    })
}

fn is_unfinished(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(UNFINISHED)
}

impl Mirror {
    /// What its syncs are of.
    pub(crate) fn target(&self) -> Target {
        Target {
            url: self.settings.url.clone(),
            git_dir: self.git_dir.clone(),
        }
    }
}

impl NewMirror {
    /// The repository, to be filled.
    pub(crate) fn git_dir(&self) -> &Path {
        self.dir.path()
    }
}

#[cfg(test)]
mod tests;

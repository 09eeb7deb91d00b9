//! Makes, changes and removes mirrors.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use common::{
    address::{
        mirror_dir::{dir_names, stem},
        name::Name,
        upstream_url::UpstreamUrl,
    },
    packs::lease,
};
use parking_lot::MutexGuard;

use super::{Mirror, Registry, UNFINISHED};
use crate::{
    mirrors::{journal, settings::Settings},
    process::durable,
};

/// A repository that becomes a mirror when its first sync has succeeded, and is removed otherwise.
pub(crate) struct NewMirror {
    dir: tempfile::TempDir,
    settings: Settings,
}

impl NewMirror {
    /// The repository, to be filled.
    pub(crate) fn git_dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Registry {
    /// Begins a mirror, beside the others and invisible to them.
    pub(crate) fn begin_mirror(
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

    /// Makes a new mirror visible, in a free directory of its upstream's.
    pub(crate) fn finish_mirror(&self, new: NewMirror, dir: &Path) -> io::Result<Mirror> {
        durable::sync_tree(new.dir.path())?;
        let _names = self.lock_names();
        self.require_free_name(&new.settings.name)?;
        fs::rename(new.dir.path(), dir)?;
        // Renamed away: there is nothing left for the guard to remove.
        let _ = new.dir.keep();
        durable::sync_dir(&self.root)?;
        Ok(Mirror {
            // The path under which every later look finds the mirror.
            git_dir: fs::canonicalize(dir)?,
            settings: new.settings,
        })
    }

    /// Writes new settings of a mirror, and moves the mirror to a directory of its URL's if the URL has changed.
    pub(crate) fn change_settings(
        &self,
        mirror: &Mirror,
        settings: Settings,
    ) -> io::Result<Mirror> {
        let _names = self.lock_names();
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
        self.move_to_own_dir(changed)
    }

    /// Moves a mirror to a free directory of its URL's. Aliases of its old directory are removed.
    pub(super) fn move_to_own_dir(&self, mirror: Mirror) -> io::Result<Mirror> {
        let dir = self.free_dir(&mirror.settings.url)?;
        self.remove_aliases(&mirror.git_dir)?;
        fs::rename(&mirror.git_dir, &dir)?;
        durable::sync_dir(&self.root)?;
        Ok(Mirror {
            git_dir: fs::canonicalize(dir)?,
            settings: mirror.settings,
        })
    }

    /// Removes a mirror. Nobody may be using it.
    pub(crate) fn remove(&self, git_dir: &Path) -> io::Result<()> {
        let names = self.lock_names();
        self.remove_aliases(git_dir)?;
        // A rename removes it at once for everybody, even if the removal of its files is interrupted.
        let removed = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.root)?;
        fs::rename(git_dir, removed.path().join("mirror.git"))?;
        durable::sync_dir(&self.root)?;
        // The removal of a large mirror's files keeps nobody waiting. The next daemon removes what cannot be removed now.
        drop(names);
        if let Err(err) = removed.close() {
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

    /// Records that upstream redirects `url` to the upstream of a mirror, as a symbolic link.
    pub(crate) fn add_alias(&self, url: &UpstreamUrl, mirror: &Mirror) -> io::Result<()> {
        let target = mirror.git_dir.file_name().unwrap_or_default();
        let alias = self.first_dir(url);
        // An older alias may lead to a mirror that has got another name since, and no longer serves its URL.
        if fs::read_link(&alias).is_ok_and(|leads_to| leads_to != Path::new(target)) {
            fs::remove_file(&alias)?;
        }
        match symlink(target, alias) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    /// Returns a name that no mirror has: `wanted`, or `wanted` with a number.
    pub(crate) fn free_name(&self, wanted: &Name) -> io::Result<Name> {
        let mirrors = self.mirrors()?.into_iter();
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

    /// Returns a directory for one more mirror of an upstream.
    pub(crate) fn free_dir(&self, url: &UpstreamUrl) -> io::Result<PathBuf> {
        for name in dir_names(&stem(url)) {
            let dir = self.root.join(name);
            match fs::symlink_metadata(&dir) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(dir),
                Ok(found) if found.is_symlink() && !dir.exists() => {
                    fs::remove_file(&dir)?;
                    return Ok(dir);
                }
                _ => {}
            }
        }
        unreachable!("there is always a next number")
    }

    fn lock_names(&self) -> MutexGuard<'_, ()> {
        self.names.lock()
    }
}

//! The mirrors on disk. The directory is the registry: one bare repository per upstream, its settings in its own
//! configuration, and symbolic links for other URLs that upstream itself redirects to one of them.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use common::{name::Name, upstream_url::UpstreamUrl};
use sha2::{Digest, Sha256};

use crate::{durable, settings::Settings};

/// The prefix of what is not a mirror yet; nothing of that name outlives the daemon that made it.
const UNBORN: &str = ".new-";

/// All mirrors below one folder.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    root: PathBuf,
}

/// A mirror on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    /// Its bare repository.
    pub git_dir: PathBuf,
    /// What it is told to do.
    pub settings: Settings,
}

/// A repository that becomes a mirror when its first sync has succeeded, and vanishes otherwise.
pub(crate) struct Unborn {
    dir: tempfile::TempDir,
    settings: Settings,
}

impl Registry {
    /// The mirrors below `root`, which exists.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Removes what interrupted first syncs left. Only the daemon calls this, before it serves anybody.
    ///
    /// # Errors
    /// Fails when the folder cannot be read.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let dangling = entry.file_type()?.is_symlink() && !entry.path().exists();
            if dangling {
                fs::remove_file(entry.path())?;
            } else if entry.file_name().to_string_lossy().starts_with(UNBORN) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// The mirror of this upstream.
    ///
    /// # Errors
    /// Fails when there is one whose settings cannot be read.
    pub(crate) fn find(&self, url: &UpstreamUrl) -> io::Result<Option<Mirror>> {
        let Ok(git_dir) = fs::canonicalize(self.place(url)) else {
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
    ///
    /// # Errors
    /// Fails when the folder cannot be read.
    pub(crate) fn find_name(&self, name: &Name) -> io::Result<Option<Mirror>> {
        Ok(self
            .all()?
            .into_iter()
            .find(|mirror| mirror.settings.name == *name))
    }

    /// All mirrors, by name. One whose settings cannot be read is logged and left out.
    ///
    /// # Errors
    /// Fails when the folder cannot be read.
    pub(crate) fn all(&self) -> io::Result<Vec<Mirror>> {
        let mut mirrors = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            let unborn = entry.file_name().to_string_lossy().starts_with(UNBORN);
            if unborn || !entry.file_type()?.is_dir() {
                continue;
            }
            match Self::mirror_at(entry.path()) {
                Ok(mirror) => mirrors.extend(mirror),
                Err(err) => tracing::warn!("{err}"),
            }
        }
        mirrors.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
        Ok(mirrors)
    }

    /// Begins a mirror of this upstream, beside the others and invisible to them.
    ///
    /// # Errors
    /// Fails when the disk refuses.
    pub(crate) fn begin(&self, url: &UpstreamUrl, format: gix::hash::Kind) -> io::Result<Unborn> {
        let dir = tempfile::Builder::new()
            .prefix(UNBORN)
            .tempdir_in(&self.root)?;
        let options = gix::create::Options {
            object_hash: Some(format),
            ..Default::default()
        };
        gix::create::into(dir.path(), gix::create::Kind::Bare, options)
            .map_err(io::Error::other)?;
        fs::remove_dir_all(dir.path().join("hooks"))?;
        let settings = Settings::of_url(url);
        settings.write_new(dir.path())?;
        fs::write(dir.path().join("lease"), "")?;
        Ok(Unborn { dir, settings })
    }

    /// Makes what was begun the mirror of its upstream.
    ///
    /// # Errors
    /// Fails when the disk refuses; nothing is then left of it.
    pub(crate) fn settle(&self, unborn: Unborn) -> io::Result<Mirror> {
        let git_dir = self.place(&unborn.settings.url);
        durable::sync_tree(unborn.dir.path())?;
        fs::rename(unborn.dir.path(), &git_dir)?;
        // Renamed away: there is nothing left for the guard to remove.
        let _ = unborn.dir.keep();
        durable::sync_dir(&self.root)?;
        Ok(Mirror {
            // As it will be found from now on: there is one name for it.
            git_dir: fs::canonicalize(git_dir)?,
            settings: unborn.settings,
        })
    }

    /// Remembers that upstream redirects `url` to the upstream of a mirror.
    ///
    /// # Errors
    /// Fails when the disk refuses.
    pub(crate) fn alias(&self, url: &UpstreamUrl, mirror: &UpstreamUrl) -> io::Result<()> {
        let target = self.place(mirror);
        match symlink(target.file_name().unwrap_or_default(), self.place(url)) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn mirror_at(git_dir: PathBuf) -> io::Result<Option<Mirror>> {
        Ok(Settings::read(&git_dir)?.map(|settings| Mirror { git_dir, settings }))
    }

    /// Where the mirror of this upstream lies: a part for people, and a hash of the whole URL so that two upstreams
    /// never share a directory, whatever the file system thinks of upper and lower case.
    fn place(&self, url: &UpstreamUrl) -> PathBuf {
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
        let hash: String = hash
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.root
            .join(format!("{}-{hash}.git", slug.trim_matches('-')))
    }
}

impl Unborn {
    /// The repository, to be filled.
    pub(crate) fn git_dir(&self) -> &Path {
        self.dir.path()
    }
}

#[cfg(test)]
mod tests {
    use common::upstream_url::Address;

    use super::*;

    fn url(text: &str) -> UpstreamUrl {
        match Address::parse(text) {
            Ok(Address::Url(url, _)) => url,
            other => panic!("'{text}' is no URL: {other:?}"),
        }
    }

    fn registry() -> (tempfile::TempDir, Registry) {
        let dir = tempfile::tempdir().expect("temp dir");
        let registry = Registry::new(dir.path().to_path_buf());
        (dir, registry)
    }

    #[test]
    fn a_mirror_is_invisible_until_it_is_settled() {
        let (_dir, registry) = registry();
        let upstream = url("https://gitlab.example/group/project.git");
        let unborn = registry
            .begin(&upstream, gix::hash::Kind::Sha256)
            .expect("begun");
        assert_eq!(registry.find(&upstream).expect("readable"), None);
        assert!(registry.all().expect("readable").is_empty());
        let mirror = registry.settle(unborn).expect("settled");
        assert_eq!(
            registry.find(&upstream).expect("readable"),
            Some(mirror.clone())
        );
        let name = Name::parse("gitlab.example/group/project").expect("a name");
        assert_eq!(registry.find_name(&name).expect("readable"), Some(mirror));
    }

    #[test]
    fn what_was_begun_and_not_settled_leaves_nothing() {
        let (dir, registry) = registry();
        drop(
            registry
                .begin(&url("/some/where"), gix::hash::Kind::Sha1)
                .expect("begun"),
        );
        let killed = registry
            .begin(&url("/some/where"), gix::hash::Kind::Sha1)
            .expect("begun");
        std::mem::forget(killed);
        registry.sweep().expect("swept");
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
    }

    #[test]
    fn two_upstreams_never_share_a_directory() {
        let (_dir, registry) = registry();
        let urls = [
            "https://h/a/p",
            "https://h/A/p",
            "https://h/b/p",
            "http://h/a/p",
            "https://h:8443/a/p",
            "https://h/a/p.git",
        ];
        let places: std::collections::BTreeSet<_> = urls
            .iter()
            .map(|text| registry.place(&url(text)).to_string_lossy().to_lowercase())
            .collect();
        assert_eq!(places.len(), urls.len(), "{places:?}");
    }

    #[test]
    fn an_alias_leads_to_its_mirror() {
        let (_dir, registry) = registry();
        let (typed, real) = (url("https://h/g/p"), url("https://h/g/p.git"));
        let mirror = registry
            .settle(registry.begin(&real, gix::hash::Kind::Sha1).expect("begun"))
            .expect("settled");
        registry.alias(&typed, &real).expect("linked");
        registry.alias(&typed, &real).expect("again is no error");
        assert_eq!(registry.find(&typed).expect("readable"), Some(mirror));
        assert_eq!(
            registry.all().expect("readable").len(),
            1,
            "an alias is no second mirror"
        );
    }
}

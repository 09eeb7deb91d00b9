//! A mirror as its files say: what must be known before a command goes past it.

use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use common::{
    address::{
        mirror_dir::{has_stem, stem},
        upstream_url::UpstreamUrl,
    },
    git::client_context::{UserConfig, truth},
    packs::packed_refs::{self, PackedRefs, has_loose},
    paths::Paths,
    refspec::{self, Refspecs, Route},
};

/// A mirror on disk.
pub(super) struct OnDisk {
    git_dir: PathBuf,
    settings: UserConfig,
}

impl OnDisk {
    /// Finds the mirror that this URL means.
    ///
    /// # Errors
    /// Fails when a mirror of this upstream cannot be read.
    pub(super) fn of_url(paths: &Paths, url: &UpstreamUrl) -> io::Result<Option<Self>> {
        let stem = stem(url);
        for entry in fs::read_dir(paths.mirrors())? {
            let entry = entry?;
            if !has_stem(&entry.file_name().to_string_lossy(), &stem) {
                continue;
            }
            let mirror = Self::at(&entry.path())?;
            let is_of_url = mirror.get("url") == Some(url.as_str());
            if is_of_url && mirror.get("serves-url") != Some("no") {
                return Ok(Some(mirror));
            }
        }
        Ok(None)
    }

    /// Reads the settings of the mirror in this directory.
    ///
    /// # Errors
    /// Fails when they cannot be read.
    pub(super) fn at(git_dir: &Path) -> io::Result<Self> {
        Ok(Self {
            git_dir: git_dir.to_owned(),
            settings: UserConfig::read_file(&git_dir.join("config"))?,
        })
    }

    /// Whether the user's git signs in at upstream, and not a credential of the mirror's own.
    pub(super) fn signs_in_as_git(&self) -> bool {
        self.get("auth").is_none_or(|auth| auth == "git")
    }

    /// Whether it takes pushes.
    pub(super) fn takes_pushes(&self) -> bool {
        self.get("push").is_none_or(truth)
    }

    /// The name of the mirror.
    pub(super) fn name(&self) -> &str {
        self.get("name").unwrap_or_default()
    }

    /// Whether it has a ref that upstream does not have under the same name with the same value.
    ///
    /// # Errors
    /// Fails when its refs cannot be read.
    pub(super) fn has_local_refs(&self) -> io::Result<bool> {
        let (refs, track) = (self.refs()?, self.track()?);
        let mut names = refs.keys().filter(|name| !refspec::is_reserved(name));
        Ok(names.any(|name| !goes_upstream(name, &refs, &track)))
    }

    /// Whether a push of this ref goes to upstream under the same name, and changes nothing that only the mirror has.
    ///
    /// # Errors
    /// Fails when the mirror cannot be read.
    pub(super) fn goes_upstream(&self, name: &[u8]) -> io::Result<bool> {
        Ok(goes_upstream(name, &self.refs()?, &self.track()?))
    }

    /// The objects of all refs, by name.
    fn refs(&self) -> io::Result<HashMap<Vec<u8>, Vec<u8>>> {
        if has_loose(&self.git_dir.join("refs"))? {
            return Err(io::Error::other("some of its refs are loose"));
        }
        let packed = match fs::read(self.git_dir.join(packed_refs::FILE)) {
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(HashMap::new()),
            packed => packed?,
        };
        let damaged = |_| io::Error::other("its refs are damaged");
        let refs = PackedRefs::parse(&packed).map_err(damaged)?;
        refs.map(|each| {
            let each = each.map_err(damaged)?;
            Ok((each.name.to_vec(), each.object.to_vec()))
        })
        .collect()
    }

    fn track(&self) -> io::Result<Refspecs> {
        let entries = self.settings.entries().iter();
        let lines: Vec<&str> = entries
            .filter(|(key, _)| key == "mirror.track")
            .map(|(_, value)| value.as_str())
            .collect();
        match lines.is_empty() {
            true => Ok(Refspecs::everything()),
            false => Refspecs::parse(lines).map_err(io::Error::other),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.settings.get(&format!("mirror.{key}"))
    }
}

/// Whether a ref has the same name at upstream, and there the value that the mirror shows, if it shows one.
fn goes_upstream(name: &[u8], refs: &HashMap<Vec<u8>, Vec<u8>>, track: &Refspecs) -> bool {
    let upstream = match track.route(name) {
        Route::Tracked(upstream) => upstream,
        Route::Through => return true,
        Route::Local | Route::Forbidden => return false,
    };
    let record: &[u8] = &upstream.record();
    let shown = refs.get(name);
    *upstream.as_bstr() == *name && (shown.is_none() || shown == refs.get(record))
}

//! Every setting: its key, what it means, its default. They live in git-config files.
//!
//! A mirror's settings are in its own repository's configuration, so that `git -C MIRROR config -l` shows them all and
//! removing the directory removes them:
//!
//! | key | meaning | default |
//! |---|---|---|
//! | `mirror.name` | what the mirror is called | made from the URL |
//! | `mirror.url` | the upstream's canonical URL, never with credentials | none |
//! | `mirror.track` | a tracked refspec; one line each | all branches and tags |

use std::{io, path::Path};

use common::{
    name::Name,
    refspec::{EVERYTHING, Refspecs},
    upstream_url::{Address, UpstreamUrl},
};
use gix::{
    bstr::{BString, ByteSlice},
    config::{File, Source},
};

use crate::durable;

/// What a mirror is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `mirror.name`
    pub name: Name,
    /// `mirror.url`
    pub url: UpstreamUrl,
    /// `mirror.track`
    pub track: Refspecs,
}

/// What makes git leave a mirror alone, and what it may serve. None of it is the user's to set.
const REPOSITORY: [(&str, &str); 14] = [
    ("core.bare", "true"),
    ("core.logAllRefUpdates", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.fsync", "all"),
    ("core.fsmonitor", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("receive.unpackLimit", "1"),
    ("receive.autogc", "false"),
    ("transfer.hideRefs", "refs/upstream"),
    ("transfer.hideRefs", "refs/mirror"),
    ("transfer.bundleURI", "false"),
    ("uploadpack.allowFilter", "true"),
    ("uploadpack.allowAnySHA1InWant", "true"),
];

impl Settings {
    /// The settings of a mirror that is made because somebody asked for this URL.
    #[must_use]
    pub(crate) fn of_url(url: &UpstreamUrl) -> Self {
        Self {
            name: url.mirror_name(),
            url: url.clone(),
            track: Refspecs::everything(),
        }
    }

    /// Reads a mirror's settings; `None` when the repository is not a mirror.
    ///
    /// # Errors
    /// Fails with the reason when the file cannot be read or a setting makes no sense.
    pub(crate) fn read(git_dir: &Path) -> io::Result<Option<Self>> {
        let path = git_dir.join("config");
        let file = File::from_path_no_includes(path.clone(), Source::Local)
            .map_err(|err| io::Error::other(format!("cannot read '{}': {err}", path.display())))?;
        let Some(url) = file.string("mirror.url") else {
            return Ok(None);
        };
        let bad = |key: &str, why: &dyn std::fmt::Display| {
            io::Error::other(format!("'{}' has a bad {key}: {why}", path.display()))
        };
        let url = match Address::parse(&url.to_str_lossy()) {
            Ok(Address::Url(url, None)) => url,
            Ok(_) => return Err(bad("mirror.url", &"it is not a URL without credentials")),
            Err(err) => return Err(bad("mirror.url", &err)),
        };
        // A name that is none today was made from the URL by other rules than today's.
        let name = file
            .string("mirror.name")
            .and_then(|name| Name::parse(&name.to_str_lossy()).ok())
            .unwrap_or_else(|| url.mirror_name());
        let track: Vec<String> = match file.strings("mirror.track") {
            Some(lines) => lines
                .iter()
                .map(|line| line.to_str_lossy().into_owned())
                .collect(),
            None => EVERYTHING.map(str::to_owned).to_vec(),
        };
        let track = Refspecs::parse(track.iter().map(String::as_str))
            .map_err(|err| bad("mirror.track", &err))?;
        Ok(Some(Self { name, url, track }))
    }

    /// Writes the configuration of a new repository, on top of what git's format requires there.
    ///
    /// # Errors
    /// Fails when the file cannot be read or written.
    pub(crate) fn write_new(&self, git_dir: &Path) -> io::Result<()> {
        let path = git_dir.join("config");
        let mut file =
            File::from_path_no_includes(path.clone(), Source::Local).map_err(io::Error::other)?;
        let ours = [
            ("mirror.name", self.name.as_ref()),
            ("mirror.url", self.url.as_str()),
        ];
        let track = EVERYTHING.map(|refspec| ("mirror.track", refspec));
        for (key, value) in REPOSITORY.into_iter().chain(ours).chain(track) {
            let (section, name) = key.split_once('.').expect("every key has a section");
            let mut section = match file.section_mut(section, None) {
                Ok(section) => section,
                Err(_) => file.new_section(section, None).map_err(io::Error::other)?,
            };
            let many = ["hideRefs", "track"].contains(&name);
            if !many && section.contains_value_name(name) {
                section
                    .set(name, BString::from(value))
                    .map_err(io::Error::other)?;
            } else {
                section
                    .push(name, Some(BString::from(value).as_ref()))
                    .map_err(io::Error::other)?;
            }
        }
        durable::replace(&path, &file.to_bstring())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_mirrors_settings_read_back_as_they_were_written() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::write(
            dir.path().join("config"),
            "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
        )
        .expect("written");
        let Ok(Address::Url(url, _)) =
            Address::parse("https://gitlab.example/group/a \"b\" #c;d.git".trim())
        else {
            // What the parser refuses cannot be a mirror.
            return;
        };
        let settings = Settings::of_url(&url);
        settings.write_new(dir.path()).expect("written");
        assert_eq!(
            Settings::read(dir.path()).expect("readable"),
            Some(settings)
        );
    }

    #[test]
    fn a_repository_that_is_no_mirror_has_no_settings() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::write(dir.path().join("config"), "[core]\n\tbare = true\n").expect("written");
        assert_eq!(Settings::read(dir.path()).expect("readable"), None);
    }
}

//! The copy of a mirror's configuration, with a checksum, which replaces a damaged configuration.
//!
//! People may edit the configuration: one that can be read and has a URL is right, and the copy is made anew from it. One
//! that cannot be read, has no URL, or ends in the middle of the settings is damaged.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use common::address::upstream_url::Address;
use gix::bstr::ByteSlice;

use super::{
    Auth, Rules, SERVES_URL, URL,
    entries::{SECTION, full_key},
    file::ConfigFile,
};
use crate::{
    mirrors::repairs,
    process::{checksum, durable},
};

/// The file, beside the configuration.
const FILE: &str = "config.copy";

/// The beginning of its first line. The checksum of all other lines follows.
const HEADER: &str = "# copy of config, form 1 ";

fn path(git_dir: &Path) -> PathBuf {
    git_dir.join(FILE)
}

/// Writes the copy, durably.
pub(super) fn write(git_dir: &Path, content: &[u8]) -> io::Result<()> {
    let first = format!("{HEADER}{}\n", checksum::of(content));
    durable::replace(&path(git_dir), &[first.as_bytes(), content].concat())
}

/// Makes the copy anew from a configuration that is not damaged.
pub(crate) fn refresh(git_dir: &Path) -> io::Result<()> {
    let content = fs::read(git_dir.join("config"))?;
    if read(git_dir).as_deref() == Some(&content) {
        return Ok(());
    }
    write(git_dir, &content)
}

/// Replaces a damaged configuration by its copy. Returns whether it did.
pub(crate) fn restore(git_dir: &Path) -> io::Result<bool> {
    let Some(content) = read(git_dir) else {
        return Ok(false);
    };
    let config = git_dir.join("config");
    let found = fs::read(&config).ok();
    if found.is_some_and(|found| has_url(&config) && !has_lost_its_end(&found, &content)) {
        return Ok(false);
    }
    repairs::record(
        git_dir,
        "'config' was damaged or gone; it is restored from its copy",
    )?;
    durable::replace(&config, &content)?;
    Ok(true)
}

/// Whether the copy is longer than the configuration, which may then have lost its end.
pub(crate) fn is_longer(git_dir: &Path) -> bool {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let first = HEADER.len() + checksum::of(b"").len() + 1;
    length(&path(git_dir)) > length(&git_dir.join("config")) + first as u64
}

/// Reads the content of the copy; None if there is no copy, or its checksum is wrong.
fn read(git_dir: &Path) -> Option<Vec<u8>> {
    let file = fs::read(path(git_dir)).ok()?;
    let (first, content) = file.split_once_str("\n")?;
    let is_whole = first.strip_prefix(HEADER.as_bytes()) == Some(checksum::of(content).as_bytes());
    is_whole.then(|| content.to_vec())
}

fn has_url(config: &Path) -> bool {
    let url = ConfigFile::read(config).map(|file| file.values(&full_key(URL)).pop());
    let url = url.ok().flatten().unwrap_or_default();
    matches!(Address::parse(&url), Ok(Address::Url(_, None)))
}

/// Whether `found` is a part of the copy that ends in the middle of a line, or lacks settings that every mirror has. A part
/// with all of them is older than the copy: a daemon was killed between the two writes.
fn has_lost_its_end(found: &[u8], copy: &[u8]) -> bool {
    if found.len() >= copy.len() || !copy.starts_with(found) {
        return false;
    }
    let names = ConfigFile::parse(Path::new("config"), found.to_vec())
        .map(|file| file.names(SECTION))
        .unwrap_or_default();
    let auth_keys = Auth::default().lines().into_iter();
    let auth_keys = auth_keys.filter_map(|(key, value)| value.map(|_| key));
    let rule_keys = Rules::default().values().lines().into_iter();
    let rule_keys = rule_keys.filter_map(|(key, lines)| (!lines.is_empty()).then_some(key));
    let mut required = rule_keys.chain(auth_keys).chain([SERVES_URL]);
    !found.ends_with(b"\n") || required.any(|key| !names.iter().any(|name| name == key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirrors::settings::Settings;

    #[test]
    fn a_configuration_that_lost_its_end_is_restored_and_one_that_somebody_edited_is_not() {
        let Ok(Address::Url(url, _)) = Address::parse("https://gitlab.example/a/b.git") else {
            panic!("it is a URL");
        };
        let dir = tempfile::tempdir().expect("a directory");
        let config = dir.path().join("config");
        fs::write(&config, "[core]\n\tbare = true\n").expect("ours");
        let settings = Settings::for_url(&url, Rules::default());
        settings.write_new(dir.path()).expect("written");
        let whole = fs::read(&config).expect("there");
        let start = whole.find(b"[mirror]").expect("a section");
        for end in 0..whole.len() {
            fs::write(&config, &whole[..end]).expect("ours");
            assert!(end < start || is_longer(dir.path()), "{end}");
            assert!(restore(dir.path()).expect("restored"), "cut at {end}");
            assert_eq!(fs::read(&config).expect("there"), whole);
        }
        let edited = [&whole[..], b"\tautomatic = yes\n"].concat();
        for content in [edited, whole.replace("every = 1h", "every = 2h")] {
            fs::write(&config, &content).expect("ours");
            assert!(!restore(dir.path()).expect("looked at"));
            refresh(dir.path()).expect("written");
            fs::remove_file(&config).expect("ours");
            assert!(restore(dir.path()).expect("restored"));
            assert_eq!(fs::read(&config).expect("there"), content);
        }
        // Killed after the configuration was written, and before the copy.
        write(dir.path(), &[&whole[..], b"\tautomatic = yes\n"].concat()).expect("written");
        fs::write(&config, &whole).expect("ours");
        assert!(!restore(dir.path()).expect("looked at"));
    }
}

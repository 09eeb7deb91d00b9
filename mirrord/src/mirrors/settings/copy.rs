//! The copy of a mirror's configuration, with a checksum, and when it replaces the configuration.
//!
//! People may edit the configuration: what can be read and names an upstream is right, and the copy follows. What cannot be
//! read, names no upstream or ends before the settings do was damaged.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use common::address::upstream_url::Address;
use gix::bstr::ByteSlice;

use super::{
    Auth, Rules, SERVES_URL, URL,
    entries::{SECTION, full},
    file::ConfigFile,
};
use crate::{
    mirrors::repairs,
    process::{checksum, durable},
};

/// The file, beside the configuration.
const FILE: &str = "config.copy";

/// How its first line begins, which ends with the checksum of the rest.
const FORM: &str = "# copy of config, form 1 ";

fn path(git_dir: &Path) -> PathBuf {
    git_dir.join(FILE)
}

/// Writes the copy, to last.
pub(super) fn write(git_dir: &Path, content: &[u8]) -> io::Result<()> {
    let first = format!("{FORM}{}\n", checksum::of(content));
    durable::replace(&path(git_dir), &[first.as_bytes(), content].concat())
}

/// Makes the copy what the configuration is, which can be read.
pub(crate) fn refresh(git_dir: &Path) -> io::Result<()> {
    let content = fs::read(git_dir.join("config"))?;
    if read(git_dir).as_deref() == Some(&content) {
        return Ok(());
    }
    write(git_dir, &content)
}

/// Replaces a damaged configuration by its copy. Says whether it did.
pub(crate) fn restore(git_dir: &Path) -> io::Result<bool> {
    let Some(content) = read(git_dir) else {
        return Ok(false);
    };
    let config = git_dir.join("config");
    let found = fs::read(&config).ok();
    if found.is_some_and(|found| names_upstream(&config) && !is_cut(&found, &content)) {
        return Ok(false);
    }
    repairs::record(
        git_dir,
        "'config' was damaged or gone; it is restored from its copy",
    )?;
    durable::replace(&config, &content)?;
    Ok(true)
}

/// Whether the configuration may have lost its end: it is shorter than the copy.
pub(crate) fn is_longer(git_dir: &Path) -> bool {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let first = FORM.len() + checksum::of(b"").len() + 1;
    length(&path(git_dir)) > length(&git_dir.join("config")) + first as u64
}

/// The content of the copy; `None` when there is none, or it is not as it was written.
fn read(git_dir: &Path) -> Option<Vec<u8>> {
    let file = fs::read(path(git_dir)).ok()?;
    let (first, content) = file.split_once_str("\n")?;
    let is_whole = first.strip_prefix(FORM.as_bytes()) == Some(checksum::of(content).as_bytes());
    is_whole.then(|| content.to_vec())
}

fn names_upstream(config: &Path) -> bool {
    let url = ConfigFile::read(config).map(|file| file.values(&full(URL)).pop());
    let url = url.ok().flatten().unwrap_or_default();
    matches!(Address::parse(&url), Ok(Address::Url(_, None)))
}

/// Whether this is the beginning of the copy, up to the middle of a line, or without settings that every mirror has: a kill
/// between the two writes may leave one of them without the others.
fn is_cut(found: &[u8], copy: &[u8]) -> bool {
    if found.len() >= copy.len() || !copy.starts_with(found) {
        return false;
    }
    let names = ConfigFile::parse(Path::new("config"), found.to_vec())
        .map(|file| file.names(SECTION))
        .unwrap_or_default();
    let of_auth = Auth::default().lines().into_iter();
    let of_auth = of_auth.filter_map(|(key, value)| value.map(|_| key));
    let of_rules = Rules::default().values().lines().into_iter();
    let of_rules = of_rules.filter_map(|(key, lines)| (!lines.is_empty()).then_some(key));
    let mut always = of_rules.chain(of_auth).chain([SERVES_URL]);
    !found.ends_with(b"\n") || always.any(|key| !names.iter().any(|name| name == key))
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
        let settings = Settings::of_url(&url, Rules::default());
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

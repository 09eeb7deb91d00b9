//! A file in git's configuration syntax. A change of a key keeps the rest as it is: comments, order, other sections.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use common::text::io_message;
use gix::{
    bstr::{BString, ByteSlice},
    config::{
        File, Source,
        file::{Metadata, init::Options},
    },
};

use crate::process::durable;

/// The content of a configuration file, and its path.
pub(crate) struct ConfigFile {
    path: PathBuf,
    file: File,
}

impl ConfigFile {
    /// Reads a file. Files that it includes are not read, because a change could not be written there.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let shown = path.display();
        let content = fs::read(path).map_err(|err| {
            let why = io_message(&err);
            io::Error::new(err.kind(), format!("cannot read '{shown}': {why}"))
        })?;
        Self::parse(path, content)
    }

    /// Parses the content of a file.
    pub(super) fn parse(path: &Path, mut content: Vec<u8>) -> io::Result<Self> {
        let shown = path.display();
        if !content.ends_with(b"\n") {
            // gix would append to the last line.
            content.push(b'\n');
        }
        let meta = Metadata::from(Source::Local);
        let file = File::from_bytes_no_includes(&content, meta, Options::default());
        let file = file.map_err(|err| {
            // The message of gix contains the whole line, which may be anything.
            let line = err
                .downcast_any_ref::<gix::config::parse::Error>()
                .map_or(1, gix::config::parse::Error::line_number);
            io::Error::other(format!("bad config line {line} in '{shown}'"))
        })?;
        let path = path.to_owned();
        Ok(Self { path, file })
    }

    /// Reads a file, or begins an empty one if there is none.
    pub(crate) fn read_or_new(path: &Path) -> io::Result<Self> {
        match Self::read(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Self {
                path: path.to_owned(),
                file: File::new(Metadata::from(Source::Local)),
            }),
            read => read,
        }
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the values of a key such as `core.bare`, in their order.
    pub(crate) fn values(&self, key: &str) -> Vec<String> {
        let values = self.file.strings(key).unwrap_or_default();
        let values = values.iter().map(|value| value.to_str_lossy());
        values.map(std::borrow::Cow::into_owned).collect()
    }

    /// Returns the names of all variables in a section, those of a subsection as `SUBSECTION.NAME`.
    pub(crate) fn names(&self, section: &str) -> Vec<String> {
        let sections = self.file.sections_by_name(section).into_iter().flatten();
        let names = sections.flat_map(|section| {
            let below = section.header().subsection_name();
            let below = below.map(|name| format!("{name}.")).unwrap_or_default();
            let names = section.value_names();
            names
                .map(|name| format!("{below}{name}"))
                .collect::<Vec<_>>()
        });
        names.collect()
    }

    /// Sets the values of a key. Changes nothing if the key has them already.
    pub(crate) fn put(&mut self, key: &str, values: &[String]) -> io::Result<()> {
        let old = self.values(key);
        if old == values {
            return Ok(());
        }
        let (section, name) = key.split_once('.').expect("every key has a section");
        let holders: Vec<_> = self
            .file
            .sections_and_ids_by_name(section)
            .into_iter()
            .flatten()
            .filter(|(section, _)| section.header().subsection_name().is_none())
            .filter(|(section, _)| section.contains_value_name(name))
            .map(|(_, id)| id)
            .collect();
        if let ([id], [_], [value]) = (&*holders, &*old, values) {
            let mut section = self.file.section_mut_by_id(*id).expect("it was just found");
            // A name without `=` cannot be given a value in place.
            if section.value(name).is_some() {
                section
                    .set(name, value.as_str())
                    .map_err(io::Error::other)?;
                return Ok(());
            }
        }
        for id in holders {
            let mut section = self.file.section_mut_by_id(id).expect("it was just found");
            while section.remove(name).is_some() {}
        }
        if values.is_empty() {
            return Ok(());
        }
        let mut section = self
            .file
            .section_mut_or_create_new(section, None)
            .map_err(io::Error::other)?;
        for value in values {
            section
                .push(name, Some(BString::from(value.as_str()).as_ref()))
                .map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Replaces the file on disk, durably.
    pub(crate) fn write(&self) -> io::Result<()> {
        durable::replace(&self.path, &self.content())
    }

    /// Returns the content to be written.
    pub(super) fn content(&self) -> BString {
        self.file.to_bstring()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// Returns what git itself reads.
    fn git(path: &Path, key: &str) -> Vec<String> {
        let out = Command::new("git")
            .args(["config", "--null", "--file"])
            .arg(path)
            .args(["--get-all", key])
            .output()
            .expect("git runs");
        let out = String::from_utf8(out.stdout).expect("text");
        out.split_terminator('\0').map(str::to_owned).collect()
    }

    fn edited(before: &str, key: &str, values: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("config");
        fs::write(&path, before).expect("written");
        let mut file = ConfigFile::read(&path).expect("readable");
        let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
        file.put(key, &values).expect("put");
        file.write().expect("written");
        (dir, path)
    }

    #[test]
    fn a_change_leaves_all_else_as_it_was() {
        let before = "# mine\n[core]\n\tbare = true ; why\n[mirror]\n\tpush = no # for CI\n\n\ttrack = a\n\ttrack = b\n[user]\n\tname = me\n";
        let (_dir, path) = edited(before, "mirror.push", &["yes"]);
        let after = fs::read_to_string(&path).expect("readable");
        assert_eq!(after, before.replace("push = no", "push = yes"));
        let (_dir, path) = edited(before, "mirror.track", &["c", "d", "e"]);
        let after = fs::read_to_string(&path).expect("readable");
        let lines = "\ttrack = c\n\ttrack = d\n\ttrack = e\n";
        assert_eq!(after, before.replace("\ttrack = a\n\ttrack = b\n", lines));
        let (_dir, path) = edited(before, "mirror.push", &["no"]);
        assert_eq!(fs::read_to_string(&path).expect("readable"), before);
    }

    #[test]
    fn git_reads_what_was_put_into_any_shape_of_file() {
        let files = [
            "",
            "# only words",
            "[mirror]",
            "[mirror]\n\tname = x",
            "[mirror]\n\tpush",
            "[mirror]\n\tpush\n\tname = x\n",
            "[mirror] push = no",
            "[mirror]\n\tpush = \\\n no\n\tname = x\n",
            "[mirror]\n\tpush = no\n[a]\n[mirror]\n\tpush = no\n",
            "[Mirror]\n\tPUSH = no\n",
            "[mirror \"x\"]\n\tpush = sub\n",
            "[mirror]\r\n\tpush = no\r\n",
            "[mirror]\n\tpush = no # no more",
            "[a][mirror]push=no\n[b]\n\tc = d",
        ];
        for before in files {
            for values in [&["yes"][..], &["a b", ""], &[]] {
                let (_dir, path) = edited(before, "mirror.push", values);
                assert_eq!(git(&path, "mirror.push"), values, "{before:?}");
                for (key, rest) in [("mirror.name", "x"), ("mirror.x.push", "sub"), ("b.c", "d")] {
                    let had = before.contains(&format!("= {rest}"));
                    assert_eq!(git(&path, key).len(), usize::from(had), "{before:?}");
                }
            }
        }
    }

    proptest! {
        // Each of them runs git.
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_is_read_back_by_us_and_by_git(
            value in prop_oneof!["[ \"\\\\#;=\\[\\]ab\n\t\r\u{e9}]{0,12}", "[^\0]{0,12}"]
        ) {
            let (_dir, path) = edited("[mirror]\n\tpush = no\n", "mirror.description", &[&value]);
            prop_assert_eq!(git(&path, "mirror.description"), [value.clone()]);
            let file = ConfigFile::read(&path).expect("readable");
            prop_assert_eq!(file.values("mirror.description"), [value]);
            prop_assert_eq!(file.values("mirror.push"), ["no"]);
        }
    }
}

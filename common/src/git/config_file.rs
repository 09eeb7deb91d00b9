//! A file of git's configuration for one child. Values that may be secret go by it, because arguments and environments
//! are shown to other processes.

use std::{
    io::{self, Write},
    path::Path,
    process::Command,
};

use tempfile::TempPath;

/// The file: only its owner can read it, and dropping this removes it.
pub struct ConfigFile(TempPath);

impl ConfigFile {
    /// Writes the settings into a new file in this directory.
    ///
    /// # Errors
    /// Fails when a key or a value cannot be written as configuration, or the disk refuses.
    pub fn create<'s>(
        dir: &Path,
        settings: impl IntoIterator<Item = (&'s str, &'s [u8])>,
    ) -> io::Result<Self> {
        let mut text = Vec::new();
        for (key, value) in settings {
            let entry = entry(key, value);
            text.extend(entry.ok_or_else(|| {
                let message = format!("cannot write '{key}' into a configuration file");
                io::Error::new(io::ErrorKind::InvalidInput, message)
            })?);
        }
        let mut file = tempfile::Builder::new()
            .prefix("settings-")
            .tempfile_in(dir)?;
        file.write_all(&text)?;
        Ok(Self(file.into_temp_path()))
    }

    /// Makes a child of git, and the children of that, read the file. `-c` still comes after it.
    pub fn include_in(&self, git: &mut Command) {
        git.env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "include.path")
            .env("GIT_CONFIG_VALUE_0", &*self.0);
    }
}

/// A value as a configuration file has it.
#[must_use]
pub fn quoted(value: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in value {
        match byte {
            b'"' | b'\\' => quoted.extend([b'\\', *byte]),
            b'\n' => quoted.extend(b"\\n"),
            byte => quoted.push(*byte),
        }
    }
    quoted.push(b'"');
    quoted
}

/// Returns one setting with the heading of its section; None if no file can have it.
fn entry(key: &str, value: &[u8]) -> Option<Vec<u8>> {
    let (section, rest) = key.split_once('.')?;
    if key.contains(['\n', '\0']) || value.contains(&0) {
        return None;
    }
    let (heading, variable) = match rest.rsplit_once('.') {
        Some((subsection, variable)) => {
            let subsection = subsection.replace('\\', "\\\\").replace('"', "\\\"");
            (format!("[{section} \"{subsection}\"]"), variable)
        }
        None => (format!("[{section}]"), rest),
    };
    let begin = format!("{heading}\n\t{variable} = ");
    Some([begin.as_bytes(), &quoted(value), b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::git;

    #[test]
    fn git_reads_what_was_written_and_nobody_else_can() {
        let settings: [(&str, &[u8]); 7] = [
            ("http.extraheader", b"X: \"quoted\" \\ # ; \xff"),
            ("http.extraheader", b""),
            ("http.https://h:1/a.b/\"c\\.proxy", b"http://me:pw@proxy:1"),
            ("push.pushoption", b"two\nlines\n"),
            ("push.pushoption", b" blanks \t"),
            ("push.pushoption", b"carriage\r\nreturn\r"),
            ("credential.helper", b"!f() { echo 'a'; }; f"),
        ];
        let dir = tempfile::tempdir().expect("a directory");
        let file = ConfigFile::create(dir.path(), settings).expect("it is ours");
        let mode = fs::metadata(&file.0).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut git = git::fenced();
        git.args(["config", "-z", "--list", "--includes"]);
        file.include_in(&mut git);
        let read = git.output().expect("git runs").stdout;
        let written = settings.map(|(key, value)| [key.as_bytes(), b"\n", value, b"\0"].concat());
        let written = written.concat();
        // What a fenced git is told by `-c` comes behind it.
        let is_read = read.windows(written.len()).any(|part| part == written);
        assert!(is_read, "{:?}", String::from_utf8_lossy(&read));
        drop(file);
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
    }

    #[test]
    fn a_key_that_no_file_can_have_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        for key in ["none", "http.a\nb.proxy"] {
            assert!(ConfigFile::create(dir.path(), [(key, &b"x"[..])]).is_err());
        }
    }
}

//! Object stores for tests, in repositories that git has made.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::SystemTime,
};

use common::git;

use super::packs;
use crate::{
    mirrors::{
        registry::Mirror,
        settings::{Rules, Settings},
    },
    repository::quarantine::LOCAL_MARK,
};

/// The mirror at a directory, whose upstream nobody asks.
pub(super) fn mirror(dir: &Path) -> Mirror {
    let address =
        common::address::upstream_url::Address::parse("https://gitlab.example/group/project.git");
    let Ok(common::address::upstream_url::Address::Url(url, _)) = address else {
        panic!("it is a URL");
    };
    Mirror {
        git_dir: dir.to_owned(),
        settings: Settings::for_url(&url, Rules::default()),
    }
}

/// A bare repository; each pack that is put into it has other objects.
pub(super) struct Store {
    dir: tempfile::TempDir,
    made: usize,
}

impl Store {
    /// Creates an empty repository.
    pub(super) fn new() -> Self {
        Self::of("sha1")
    }

    /// Creates an empty repository of an object format.
    pub(super) fn of(format: &str) -> Self {
        let dir = tempfile::tempdir().expect("temp dir");
        let init = [
            "init",
            "-q",
            "--bare",
            "-b",
            "main",
            "--object-format",
            format,
        ];
        let made = git::fenced().args(init).arg(dir.path()).status();
        assert!(made.expect("git runs").success());
        Self { dir, made: 0 }
    }

    /// The path of the repository.
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path of a file beside the packs.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        packs::pack_dir(self.path()).join(name)
    }

    /// Runs git in it; returns what git printed.
    pub(super) fn git(&self, args: &[&str], input: &str) -> String {
        let mut git: Command = git::at(self.path());
        let mut child = git
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("git runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("git reads it");
        drop(stdin);
        let ended = child.wait_with_output().expect("git ends");
        assert!(ended.status.success(), "git {args:?}");
        String::from_utf8_lossy(&ended.stdout).trim().to_owned()
    }

    /// Adds a pack of so many blobs; returns its name.
    pub(super) fn pack(&mut self, blobs: usize) -> String {
        let before = self.names();
        let mut stream = String::new();
        for _ in 0..blobs {
            self.made += 1;
            let content = format!("blob {}", self.made);
            stream += &format!("blob\ndata {}\n{content}\n", content.len());
        }
        let import = ["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"];
        self.git(&import, &stream);
        let mut new = self.names();
        new.retain(|name| !before.contains(name));
        new.pop().expect("there is a new one")
    }

    /// Adds a pack of so many commits, each with a tree and a file of its own, the first upon what the branch has.
    pub(super) fn history(&mut self, branch: &str, commits: usize) {
        let mut stream = String::new();
        for at in 0..commits {
            self.made += 3;
            let content = format!("{branch} {}", self.made);
            let from = match at {
                0 if self.has(&format!("refs/heads/{branch}")) => {
                    format!("from refs/heads/{branch}^0\n")
                }
                _ => String::new(),
            };
            stream += &format!(
                "commit refs/heads/{branch}\ncommitter M <m@m> {} +0000\ndata {length}\n{content}\n{from}\
                 M 100644 inline {branch}\ndata {length}\n{content}\n\n",
                1_700_000_000 + self.made,
                length = content.len(),
            );
        }
        let import = ["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"];
        self.git(&import, &stream);
        self.git(&["pack-refs", "--all"], "");
    }

    /// Adds a commit to a branch, with a file that takes more than a megabyte however it is compressed.
    pub(super) fn big(&mut self, branch: &str) {
        self.made += 3;
        let mut state = self.made as u64;
        let digits = (0..2_400_000).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from_digit((state >> 60) as u32, 16).unwrap_or('0')
        });
        let digits: String = digits.collect();
        let stream = format!(
            "commit refs/heads/{branch}\ncommitter M <m@m> {} +0000\ndata 3\nbig\n\
             from refs/heads/{branch}^0\nM 100644 inline {branch}\ndata {}\n{digits}\n\n",
            1_700_000_000 + self.made,
            digits.len(),
        );
        let import = ["-c", "fastimport.unpackLimit=0", "fast-import", "--quiet"];
        self.git(&import, &stream);
        self.git(&["pack-refs", "--all"], "");
    }

    /// Whether git finds an object.
    pub(super) fn has(&self, what: &str) -> bool {
        let check = self.git(&["cat-file", "--batch-check"], &format!("{what}\n"));
        !check.ends_with(" missing")
    }

    /// Puts the objects of packs into one more pack; returns its name.
    pub(super) fn together(&self, names: &[&str]) -> String {
        let input: String = names.iter().map(|name| format!("{name}.pack\n")).collect();
        let base = self.file("pack");
        let base = base.to_str().expect("plain");
        let hash = self.git(&["pack-objects", "--stdin-packs", "-q", base], &input);
        format!("pack-{hash}")
    }

    /// The names of all packs.
    pub(super) fn names(&self) -> Vec<String> {
        let packs = packs::sizes(self.path()).expect("readable");
        packs.into_keys().collect()
    }

    /// Keeps packs apart, as those of local pushes are.
    pub(super) fn mark(&self, names: &[&str]) {
        for name in names {
            fs::write(self.file(&format!("{name}.keep")), LOCAL_MARK).expect("written");
        }
    }

    /// The files beside the packs that belong to none.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(packs::pack_dir(self.path())).expect("readable");
        let names = entries.map(|entry| entry.expect("readable").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        let packs = self.names();
        names
            .filter(|name| !packs.iter().any(|pack| name.starts_with(pack.as_str())))
            .collect()
    }

    /// The names of the packs that have been replaced.
    pub(super) fn replaced(&self) -> Vec<String> {
        let replaced = packs::replaced(self.path()).expect("readable");
        let mut names: Vec<_> = replaced.into_iter().flat_map(|kind| kind.names).collect();
        names.sort();
        names
    }

    /// Drops the packs that have been replaced.
    pub(super) fn drop_replaced(&self) {
        let replaced = packs::replaced(self.path()).expect("readable");
        let dropped = packs::drop_replaced(self.path(), &replaced, SystemTime::now());
        dropped.expect("dropped");
    }

    /// Whether every object is there and right.
    pub(super) fn has_all(&self) -> bool {
        let listed = self.git(
            &[
                "cat-file",
                "--batch-all-objects",
                "--batch-check=%(objectname)",
            ],
            "",
        );
        self.git(&["fsck", "--full", "--strict"], "");
        listed.lines().count() == self.made
    }
}

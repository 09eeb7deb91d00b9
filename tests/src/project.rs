//! An upstream: a bare repository whose history a test writes with a few short calls.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Run;

/// The time of a project's first commit, 2026-01-01; each later one is a minute younger.
const FIRST_COMMIT: u64 = 1_767_225_600;

const MINUTE: u64 = 60;

/// A bare repository to follow. Equal calls give equal object ids, in every run.
#[derive(Debug)]
pub struct Project {
    dir: PathBuf,
    clock: AtomicU64,
}

impl Project {
    /// Creates an empty one whose HEAD names `main`.
    #[track_caller]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_format(dir.into(), "sha1")
    }

    /// Creates one whose object ids are SHA-256.
    #[track_caller]
    pub fn sha256(dir: impl Into<PathBuf>) -> Self {
        Self::with_format(dir.into(), "sha256")
    }

    #[track_caller]
    fn with_format(dir: PathBuf, format: &str) -> Self {
        fs::create_dir_all(&dir).expect("the directory of a project can be made");
        let project = Self {
            dir,
            clock: AtomicU64::new(FIRST_COMMIT),
        };
        let format = format!("--object-format={format}");
        let init = ["init", "-q", "--bare", "--template=", "-b", "main", &format];
        Run::fenced("git", init, &project.dir).at(&project.dir).ok();
        project
    }

    /// Returns the bare repository.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns its `file://` URL.
    pub fn url(&self) -> String {
        format!("file://{}", self.dir.display())
    }

    /// Prepares git inside it, away from any world's configuration.
    pub fn git<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::fenced("git", args, &self.dir)
            .at(&self.dir)
            .env("GIT_DIR", &self.dir)
            // An upstream need not survive a power cut, and many are made at once.
            .env("GIT_TEST_FSYNC", "0")
    }

    /// Commits a file on a branch, which begins here if there is none; returns the commit.
    #[track_caller]
    pub fn commit(&self, branch: &str, file: &str, content: &str) -> String {
        let mut stream = self.commit_header(branch, &format!("Change {file}"));
        write_from(&mut stream, self.tip(branch).as_deref());
        write_file(&mut stream, file, content);
        stream.push_str("get-mark :1\n");
        let imported = self
            .git(["fast-import", "--quiet", "--force"])
            .stdin(stream);
        imported.ok().line().to_owned()
    }

    /// Adds `n` commits to `main`, each with three changed files; returns the last.
    #[track_caller]
    pub fn history(&self, n: usize) -> String {
        let mut stream = String::new();
        for i in 0..n {
            stream += &self.commit_header("main", &format!("Commit {i}"));
            if i == 0 {
                write_from(&mut stream, self.tip("main").as_deref());
            }
            write_file(&mut stream, "log.txt", &format!("up to commit {i}\n"));
            let lines = (0..20).map(|line| format!("line {line} of commit {i}\n"));
            write_file(
                &mut stream,
                &format!("src/{}.txt", i % 50),
                &lines.collect::<String>(),
            );
            write_file(
                &mut stream,
                &format!("doc/{}/{}.txt", i % 10, i % 100),
                &format!("{i}\n"),
            );
        }
        self.git(["fast-import", "--quiet", "--force"])
            .stdin(stream)
            .ok();
        self.tip("main").expect("main was just written")
    }

    /// Merges another branch; returns the merge.
    #[track_caller]
    pub fn merge(&self, branch: &str, other: &str) -> String {
        let tree = self.git(["merge-tree", "--write-tree", branch, other]).ok();
        let message = format!("Merge {other}");
        let commit = [
            "commit-tree",
            "-p",
            branch,
            "-p",
            other,
            "-m",
            &message,
            tree.line(),
        ];
        let merge = self.dated(self.git(commit)).ok().line().to_owned();
        self.force(branch, &merge);
        merge
    }

    /// Creates a branch; it must not exist.
    #[track_caller]
    pub fn branch(&self, name: &str, at: &str) {
        self.git(["update-ref", &full(name), at, ""]).ok();
    }

    /// Moves a branch anywhere, as a forced push does, or creates it.
    #[track_caller]
    pub fn force(&self, name: &str, at: &str) {
        self.git(["update-ref", &full(name), at]).ok();
    }

    /// Deletes a branch, or any ref when its name is full.
    #[track_caller]
    pub fn delete(&self, name: &str) {
        let name = full(name);
        self.git(["show-ref", "--verify", "-q", &name]).ok();
        self.git(["update-ref", "-d", &name]).ok();
    }

    /// Creates a lightweight tag.
    #[track_caller]
    pub fn tag(&self, name: &str, at: &str) {
        self.git(["tag", name, at]).ok();
    }

    /// Creates an annotated tag; returns the tag object.
    #[track_caller]
    pub fn annotated_tag(&self, name: &str, at: &str) -> String {
        self.dated(self.git(["tag", "-a", "-m", name, name, at]))
            .ok();
        let tag = format!("refs/tags/{name}");
        self.git(["rev-parse", &tag]).ok().line().to_owned()
    }

    /// Makes HEAD name a branch, which need not exist.
    #[track_caller]
    pub fn set_head(&self, branch: &str) {
        self.git(["symbolic-ref", "HEAD", &full(branch)]).ok();
    }

    /// Returns every ref with its object id, sorted by name.
    #[track_caller]
    pub fn refs(&self) -> Vec<(String, String)> {
        let listed = self.git(["for-each-ref", "--format=%(refname) %(objectname)"]);
        let pair = |line: &str| {
            line.split_once(' ')
                .map(|(name, id)| (name.into(), id.into()))
        };
        listed.ok().stdout.lines().filter_map(pair).collect()
    }

    /// Returns what a branch or a full ref points at.
    #[track_caller]
    pub fn tip(&self, name: &str) -> Option<String> {
        let parsed = self.git(["rev-parse", "-q", "--verify", &full(name)]).run();
        parsed.status.success().then(|| parsed.line().to_owned())
    }

    /// Creates `n` branches `many/000001` and on at the tip of `main`; once per project.
    ///
    /// The refs are written straight into git's sorted file `packed-refs`, because git would
    /// first make a file of each, which takes it half a minute for 100,000.
    #[track_caller]
    pub fn many_refs(&self, n: usize) {
        let tip = self.tip("main").expect("main must have a commit");
        self.git(["pack-refs", "--all"]).ok();
        let file = self.dir.join("packed-refs");
        let packed = fs::read_to_string(&file).expect("git has just packed main");
        let is_before = |line: &&str| match line.split_once(' ') {
            Some((id, name)) => id == "#" || name < "refs/heads/many/",
            // The peeled object of the tag on the line before.
            None => true,
        };
        let before: usize = packed
            .split_inclusive('\n')
            .take_while(is_before)
            .map(str::len)
            .sum();
        let (before, after) = packed.split_at(before);
        let many: String = (1..=n)
            .map(|i| format!("{tip} refs/heads/many/{i:06}\n"))
            .collect();
        fs::write(&file, format!("{before}{many}{after}")).expect("the project is ours");
    }

    /// Installs a server-side hook, such as one that prints `remote:` lines or refuses.
    ///
    /// A shell writes it: were the file open here, a program that another test starts just
    /// now would inherit it for a moment, and running the hook would fail as `text file busy`.
    #[track_caller]
    pub fn hook(&self, name: &str, script: &str) {
        let install = "mkdir -p hooks && cat >hooks/$0 && chmod 755 hooks/$0";
        Run::fenced("sh", ["-c", install, name], &self.dir)
            .at(&self.dir)
            .stdin(format!("#!/bin/sh\n{script}\n"))
            .ok();
    }

    /// Sets a key of the repository's configuration.
    #[track_caller]
    pub fn config(&self, key: &str, value: &str) {
        self.git(["config", key, value]).ok();
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(MINUTE, Ordering::Relaxed)
    }

    fn dated(&self, run: Run) -> Run {
        let date = format!("@{} +0000", self.tick());
        run.env("GIT_AUTHOR_DATE", &date)
            .env("GIT_COMMITTER_DATE", &date)
    }

    fn commit_header(&self, branch: &str, message: &str) -> String {
        format!(
            "commit {}\nmark :1\ncommitter Up Stream <upstream@example.com> {} +0000\ndata {}\n{message}\n",
            full(branch),
            self.tick(),
            message.len()
        )
    }
}

/// Returns the full name of a branch; a full name stays as it is.
fn full(name: &str) -> String {
    match name {
        full if full.starts_with("refs/") => full.to_owned(),
        branch => format!("refs/heads/{branch}"),
    }
}

fn write_from(stream: &mut String, parent: Option<&str>) {
    if let Some(parent) = parent {
        writeln!(stream, "from {parent}").expect("a string takes all");
    }
}

fn write_file(stream: &mut String, file: &str, content: &str) {
    let length = content.len();
    writeln!(stream, "M 100644 inline {file}\ndata {length}\n{content}")
        .expect("a string takes all");
}

//! Repositories for tests, made by `git fast-import`: whole histories cost one child.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use common::git;
use gix::ObjectId;

use crate::repository::refs;

/// The objects of a repository that is to be made. Each has a number, git's `mark`.
pub(crate) struct Sample {
    stream: String,
    marks: usize,
}

/// A repository of sample objects. Dropping it removes it.
pub(crate) struct Imported {
    dir: tempfile::TempDir,
    oids: Vec<ObjectId>,
}

impl Sample {
    /// No objects.
    pub(crate) fn new() -> Self {
        Self {
            stream: String::new(),
            marks: 0,
        }
    }

    fn mark(&mut self) -> usize {
        self.marks += 1;
        self.marks
    }

    /// A commit unlike all others, made at `time` in seconds since 1970.
    pub(crate) fn commit_at(&mut self, parents: &[usize], time: u64) -> usize {
        let mark = self.mark();
        let text = format!("commit {mark}");
        // Without the reset, the branch's last commit would become a parent.
        self.stream.push_str(&format!(
            "reset refs/heads/made\n\ncommit refs/heads/made\nmark :{mark}\ncommitter M <m@m> {time} +0000\n\
             data {}\n{text}\n",
            text.len()
        ));
        for (at, parent) in parents.iter().enumerate() {
            let command = if at == 0 { "from" } else { "merge" };
            self.stream.push_str(&format!("{command} :{parent}\n"));
        }
        self.stream.push('\n');
        mark
    }

    /// A commit made later than all others.
    pub(crate) fn commit(&mut self, parents: &[usize]) -> usize {
        self.commit_at(parents, 1_700_000_000 + self.marks as u64)
    }

    /// The last of `length` new commits, one upon the other, the first upon `from`.
    pub(crate) fn line(&mut self, from: Option<usize>, length: usize) -> usize {
        let first = self.commit(from.as_slice());
        (1..length).fold(first, |last, _| self.commit(&[last]))
    }

    /// A blob.
    pub(crate) fn blob(&mut self) -> usize {
        let mark = self.mark();
        let text = format!("blob {mark}");
        self.stream.push_str(&format!(
            "blob\nmark :{mark}\ndata {}\n{text}\n",
            text.len()
        ));
        mark
    }

    /// An annotated tag of anything.
    pub(crate) fn tag(&mut self, of: usize) -> usize {
        let mark = self.mark();
        self.stream.push_str(&format!(
            "tag made{mark}\nmark :{mark}\nfrom :{of}\ntagger M <m@m> 1700000000 +0000\ndata 0\n\n"
        ));
        mark
    }

    /// Makes a bare repository with these objects.
    pub(crate) fn import(&self) -> Imported {
        let dir = tempfile::tempdir().expect("temp dir");
        gix::create::into(
            dir.path(),
            gix::create::Kind::Bare,
            gix::create::Options::default(),
        )
        .expect("created");
        let marks = dir.path().join("marks");
        let mut child = git::at(dir.path())
            .args(["fast-import", "--quiet", "--force"])
            .arg(format!("--export-marks={}", marks.display()))
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("git runs");
        let mut stdin = child.stdin.take().expect("piped");
        stdin
            .write_all(self.stream.as_bytes())
            .expect("git reads it");
        drop(stdin);
        // fast-import fails when 'made' was not fast-forwarded, and imports all the same.
        child.wait().expect("git ends");
        let mut oids = vec![ObjectId::null(gix::hash::Kind::Sha1); self.marks + 1];
        let text = fs::read_to_string(marks).unwrap_or_default();
        for line in text.lines() {
            let (mark, oid) = line[1..].split_once(' ').expect("a mark");
            let mark: usize = mark.parse().expect("a number");
            oids[mark] = ObjectId::from_hex(oid.as_bytes()).expect("hex");
        }
        assert!(
            oids[1..].iter().all(|oid| !oid.is_null()),
            "git did not import everything"
        );
        Imported { dir, oids }
    }
}

impl Imported {
    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The id of the object of this number; 0 is that of no object.
    pub(crate) fn oid(&self, mark: usize) -> ObjectId {
        self.oids[mark]
    }

    /// Opens the repository.
    pub(crate) fn open(&self) -> gix::Repository {
        refs::open(self.path()).expect("a repository")
    }

    /// A git that works in the repository.
    pub(crate) fn git(&self) -> Command {
        git::at(self.path())
    }
}

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

/// A repository in the making: everything in it is named by a number, until it is imported.
pub(crate) struct Sample {
    stream: String,
    marks: usize,
}

/// A repository that is made. Dropping it removes it.
pub(crate) struct Imported {
    dir: tempfile::TempDir,
    oids: Vec<ObjectId>,
}

impl Sample {
    /// Nothing yet.
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

    /// A commit of its own kind, made at `time` in seconds since 1970.
    pub(crate) fn commit_at(&mut self, parents: &[usize], time: u64) -> usize {
        let mark = self.mark();
        let words = format!("commit {mark}");
        // The reset lets go of the branch's last commit, which would else become a parent.
        self.stream.push_str(&format!(
            "reset refs/heads/made\n\ncommit refs/heads/made\nmark :{mark}\ncommitter M <m@m> {time} +0000\n\
             data {}\n{words}\n",
            words.len()
        ));
        for (at, parent) in parents.iter().enumerate() {
            let word = if at == 0 { "from" } else { "merge" };
            self.stream.push_str(&format!("{word} :{parent}\n"));
        }
        self.stream.push('\n');
        mark
    }

    /// A commit later than all before.
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
        let words = format!("blob {mark}");
        self.stream.push_str(&format!(
            "blob\nmark :{mark}\ndata {}\n{words}\n",
            words.len()
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

    /// Makes it: a bare repository with these objects.
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
        // It fails when it leaves 'made' at a commit that does not contain the one before, and imports all the same.
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
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The id of what was made under this number; 0 is that of nothing at all.
    pub(crate) fn oid(&self, mark: usize) -> ObjectId {
        self.oids[mark]
    }

    /// A handle on it.
    pub(crate) fn open(&self) -> gix::Repository {
        refs::open(self.path()).expect("a repository")
    }

    /// A git at work in it.
    pub(crate) fn git(&self) -> Command {
        git::at(self.path())
    }
}

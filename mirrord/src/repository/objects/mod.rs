//! Reads commits and tags as leniently as git does: only their first lines are parsed, and a malformed author is no error.
//!
//! A large object is never read into this process; a child of git reads it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use common::git::{self, child_log};
use gix::{
    ObjectId, Repository,
    bstr::ByteSlice,
    objs::{Data, Find, FindHeader, Kind},
};

#[cfg(test)]
mod tests;

/// The largest object that is read into this process, in bytes. Commits and tags are far smaller.
pub(crate) const MAX_OBJECT_BYTES: usize = 4 << 20;

/// The commits of a repository, for gix to walk: each is rewritten with its parents and its date only, so that gix can
/// parse it. A commit that is missing, damaged or bogus to git is not found.
pub(crate) struct Commits {
    objects: gix::OdbHandle,
    git_dir: PathBuf,
}

impl Commits {
    /// The commits that `repo` has now, without those that arrive later.
    pub(crate) fn new(repo: &Repository) -> Self {
        let mut objects = repo.objects.clone();
        // An old tip that is missing would have all packs listed again, once for each such ref.
        objects.refresh_never();
        Self {
            objects,
            git_dir: repo.path().to_owned(),
        }
    }

    /// The parents of a commit.
    pub(crate) fn parents(&self, oid: &gix::oid) -> Option<Vec<ObjectId>> {
        Some(self.header(oid, &mut Vec::new())?.parents)
    }

    fn header(&self, oid: &gix::oid, buffer: &mut Vec<u8>) -> Option<CommitHeader> {
        if let Ok(found) = self.objects.try_find(oid, buffer) {
            let found = found.filter(|found| found.kind == Kind::Commit)?;
            return CommitHeader::parse(found.data, oid.kind());
        }
        let header = FindHeader::try_header(&self.objects, oid).ok()??;
        let is_large = header.kind == Kind::Commit && header.size > MAX_OBJECT_BYTES as u64;
        is_large.then(|| CommitHeader::read_by_git(&self.git_dir, oid))?
    }
}

impl Find for Commits {
    fn try_find<'a>(
        &self,
        oid: &gix::oid,
        buffer: &'a mut Vec<u8>,
    ) -> gix::Result<Option<Data<'a>>> {
        let Some(header) = self.header(oid, buffer) else {
            return Ok(None);
        };
        buffer.clear();
        header.write_to(buffer, oid.kind());
        Ok(Some(Data {
            kind: Kind::Commit,
            object_hash: oid.kind(),
            data: buffer,
        }))
    }
}

/// The part of a commit that a walk needs.
#[derive(Debug, PartialEq, Eq)]
struct CommitHeader {
    parents: Vec<ObjectId>,
    /// The committer's date in seconds since 1970; 0 where git finds none.
    date: i64,
}

impl CommitHeader {
    /// Parses what git's `parse_commit_buffer` does. `None` for what git calls a bogus commit.
    fn parse(commit: &[u8], format: gix::hash::Kind) -> Option<Self> {
        let (_, mut rest) = object_line(commit, b"tree ", format)?;
        let mut parents = Vec::new();
        // `parse_commit_buffer` ends its loop at a line that is too short, and reports no error.
        while rest.starts_with(b"parent ") && rest.len() > b"parent ".len() + format.len_in_hex() {
            let (parent, after) = object_line(rest, b"parent ", format)?;
            parents.push(parent);
            rest = after;
        }
        Some(Self {
            parents,
            date: date(rest).unwrap_or(0),
        })
    }

    /// Has git print the parents and the date of a commit that is too large to be read into this process.
    fn read_by_git(git_dir: &Path, oid: &gix::oid) -> Option<Self> {
        let mut git = git::at(git_dir);
        git.args(["-c", "core.commitGraph=false", "rev-list"]);
        git.args(["--no-walk", "--parents", "--timestamp", &oid.to_string()]);
        let printed = stdout_of(git)?;
        let mut fields = printed.trim_ascii_end().split(|byte| *byte == b' ');
        let date = fields.next()?.to_str().ok()?.parse().unwrap_or(0);
        let parents = fields.skip(1).map(|hex| ObjectId::from_hex(hex).ok());
        Some(Self {
            parents: parents.collect::<Option<_>>()?,
            date,
        })
    }

    fn write_to(&self, buffer: &mut Vec<u8>, format: gix::hash::Kind) {
        let mut text = format!("tree {}\n", ObjectId::empty_tree(format));
        for parent in &self.parents {
            text.push_str(&format!("parent {parent}\n"));
        }
        for role in ["author", "committer"] {
            text.push_str(&format!("{role} a <a> {} +0000\n", self.date));
        }
        text.push('\n');
        buffer.extend_from_slice(text.as_bytes());
    }
}

/// Parses a line of a key and an object, which must not be the last. Returns the object, and what follows the line.
fn object_line<'l>(
    text: &'l [u8],
    key: &[u8],
    format: gix::hash::Kind,
) -> Option<(ObjectId, &'l [u8])> {
    let rest = text.strip_prefix(key)?;
    let (hex, rest) = rest.split_at_checked(format.len_in_hex())?;
    let rest = rest.strip_prefix(b"\n").filter(|rest| !rest.is_empty())?;
    Some((ObjectId::from_hex(hex).ok()?, rest))
}

/// The date on the committer's line, by the rules of git's `parse_commit_date`: the number after the line's last `>`.
fn date(lines: &[u8]) -> Option<i64> {
    let mut lines = lines.split_inclusive(|byte| *byte == b'\n');
    lines.next()?.strip_prefix(b"author")?;
    let committer = lines.next()?.strip_prefix(b"committer")?;
    let committer = committer.strip_suffix(b"\n")?;
    let (_, date) = committer.rsplit_once_str(">")?;
    let date = date.trim_ascii_start();
    let digits = date.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = date[..digits].to_str().ok()?;
    // git's own number wraps around or saturates, which makes such a commit later than all others, too.
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(i64::MAX))
}

/// Peels tags: the object that `oid` leads to, and its kind. `None` when an object on the way is missing or damaged.
pub(crate) fn peel(repo: &Repository, mut oid: ObjectId) -> Option<(ObjectId, Kind)> {
    loop {
        let header = FindHeader::try_header(&repo.objects, &oid).ok()??;
        if header.kind != Kind::Tag {
            return Some((oid, header.kind));
        }
        oid = if header.size > MAX_OBJECT_BYTES as u64 {
            let mut git = git::at(repo.path());
            git.args(["rev-parse", "--verify", "-q", &format!("{oid}^{{}}")]);
            ObjectId::from_hex(stdout_of(git)?.trim_ascii_end()).ok()?
        } else {
            tagged(&repo.find_object(oid).ok()?.data, oid.kind())?
        };
    }
}

/// Parses what git's `parse_tag_buffer` does: the object that a tag names, whoever tagged it.
fn tagged(tag: &[u8], format: gix::hash::Kind) -> Option<ObjectId> {
    let (oid, rest) = object_line(tag, b"object ", format)?;
    let (kind, rest) = rest.strip_prefix(b"type ")?.split_once_str("\n")?;
    Kind::from_bytes(kind).ok()?;
    rest.strip_prefix(b"tag ")?.find_byte(b'\n')?;
    Some(oid)
}

fn stdout_of(mut git: Command) -> Option<Vec<u8>> {
    let output = child_log::output(&mut git).ok()?;
    output.status.success().then_some(output.stdout)
}

//! Which commit came from which: whether a ref that moves keeps everything that it had.

use gix::{
    ObjectId, Repository,
    bstr::BStr,
    objs::Kind,
    revision::plumbing::{merge_base, merge_base::Flags},
    revwalk::{Graph, graph::Commit},
};

use crate::repository::objects::{self, Commits};

/// Each question goes over all commits that are known. After so many, what is known is forgotten: else one ref that had
/// its whole history replaced would slow down thousands of others. Reading a commit again costs about as much as going
/// over it so many times.
const MAX_TIPS: usize = 16;

/// What is known of the ancestry of commits, for questions about thousands of refs in one pass.
pub(crate) struct Ancestry {
    graph: Graph<'static, 'static, Commit<Flags>>,
    asked: usize,
}

impl Ancestry {
    /// Reads commits from where `repo` has them. What arrives there later is not seen.
    pub(crate) fn new(repo: &Repository) -> Self {
        Self {
            graph: Graph::new(Commits::new(repo), None),
            asked: 0,
        }
    }

    /// Whether the ref `name` loses nothing when it moves from `old` to `new`.
    ///
    /// A tag that moves always does. So does, for all that can be told, a ref with an end that is missing or is no commit.
    pub(crate) fn is_fast_forward(&mut self, name: &BStr, old: ObjectId, new: ObjectId) -> bool {
        if name.starts_with(b"refs/tags/") {
            return false;
        }
        if self.asked == MAX_TIPS {
            self.graph.clear();
            self.asked = 0;
        }
        self.asked += 1;
        // Fails when either is no commit that is here.
        let bases = merge_base(old, &[new], &mut self.graph);
        bases.is_ok_and(|bases| bases.is_some_and(|bases| bases.contains(&old)))
    }
}

/// The commit that an object is, or leads to as a tag; `None` when it is missing or leads to something else.
pub(crate) fn peel_to_commit(repo: &Repository, oid: ObjectId) -> Option<ObjectId> {
    let (oid, kind) = objects::peel(repo, oid)?;
    (kind == Kind::Commit).then_some(oid)
}

#[cfg(test)]
mod tests;

//! Whether one commit is an ancestor of another: whether a ref that moves is fast-forwarded.

use gix::{
    ObjectId, Repository,
    bstr::BStr,
    objs::Kind,
    revision::plumbing::{merge_base, merge_base::Flags},
    revwalk::{Graph, graph::Commit},
};

use crate::repository::objects::{self, Commits};

/// How many questions one graph answers before it is cleared. Each question visits all commits in the graph, so one ref
/// whose whole history was replaced would slow down thousands of others. To read a commit again costs about as much as to
/// visit it so many times.
const MAX_QUESTIONS: usize = 16;

/// A cache of commits and their parents, for questions about thousands of refs in one pass.
pub(crate) struct Ancestry {
    graph: Graph<'static, 'static, Commit<Flags>>,
    questions: usize,
}

impl Ancestry {
    /// An empty cache that reads the commits which `repo` has now.
    pub(crate) fn new(repo: &Repository) -> Self {
        Self {
            graph: Graph::new(Commits::new(repo), None),
            questions: 0,
        }
    }

    /// Whether the ref `name` loses nothing when it moves from `old` to `new`.
    ///
    /// A tag that moves is never fast-forwarded. A ref is not, either, when one of the two is missing or is no commit.
    pub(crate) fn is_fast_forward(&mut self, name: &BStr, old: ObjectId, new: ObjectId) -> bool {
        if name.starts_with(b"refs/tags/") {
            return false;
        }
        if self.questions == MAX_QUESTIONS {
            self.graph.clear();
            self.questions = 0;
        }
        self.questions += 1;
        // `merge_base` fails when either is missing or no commit.
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

//! The wipe guard: whether upstream looks wiped, which is to say emptied or replaced. Then the mirror keeps what it has until
//! somebody accepts upstream.
//!
//! Upstream may have been restored from a wrong backup, or another project may have been moved to its address. Everyday work
//! does not look wiped: branches deleted after they were merged, a renamed branch, a small project begun anew.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    process::{Command, Stdio},
};

use common::{
    protocol::{Failure, OrFailure},
    refspec::UpstreamRef,
};
use gix::{ObjectId, Repository, bstr::ByteSlice};

use crate::{
    process::{child, watch::Watch},
    repository::{ancestry, refs::UpstreamRefs},
};

/// How many refs may always be deleted.
const MAX_LOST_REFS: usize = 9;

/// How many commits may always be replaced.
const MAX_LOST_COMMITS: usize = 10;

/// Says in one line why upstream looks wiped, if it does.
///
/// `before` and `upstream` are the tracked refs that upstream had and has, by its own names. `is_empty` says that upstream has
/// no ref at all, tracked or not. The objects of both are looked for in `repo`, where `git` works as well. One child is
/// started at most, and none unless many refs are gone or all have changed.
pub(super) fn wipe_reason(
    before: &UpstreamRefs,
    upstream: &UpstreamRefs,
    is_empty: bool,
    repo: &Repository,
    git: Command,
    watch: &Watch,
) -> Result<Option<String>, Failure> {
    // The record of a detached HEAD is no ref of upstream.
    let before = before
        .iter()
        .filter(|(name, _)| **name != UpstreamRef::head());
    let before: Vec<_> = before.collect();
    let had = before.len();
    if had == 0 {
        return Ok(None);
    }
    if is_empty {
        return Ok(Some(format!(
            "upstream has no refs any more, and had {had}"
        )));
    }
    let gone: Vec<ObjectId> = before
        .iter()
        .filter(|(name, _)| !upstream.contains_key(*name))
        .map(|(_, oid)| **oid)
        .collect();
    let too_many = |gone: usize| gone > MAX_LOST_REFS && gone * 2 > had;
    // Where no tracked ref is left, none has changed: the rule above decides.
    let all_changed = !upstream.is_empty()
        && before
            .iter()
            .all(|(name, oid)| upstream.get(*name) != Some(oid));
    if !too_many(gone.len()) && !all_changed {
        return Ok(None);
    }
    let mut repo = repo.clone();
    // For each old tip that is missing, gix would else list all packs again.
    repo.objects.refresh_never();
    let new: BTreeSet<ObjectId> = upstream.values().copied().collect();
    // An object that is missing, or leads to no commit, has no history that could be walked.
    let old: BTreeMap<ObjectId, ObjectId> = before
        .iter()
        .filter_map(|(_, oid)| Some((**oid, ancestry::peel_to_commit(&repo, **oid)?)))
        .collect();
    let still = new
        .iter()
        .filter_map(|oid| ancestry::peel_to_commit(&repo, *oid));
    let Loss {
        commits,
        mut is_related,
    } = Loss::between(old.values(), still, git, watch)?;
    let is_reached = |commit: &ObjectId| !commits.contains(commit);
    let is_kept = |oid: &ObjectId| new.contains(oid) || old.get(oid).is_some_and(is_reached);
    let lost = gone.iter().filter(|oid| !is_kept(oid)).count();
    if too_many(lost) {
        return Ok(Some(format!(
            "{lost} of upstream's {had} refs are gone, and no other ref contains them"
        )));
    }
    is_related |= old.values().any(is_reached);
    let is_replaced = all_changed && !is_related && commits.len() > MAX_LOST_COMMITS;
    Ok(is_replaced.then(|| {
        let refs = match had {
            1 => "the one ref".to_owned(),
            _ => format!("any of the {had} refs"),
        };
        format!("upstream's history was replaced: it shares no commit with {refs} that it had")
    }))
}

/// The commits that upstream had and that none of its refs reaches any more.
#[derive(Default)]
struct Loss {
    /// The commits.
    commits: HashSet<ObjectId>,
    /// Whether one of them has a parent that a ref still reaches.
    is_related: bool,
}

impl Loss {
    /// Finds the commits that `old` reach and `new` do not. All of them are in the repository.
    fn between<'a>(
        old: impl Iterator<Item = &'a ObjectId>,
        new: impl Iterator<Item = ObjectId>,
        mut git: Command,
        watch: &Watch,
    ) -> Result<Self, Failure> {
        let mut loss = Self::default();
        let mut input: String = old.map(|commit| format!("{commit}\n")).collect();
        if input.is_empty() {
            return Ok(loss);
        }
        input.extend(new.map(|commit| format!("^{commit}\n")));
        // A damaged history ends at the damage, which must not make the sync fail.
        git.args(["rev-list", "--stdin", "--boundary", "--missing=allow-any"])
            .stdout(Stdio::piped());
        let ended = child::run(git, input.into_bytes(), watch)
            .or_failure("cannot compare upstream with what it had")?;
        if watch.is_cancelled() {
            return Err(crate::process::watch::cancelled());
        }
        if !ended.status.success() {
            let stderr = String::from_utf8_lossy(&ended.stderr);
            let message = stderr.lines().find_map(|line| line.strip_prefix("fatal: "));
            return Err(Failure::here(format!(
                "cannot compare upstream with what it had: {}",
                message.unwrap_or("git rev-list failed")
            )));
        }
        for line in ended.stdout.lines() {
            match line.strip_prefix(b"-") {
                Some(_) => loss.is_related = true,
                None => loss.commits.extend(ObjectId::from_hex(line)),
            }
        }
        Ok(loss)
    }
}

#[cfg(test)]
mod tests;

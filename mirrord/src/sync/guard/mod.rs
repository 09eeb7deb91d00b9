//! The wipe guard: whether upstream suddenly looks empty or replaced, so that somebody has to say that it is meant.
//!
//! Upstream may have been restored from a wrong backup, or another project may have been moved to its address. What
//! people do every day (branches deleted after they were merged, one renamed, a small project begun anew) is no such
//! thing.

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

/// So many refs may always go.
const MAX_LOST_REFS: usize = 9;

/// So many commits may always be replaced.
const MAX_LOST_COMMITS: usize = 10;

/// Says in one line what has happened to upstream, when it is what nobody does on purpose every day.
///
/// `before` is what upstream had and `upstream` what it has now of what is tracked, both by its own names; it `is_empty`
/// when it has no ref at all, tracked or not. What it has now must be in `repo` already, or in the quarantine that `repo`
/// sees, and where `git` works as well. It costs one child at most, and none unless many refs are gone or all changed.
pub(crate) fn wiped(
    before: &UpstreamRefs,
    upstream: &UpstreamRefs,
    is_empty: bool,
    repo: &Repository,
    git: Command,
    watch: &Watch,
) -> Result<Option<String>, Failure> {
    // A detached HEAD is recorded, too, and is no ref.
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
    // Where nothing tracked is left there is nothing new, either: that is for the rule above to judge.
    let all_changed = !upstream.is_empty()
        && before
            .iter()
            .all(|(name, oid)| upstream.get(*name) != Some(oid));
    if !too_many(gone.len()) && !all_changed {
        return Ok(None);
    }
    let mut repo = repo.clone();
    // An old tip that is missing would have all packs listed again, once for each of them.
    repo.objects.refresh_never();
    let new: BTreeSet<ObjectId> = upstream.values().copied().collect();
    // What is missing here, or leads to no commit, has no history that could be walked.
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
    } = Loss::of(old.values(), still, git, watch)?;
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

/// What upstream had and no ref of it reaches any more.
#[derive(Default)]
struct Loss {
    /// The commits.
    commits: HashSet<ObjectId>,
    /// Whether one of them has a parent that is still reached.
    is_related: bool,
}

impl Loss {
    /// What is reached from `old` and not from `new`, all of them commits that are here.
    fn of<'a>(
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
        // A damaged history ends where the damage is: it must not keep upstream from being followed.
        git.args(["rev-list", "--stdin", "--boundary", "--missing=allow-any"])
            .stdout(Stdio::piped());
        let ended = child::run(git, input.into_bytes(), watch)
            .or_failure("cannot compare upstream with what it had")?;
        if watch.is_cancelled() {
            return Err(crate::process::watch::cancelled());
        }
        if !ended.status.success() {
            let words = String::from_utf8_lossy(&ended.stderr);
            let words = words.lines().find_map(|line| line.strip_prefix("fatal: "));
            return Err(Failure::here(format!(
                "cannot compare upstream with what it had: {}",
                words.unwrap_or("git rev-list failed")
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

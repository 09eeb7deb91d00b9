//! git's connectivity check: whether the mirror has every object that refs need. One `git rev-list` walks from the refs to
//! what the mirror is known to have.

use std::{
    collections::BTreeSet,
    io,
    path::Path,
    process::{Command, Stdio},
};

use common::{
    git,
    protocol::{Failure, FailureKind, OrFailure},
};
use gix::ObjectId;

use crate::{
    process::{
        child, memory,
        watch::{self, Watch},
    },
    repository::{checked, refs},
};

/// The beginning of the message about a missing object; git's own words.
pub(crate) const INCOMPLETE: &str = "upstream did not send all necessary objects";

/// What a mirror is known to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust<'t> {
    /// All that its refs reach.
    Refs,
    /// All that its refs and these commits reach: its packs came from a mirror that has them.
    RefsAnd(&'t BTreeSet<ObjectId>),
    /// All that these commits reach, each of which a ref names.
    Commits(&'t BTreeSet<ObjectId>),
    /// Nothing: the mirror is damaged.
    Nothing,
}

/// Whether the mirror has everything that `tips` need, so that nothing has to be fetched.
pub(crate) fn is_complete(
    git_dir: &Path,
    tips: &BTreeSet<ObjectId>,
    trust: Trust<'_>,
    watch: &Watch,
) -> Result<bool, Failure> {
    let repo = refs::open(git_dir).map_err(|err| Failure::here(err.to_string()))?;
    if !tips.iter().all(|tip| repo.has_object(tip)) {
        return Ok(false);
    }
    match check(git::at(git_dir), git_dir, tips, trust, watch) {
        Ok(()) => Ok(true),
        Err(failure) if failure.kind == FailureKind::Unusable => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Checks that nothing which `tips` need is missing. `git` may see more objects than the mirror has.
///
/// A ref of the mirror whose object is missing is left out of the walk: the damage is not upstream's, and must block no
/// other ref.
///
/// # Errors
/// Fails with [`FailureKind::Unusable`] when something is missing.
pub(crate) fn check(
    mut git: Command,
    git_dir: &Path,
    tips: &BTreeSet<ObjectId>,
    trust: Trust<'_>,
    watch: &Watch,
) -> Result<(), Failure> {
    let input =
        rev_list_input(git_dir, tips, trust).or_failure("cannot check what upstream sent")?;
    // The commit-graph may list a commit that is lost.
    git.args(["-c", "core.commitGraph=false"])
        // A third of git's own limit makes the walk no slower, and a first download no larger than its index makes it.
        .args(["-c", "core.deltaBaseCacheLimit=32m"])
        .args(["rev-list", "--objects", "--stdin", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let ended =
        child::run(git, input.into_bytes(), watch).or_failure("cannot check what upstream sent")?;
    if watch.is_cancelled() {
        return Err(watch::cancelled());
    }
    if ended.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&ended.stderr);
    if let Some(failure) = memory::exhausted(&stderr) {
        return Err(failure);
    }
    checked::request_check_if_complained(git_dir, &stderr);
    let fatal = stderr
        .lines()
        .find_map(|line| line.strip_prefix("fatal: "))
        .unwrap_or("git rev-list failed")
        .to_owned();
    Err(Failure::new(
        FailureKind::Unusable,
        format!("{INCOMPLETE}: {fatal}"),
    ))
}

/// The input for `git rev-list --stdin`: from `tips` to what the mirror is known to have.
pub(crate) fn rev_list_input(
    git_dir: &Path,
    tips: &BTreeSet<ObjectId>,
    trust: Trust<'_>,
) -> io::Result<String> {
    let mut input: String = tips.iter().map(|tip| format!("{tip}\n")).collect();
    let of_refs =
        || -> io::Result<BTreeSet<_>> { Ok(refs::read(git_dir)?.into_values().collect()) };
    let known = match trust {
        Trust::Nothing => return Ok(input),
        Trust::Commits(commits) => commits.clone(),
        Trust::Refs => of_refs()?,
        Trust::RefsAnd(others) => of_refs()?.union(others).copied().collect(),
    };
    let repo = refs::open(git_dir)?;
    for oid in known.iter().filter(|oid| repo.has_object(*oid)) {
        input.push_str(&format!("^{oid}\n"));
    }
    Ok(input)
}

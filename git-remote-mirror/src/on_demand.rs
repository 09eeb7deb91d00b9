//! What this run of git may want beside branches and tags. git tells a helper only after it has listed the refs, so it is
//! read before that: from the arguments of the git that runs the helper, and from the remote's refspecs.

use common::refspec::OnDemand;

use crate::{caller::Caller, invocation::Invocation};

/// The options of `git fetch` that have their value in the next argument (`builtin_fetch_options` in git).
const FETCH_WITH_VALUE: [&str; 15] = [
    "--upload-pack",
    "-j",
    "--jobs",
    "--depth",
    "--deepen",
    "--shallow-since",
    "--shallow-exclude",
    "--refmap",
    "-o",
    "--server-option",
    "--filter",
    "--negotiation-tip",
    "--recurse-submodules-default",
    "--submodule-prefix",
    "--bundle-uri",
];

/// Those of `git ls-remote`.
const LS_REMOTE_WITH_VALUE: [&str; 5] =
    ["--upload-pack", "--exec", "-o", "--server-option", "--sort"];

/// Those of `git push`.
const PUSH_WITH_VALUE: [&str; 5] = ["--repo", "--receive-pack", "--exec", "-o", "--push-option"];

/// What a fetch, or another command that reads refs, may want.
pub(crate) fn of_fetch(invocation: &Invocation) -> OnDemand {
    if invocation.is_lazy_fetch() {
        return OnDemand::default();
    }
    let caller = invocation.caller.as_ref();
    let sources: Vec<&str> = match caller.map(|caller| (&*caller.command, caller)) {
        Some(("fetch", caller)) => {
            let named = refspecs(caller, &FETCH_WITH_VALUE);
            match named.is_empty() {
                true => configured(invocation, "fetch"),
                false => named,
            }
        }
        Some(("ls-remote", caller)) => exact_names(caller),
        Some(("clone", caller)) if caller.has("--mirror") => vec!["refs/*"],
        _ => configured(invocation, "fetch"),
    };
    OnDemand::parse(sources.into_iter().filter_map(source))
}

/// The refs beside branches and tags that a push may change, and whose values git is to see before that.
///
/// Hosts show refs of their own, such as `refs/pull/7/head`, to fetches and not to pushes. So a full name is left to
/// upstream's judgement, unless it is one of notes, or forced.
pub(crate) fn of_push(invocation: &Invocation) -> OnDemand {
    let named = match &invocation.caller {
        Some(caller) if caller.command == "push" => refspecs(caller, &PUSH_WITH_VALUE),
        _ => Vec::new(),
    };
    let refspecs = match named.is_empty() {
        true => configured(invocation, "push"),
        false => named,
    };
    let forces = invocation.caller.as_ref().is_some_and(Caller::forces);
    let may_see = |refspec: &&str| {
        let is_left_to_upstream = |name: &str| {
            name.starts_with("refs/") && !name.starts_with("refs/notes/") && !name.contains('*')
        };
        forces || refspec.starts_with('+') || !destination(refspec).is_some_and(is_left_to_upstream)
    };
    let refspecs = refspecs.into_iter().filter(may_see);
    OnDemand::parse(refspecs.filter_map(destination))
}

/// Whether git lists refs by patterns that only refs beside branches and tags match. No mirror has all of these, and a list
/// needs none of their objects.
pub(crate) fn lists_by_pattern(caller: &Caller) -> bool {
    let is_beside = |pattern: &&str| {
        let fixed = pattern
            .split(['*', '?', '[', '\\'])
            .next()
            .unwrap_or_default();
        let spaces = ["refs/heads/", "refs/tags/"];
        fixed.starts_with("refs/")
            && !spaces
                .iter()
                .any(|space| space.starts_with(fixed) || fixed.starts_with(space))
    };
    let patterns = refspecs(caller, &LS_REMOTE_WITH_VALUE);
    caller.command == "ls-remote"
        && !patterns.is_empty()
        && patterns.iter().all(is_beside)
        && exact_names(caller).is_empty()
}

/// The refspecs among the arguments of a command, which come after the repository.
fn refspecs<'c>(caller: &'c Caller, with_value: &[&str]) -> Vec<&'c str> {
    let operands = caller.operands(with_value);
    let refspecs = operands.into_iter().skip(1);
    // `tag <name>` is short for a refspec.
    refspecs.filter(|operand| *operand != "tag").collect()
}

/// The names that `git ls-remote` is to show. What a pattern stands for would have to be downloaded first.
fn exact_names(caller: &Caller) -> Vec<&str> {
    let mut names = refspecs(caller, &LS_REMOTE_WITH_VALUE);
    names.retain(|name| !name.contains(['*', '?', '[']));
    names
}

/// The refspecs of the remote in git's configuration: `fetch` or `push`.
fn configured<'i>(invocation: &'i Invocation, variable: &str) -> Vec<&'i str> {
    let key = format!("remote.{}.{variable}", invocation.remote);
    let entries = invocation.config.entries().iter();
    let values = entries.filter(|(name, _)| *name == key);
    values.map(|(_, value)| value.as_str()).collect()
}

/// What a refspec fetches; None where it excludes.
fn source(refspec: &str) -> Option<&str> {
    let refspec = refspec.strip_prefix('+').unwrap_or(refspec);
    let source = refspec.split_once(':').map_or(refspec, |(from, _)| from);
    (!source.starts_with('^')).then_some(source)
}

/// What a refspec changes at the other side; None where it excludes.
fn destination(refspec: &str) -> Option<&str> {
    let refspec = refspec.strip_prefix('+').unwrap_or(refspec);
    let destination = refspec.split_once(':').map_or(refspec, |(_, to)| to);
    (!destination.starts_with('^')).then_some(destination)
}

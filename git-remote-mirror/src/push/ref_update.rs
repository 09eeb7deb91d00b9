//! The ref updates of a push that go to upstream, and what becomes of each.

use std::{collections::HashMap, ffi::OsString, os::unix::ffi::OsStringExt};

use common::protocol::{Command, Lease};

/// The name space, in the scratch repository, of the values that upstream's refs are to get.
pub(crate) const NEW: &[u8] = b"refs/new/";
/// The name space, in the scratch repository, of the values that upstream's refs must have for that.
pub(crate) const OLD: &[u8] = b"refs/old/";

/// What became of a ref: done, with what upstream did otherwise than it was asked to, or the reason why not.
pub(crate) type Verdict = Result<Vec<Rewrite>, String>;

/// A ref that upstream has changed in place of the one that was pushed, or to another value. A server such as Gerrit takes
/// `refs/for/main`, and makes `refs/changes/…` (githooks(5), proc-receive).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewrite {
    /// The name of the ref.
    pub name: Vec<u8>,
    /// The value that it had, in hexadecimal; None where it is new.
    pub old: Option<String>,
    /// The value that it has; None where it was deleted.
    pub new: Option<String>,
    /// Whether its history was rewritten.
    pub forced: bool,
}

/// One ref that a push changes at upstream.
#[derive(Clone)]
pub(crate) struct RefUpdate<'c> {
    /// The position of its command in the push.
    pub at: usize,
    /// The command.
    pub command: &'c Command,
    /// The ref's name at upstream.
    pub name: Vec<u8>,
    /// The value that the ref must have there.
    pub lease: Lease,
}

/// The most bytes of leases that are arguments: a part of what the system takes.
const MAX_LEASE_BYTES: usize = 512 * 1024;
/// The bytes of a lease beside the name of its ref.
const LEASE_BYTES: usize = 100;

/// Whether the leases are too long for the arguments of a git, so that our hook checks them. git's helper for http gives
/// them all to a child as arguments, and so do we where not every ref has one ([`lease_args`]).
pub(crate) fn are_leases_too_long(updates: &[RefUpdate<'_>], is_http: bool) -> bool {
    let leased = || updates.iter().filter(|update| update.lease != Lease::None);
    let are_arguments = is_http || leased().count() < updates.len();
    let bytes: usize = leased().map(|update| update.name.len() + LEASE_BYTES).sum();
    are_arguments && bytes > MAX_LEASE_BYTES
}

/// The leases as lines for [`find_stale`].
pub(crate) fn lease_lines(updates: &[RefUpdate<'_>]) -> Vec<u8> {
    let line = |update: &RefUpdate<'_>| {
        let old = match &update.lease {
            Lease::None => return None,
            Lease::Absent => "",
            Lease::Value(old) => old,
        };
        Some([old.as_bytes(), b" ", &*update.name, b"\n"].concat())
    };
    updates.iter().filter_map(line).flatten().collect()
}

/// Finds a ref that upstream has with another value than its lease says. `pushed` is what git tells the hook `pre-push`:
/// `<local ref> <local object> <remote ref> <remote object>` in each line (githooks(5)).
pub(crate) fn find_stale<'p>(leases: &[u8], pushed: &'p [u8]) -> Option<&'p [u8]> {
    let by_name: HashMap<&[u8], &[u8]> = leases
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let at = line.iter().position(|byte| *byte == b' ')?;
            Some((&line[at + 1..], &line[..at]))
        })
        .collect();
    let mut lines = pushed.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ').skip(2);
        let (name, has) = (fields.next()?, fields.next()?);
        let has = if has.iter().all(|byte| *byte == b'0') {
            b""
        } else {
            has
        };
        by_name
            .get(name)
            .is_some_and(|old| *old != has)
            .then_some(name)
    })
}

/// The arguments by which `git push` changes each ref only from the value that the client's git decided by. A ref without
/// such a value is changed whatever it has.
pub(crate) fn lease_args(updates: &[RefUpdate<'_>]) -> Vec<OsString> {
    if updates.iter().all(|update| update.lease != Lease::None) {
        // git looks the values up below `refs/old/`, which stays fast where a list of thousands would not.
        return vec!["--force-with-lease".into()];
    }
    let arg = |update: &RefUpdate<'_>| {
        let old = match &update.lease {
            Lease::None => return None,
            Lease::Absent => "",
            Lease::Value(old) => old,
        };
        let parts = [b"--force-with-lease=", &*update.name, b":", old.as_bytes()];
        Some(OsString::from_vec(parts.concat()))
    };
    updates.iter().filter_map(arg).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_that_upstream_has_with_another_value_is_stale() {
        let leases = b" refs/heads/new\n11 refs/heads/old\n";
        let stale = |name: &str, has: &str| {
            let pushed = format!("refs/new/all/heads/x 22 {name} {has}\n");
            find_stale(leases, pushed.as_bytes()).map(<[u8]>::to_vec)
        };
        assert_eq!(stale("refs/heads/new", "00"), None);
        assert_eq!(stale("refs/heads/old", "11"), None);
        assert_eq!(stale("refs/for/main", "33"), None, "it has no lease");
        for (name, has) in [("refs/heads/new", "11"), ("refs/heads/old", "00")] {
            assert_eq!(stale(name, has).as_deref(), Some(name.as_bytes()));
        }
    }
}

//! The ref updates of a push that go to upstream, and what becomes of each.

use std::{ffi::OsString, os::unix::ffi::OsStringExt};

use common::protocol::{Command, Lease};

/// The name space, in the scratch repository, of the values that upstream's refs are to get.
pub(crate) const NEW: &[u8] = b"refs/new/";
/// The name space, in the scratch repository, of the values that upstream's refs must have for that.
pub(crate) const OLD: &[u8] = b"refs/old/";

/// What became of a ref: done, or the reason why not.
pub(crate) type Verdict = Result<(), String>;

/// One ref that a push changes at upstream.
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

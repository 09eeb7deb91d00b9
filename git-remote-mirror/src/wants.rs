//! The objects that git wants: its `fetch` commands name them, and git's programs read them from stdin.

use std::collections::BTreeSet;

/// Names of objects, in hexadecimal.
pub(crate) type Wants = BTreeSet<Vec<u8>>;

/// Writes one object a line.
pub(crate) fn lines(wants: &Wants) -> Vec<u8> {
    let lines: Vec<&[u8]> = wants.iter().flat_map(|want| [&**want, b"\n"]).collect();
    lines.concat()
}

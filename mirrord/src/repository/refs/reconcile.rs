//! What the refs become when `packed-refs` is not what this program wrote.
//!
//! These functions read and write no files, so that tests can try any two contents.

use std::collections::BTreeSet;

use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

use super::{Refs, conflicting};

/// The refs of `packed-refs` and of its copy, as one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciled {
    pub(super) refs: Refs,
    /// The refs that come from the copy: `packed-refs` lacks them, or gives them a value that cannot be right.
    pub(super) restored: Vec<BString>,
}

/// Merges the refs that were `found` in a readable `packed-refs` with those of the `copy`.
///
/// Somebody else may add refs and move them to objects that exist. Only this program deletes refs: one that the copy has
/// and the file lacks was lost. A new ref with the object of a lost one and a name of the same length is the lost one, with
/// a wrong letter in its name.
pub(super) fn reconcile(
    found: &Refs,
    copy: &Refs,
    mut has_object: impl FnMut(&ObjectId) -> bool,
) -> Reconciled {
    let mut now = Reconciled::default();
    let lost = copy.iter().filter(|(name, _)| !found.contains_key(*name));
    let lost: BTreeSet<(ObjectId, usize)> = lost.map(|(name, oid)| (*oid, name.len())).collect();
    for (name, oid) in found {
        let is_sound = match copy.get(name) {
            Some(written) => written == oid || has_object(oid),
            // Upkeep finds refs whose objects are missing.
            None => !lost.contains(&(*oid, name.len())),
        };
        if is_sound {
            now.refs.insert(name.clone(), *oid);
        }
    }
    for (name, oid) in copy {
        // Somebody who has deleted `a` may have made `a/b`.
        if now.refs.contains_key(name) || conflicting(&now.refs, name.as_bstr()).is_some() {
            continue;
        }
        now.refs.insert(name.clone(), *oid);
        now.restored.push(name.clone());
    }
    now
}

/// The refs in a damaged file: its whole lines that name an object and a ref.
pub(super) fn salvage(file: &[u8]) -> Refs {
    let end = file.rfind_byte(b'\n').map_or(0, |end| end + 1);
    let refs = file[..end].lines().filter_map(|line| {
        let (oid, name) = line.split_once_str(" ")?;
        let name = BStr::new(name);
        let is_name = name.starts_with(b"refs/") && gix::validate::reference::name(name).is_ok();
        Some((
            name.to_owned(),
            ObjectId::from_hex(oid).ok().filter(|_| is_name)?,
        ))
    });
    refs.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 4] = [
        "refs/heads/idea",
        "refs/heads/main",
        "refs/tags/v1",
        "refs/upstream/heads/main",
    ];

    fn oid(number: u8) -> ObjectId {
        ObjectId::from_bytes_or_panic(&[number; 20])
    }

    fn refs(names: &[&str]) -> Refs {
        let numbered = names.iter().zip(1..);
        numbered.map(|(name, n)| ((*name).into(), oid(n))).collect()
    }

    fn text(refs: &Refs) -> Vec<u8> {
        let lines = refs.iter().map(|(name, oid)| format!("{oid} {name}\n"));
        lines.collect::<String>().into_bytes()
    }

    fn missing_oid() -> ObjectId {
        ObjectId::from_hex(&[b"0".repeat(39), b"1".to_vec()].concat()).expect("hex")
    }

    /// Whether an object exists: those of [`oid`] do.
    fn exists(oid: &ObjectId) -> bool {
        oid.as_slice().iter().all(|byte| *byte == oid.as_slice()[0])
    }

    #[test]
    fn refs_that_somebody_adds_and_moves_stay_and_those_that_are_gone_come_back() {
        let copy = refs(&NAMES);
        let mut found = copy.clone();
        found.remove(BStr::new("refs/heads/idea"));
        found.insert("refs/heads/main".into(), oid(7));
        found.insert("refs/heads/new".into(), oid(8));
        found.insert("refs/tags/v1".into(), missing_oid());
        let now = reconcile(&found, &copy, exists);
        let mut expected = copy.clone();
        expected.insert("refs/heads/main".into(), oid(7));
        expected.insert("refs/heads/new".into(), oid(8));
        assert_eq!(now.refs, expected);
        assert_eq!(now.restored, ["refs/heads/idea", "refs/tags/v1"]);
        assert!(reconcile(&copy, &copy, |_| false).restored.is_empty());
    }

    #[test]
    fn a_ref_that_somebody_has_made_a_directory_stays_one() {
        let copy = refs(&["refs/heads/a"]);
        let found = refs(&["refs/heads/a/b"]);
        assert_eq!(reconcile(&found, &copy, exists).refs, found);
    }

    proptest! {
        #[test]
        fn no_flipped_bit_loses_a_ref_or_makes_one(at in 0usize..400, bit in 0u8..8) {
            let copy = refs(&NAMES);
            let mut file = text(&copy);
            let at = at % file.len();
            file[at] ^= 1 << bit;
            // The file may still be readable, or it may not.
            let now = reconcile(&salvage(&file), &copy, exists);
            prop_assert_eq!(now.refs, copy);
        }

        #[test]
        fn no_truncation_loses_a_ref_or_makes_one(at in 0usize..400) {
            let copy = refs(&NAMES);
            let file = text(&copy);
            let now = reconcile(&salvage(&file[..at % file.len()]), &copy, exists);
            prop_assert_eq!(now.refs, copy);
        }
    }
}

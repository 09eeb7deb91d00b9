//! What refs become when `packed-refs` is not what this program wrote. Pure, so that any two files can be tried.

use std::collections::BTreeSet;

use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice},
};

use super::{Refs, conflicting};

/// Refs of two files, as one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reconciled {
    pub(super) refs: Refs,
    /// Those that the copy has and `packed-refs` has not, or not as they can be.
    pub(super) restored: Vec<BString>,
}

/// Makes one of what was found in a `packed-refs` that can be read, and of the copy.
///
/// A hand from outside may add refs and move them to objects that are there. Only this program deletes refs: one that the
/// copy has and the file has not was lost. One that has the object of a lost one under another name of the same length is
/// the lost one, with a wrong letter in its name.
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
            // What one names that is missing, upkeep finds.
            None => !lost.contains(&(*oid, name.len())),
        };
        if is_sound {
            now.refs.insert(name.clone(), *oid);
        }
    }
    for (name, oid) in copy {
        // A hand that has deleted `a` may have made `a/b`.
        if now.refs.contains_key(name) || conflicting(&now.refs, name.as_bstr()).is_some() {
            continue;
        }
        now.refs.insert(name.clone(), *oid);
        now.restored.push(name.clone());
    }
    now
}

/// What can be read of a damaged file: whole lines that name a ref and an object.
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

    fn oid_of_nothing() -> ObjectId {
        ObjectId::from_hex(&[b"0".repeat(39), b"1".to_vec()].concat()).expect("hex")
    }

    /// Only these objects are there.
    fn is_there(oid: &ObjectId) -> bool {
        oid.as_slice().iter().all(|byte| *byte == oid.as_slice()[0])
    }

    #[test]
    fn what_a_hand_adds_and_moves_is_taken_and_what_is_gone_comes_back() {
        let copy = refs(&NAMES);
        let mut found = copy.clone();
        found.remove(BStr::new("refs/heads/idea"));
        found.insert("refs/heads/main".into(), oid(7));
        found.insert("refs/heads/new".into(), oid(8));
        found.insert("refs/tags/v1".into(), oid_of_nothing());
        let now = reconcile(&found, &copy, is_there);
        let mut expected = copy.clone();
        expected.insert("refs/heads/main".into(), oid(7));
        expected.insert("refs/heads/new".into(), oid(8));
        assert_eq!(now.refs, expected);
        assert_eq!(now.restored, ["refs/heads/idea", "refs/tags/v1"]);
        assert!(reconcile(&copy, &copy, |_| false).restored.is_empty());
    }

    #[test]
    fn a_hand_that_made_a_directory_of_a_ref_is_not_undone() {
        let copy = refs(&["refs/heads/a"]);
        let found = refs(&["refs/heads/a/b"]);
        assert_eq!(reconcile(&found, &copy, is_there).refs, found);
    }

    proptest! {
        #[test]
        fn no_flipped_bit_costs_a_ref_or_makes_one(at in 0usize..400, bit in 0u8..8) {
            let copy = refs(&NAMES);
            let mut file = text(&copy);
            let at = at % file.len();
            file[at] ^= 1 << bit;
            // The file may still be one that can be read, or it may not.
            let now = reconcile(&salvage(&file), &copy, is_there);
            prop_assert_eq!(now.refs, copy);
        }

        #[test]
        fn no_cut_costs_a_ref_or_makes_one(at in 0usize..400) {
            let copy = refs(&NAMES);
            let file = text(&copy);
            let now = reconcile(&salvage(&file[..at % file.len()]), &copy, is_there);
            prop_assert_eq!(now.refs, copy);
        }
    }
}

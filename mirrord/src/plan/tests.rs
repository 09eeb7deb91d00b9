//! Any two advertisements, any state.

use common::refspec::EVERYTHING;
use proptest::{collection::btree_map, prelude::*, sample::select};

use super::*;

/// Names that conflict with each other in every way, so that a small pool meets all cases.
const NAMES: [&str; 8] = ["a", "a/b", "a/b/c", "b", "b/a", "main", "c-d", "c/d"];

fn oid(n: u8) -> ObjectId {
    ObjectId::from_bytes_or_panic(&[n; 20])
}

fn track() -> Refspecs {
    Refspecs::parse(EVERYTHING).expect("sound")
}

fn branches() -> impl Strategy<Value = Refs> {
    btree_map(select(&NAMES[..]), 1..5u8, 0..6).prop_map(|refs| {
        refs.into_iter()
            .map(|(name, n)| (format!("refs/heads/{name}").into(), oid(n)))
            .collect()
    })
}

fn without_conflicts(refs: Refs) -> Refs {
    let mut sound = Refs::new();
    for (name, oid) in refs {
        if in_the_way(&sound.keys().cloned().collect(), name.as_bstr()).is_none() {
            sound.insert(name, oid);
        }
    }
    sound
}

fn records(refs: &Refs) -> Refs {
    refs.iter()
        .map(|(name, oid)| (refspec::record(name).into(), *oid))
        .collect()
}

fn apply(refs: &Refs, plan: &Plan) -> Refs {
    let mut refs = refs.clone();
    for (name, edit) in &plan.edits {
        assert_eq!(
            refs.get(name).copied(),
            edit.old,
            "{name} is edited from a value that it does not have"
        );
        match edit.new {
            Some(oid) => drop(refs.insert(name.clone(), oid)),
            None => drop(refs.remove(name)),
        }
    }
    refs
}

fn public(refs: &Refs) -> Refs {
    refs.iter()
        .filter(|(name, _)| !refspec::is_ours(name))
        .map(|(name, oid)| (name.clone(), *oid))
        .collect()
}

/// The push that makes one state of upstream another.
fn accepted(before: &Refs, after: &Refs) -> Vec<Accepted> {
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let value = |refs: &Refs, name| refs.get(name).copied();
    names
        .into_iter()
        .map(|name| Accepted {
            name: name.clone(),
            seen: value(before, name),
            old: value(before, name),
            new: value(after, name),
        })
        .filter(|accepted| accepted.old != accepted.new)
        .collect()
}

fn advertisement(refs: Refs) -> Advertisement {
    Advertisement {
        refs,
        head: Head::Unknown,
    }
}

proptest! {
    #[test]
    fn without_local_refs_the_mirror_becomes_what_upstream_has(before in branches(), after in branches()) {
        let (before, after) = (without_conflicts(before), without_conflicts(after));
        let state: Refs = before.clone().into_iter().chain(records(&before)).collect();
        let plan = Plan::new(&state, &advertisement(after.clone()), &track());
        let state = apply(&state, &plan);
        prop_assert_eq!(public(&state), after.clone());
        prop_assert!(plan.held.is_empty());
        let again = Plan::new(&state, &advertisement(after), &track());
        prop_assert!(again.edits.is_empty(), "a second look changes nothing: {:?}", again);
    }

    #[test]
    fn no_local_ref_is_moved_or_deleted_and_no_two_refs_conflict(
        local in branches(), before in branches(), after in branches(),
    ) {
        let before = without_conflicts(before);
        let visible = without_conflicts(local.into_iter().chain(before.clone()).collect());
        let state: Refs = visible.clone().into_iter().chain(records(&before)).collect();
        let plan = Plan::new(&state, &advertisement(without_conflicts(after.clone())), &track());
        let result = apply(&state, &plan);
        for (name, oid) in &visible {
            if before.get(name) != Some(oid) {
                prop_assert_eq!(result.get(name), Some(oid), "the local {} was touched", name);
            }
        }
        let names: BTreeSet<BString> = result.keys().cloned().collect();
        for name in &names {
            prop_assert_eq!(in_the_way(&names, name.as_bstr()), None, "{} has company", name);
        }
    }

    #[test]
    fn a_push_does_what_a_sync_after_it_would_do(before in branches(), after in branches()) {
        let (before, after) = (without_conflicts(before), without_conflicts(after));
        let state: Refs = before.clone().into_iter().chain(records(&before)).collect();
        let plan = Plan::of_push(&state, &accepted(&before, &after), &track());
        prop_assert_eq!(&plan, &Plan::new(&state, &advertisement(after), &track()));
    }

    #[test]
    fn a_push_leaves_alone_what_a_sync_moved_since(
        before in branches(), meanwhile in branches(), after in branches(),
    ) {
        let (before, meanwhile) = (without_conflicts(before), without_conflicts(meanwhile));
        let state: Refs = meanwhile.clone().into_iter().chain(records(&meanwhile)).collect();
        let plan = Plan::of_push(&state, &accepted(&before, &without_conflicts(after)), &track());
        let result = apply(&state, &plan);
        for (name, oid) in &meanwhile {
            if before.get(name) != Some(oid) {
                prop_assert_eq!(result.get(name), Some(oid), "{} was rolled back", name);
            }
        }
    }

    #[test]
    fn an_upstream_that_breaks_its_own_rules_does_not_break_the_mirror(after in branches()) {
        let plan = Plan::new(&Refs::new(), &advertisement(after), &track());
        let names: BTreeSet<BString> = apply(&Refs::new(), &plan).into_keys().collect();
        for name in &names {
            prop_assert_eq!(in_the_way(&names, name.as_bstr()), None);
        }
    }
}

//! Any two advertisements, any state.

use std::time::{Duration, SystemTime};

use common::refspec::{EVERYTHING, WITHHELD};
use proptest::{collection::btree_map, prelude::*, sample::select};

use super::*;
use crate::repository::refs::conflicting;

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
        if conflicting(&sound, name.as_bstr()).is_none() {
            sound.insert(name, oid);
        }
    }
    sound
}

fn records(refs: &Refs) -> Refs {
    refs.iter()
        .map(|(name, oid)| (UpstreamRef::new(name.clone()).record().into(), *oid))
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
        .filter(|(name, _)| !refspec::is_reserved(name))
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
            name: UpstreamRef::new(name.clone()),
            shown: value(before, name),
            old: value(before, name),
            new: value(after, name),
        })
        .filter(|accepted| accepted.old != accepted.new)
        .collect()
}

/// Refspecs that people change between: all, one branch, some, none of these, others under other names.
const TRACKS: [&[&str]; 6] = [
    &EVERYTHING,
    &["+refs/heads/main"],
    &["+refs/heads/*", "^refs/heads/a/*"],
    &["+refs/tags/*"],
    &["+refs/heads/*:refs/heads/b/*"],
    &[
        "+refs/heads/a:refs/heads/main",
        "+refs/heads/main:refs/heads/a",
    ],
];

fn refspecs() -> impl Strategy<Value = Refspecs> {
    select(&TRACKS[..]).prop_map(|lines| Refspecs::parse(lines.iter().copied()).expect("sound"))
}

fn remembered(plan: Plan, refs: &Refs, track: &Refspecs) -> Plan {
    let (now, keep) = (SystemTime::now(), Duration::from_secs(60));
    plan.with_history(refs, track, Why::Untracked, now, keep, |_, _, _| false)
}

fn advertisement(refs: Refs) -> Advertisement {
    let refs = refs.into_iter();
    Advertisement {
        refs: refs
            .map(|(name, oid)| (UpstreamRef::new(name), oid))
            .collect(),
        head: Head::Unknown,
        ..Advertisement::default()
    }
}

/// What clients see of it where each ref keeps its name.
fn shown(upstream: &Advertisement) -> Refs {
    let refs = upstream.refs.iter();
    refs.map(|(name, oid)| (name.as_bstr().into(), *oid))
        .collect()
}

proptest! {
    #[test]
    fn without_local_refs_the_mirror_becomes_what_upstream_has(before in branches(), after in branches()) {
        let (before, after) = (without_conflicts(before), without_conflicts(after));
        let state: Refs = before.clone().into_iter().chain(records(&before)).collect();
        let plan = Plan::of_sync(&state, &advertisement(after.clone()), &track());
        let state = apply(&state, &plan);
        prop_assert_eq!(public(&state), after.clone());
        prop_assert!(plan.withheld.is_empty());
        let again = Plan::of_sync(&state, &advertisement(after), &track());
        prop_assert!(again.edits.is_empty(), "a second look changes nothing: {:?}", again);
    }

    #[test]
    fn no_local_ref_is_moved_or_deleted_and_no_two_refs_conflict(
        local in branches(), before in branches(), after in branches(),
    ) {
        let before = without_conflicts(before);
        let visible = without_conflicts(local.into_iter().chain(before.clone()).collect());
        let state: Refs = visible.clone().into_iter().chain(records(&before)).collect();
        let plan = Plan::of_sync(&state, &advertisement(without_conflicts(after.clone())), &track());
        let result = apply(&state, &plan);
        for (name, oid) in &visible {
            if before.get(name) != Some(oid) {
                prop_assert_eq!(result.get(name), Some(oid), "the local {} was touched", name);
            }
        }
        for name in result.keys() {
            prop_assert_eq!(conflicting(&result, name.as_bstr()), None, "{} has company", name);
        }
    }

    #[test]
    fn a_push_does_what_a_sync_after_it_would_do(before in branches(), after in branches()) {
        let (before, after) = (without_conflicts(before), without_conflicts(after));
        let state: Refs = before.clone().into_iter().chain(records(&before)).collect();
        let plan = Plan::of_push(&state, &accepted(&before, &after), &[], &track());
        prop_assert_eq!(&plan, &Plan::of_sync(&state, &advertisement(after), &track()));
    }

    #[test]
    fn a_push_leaves_alone_what_a_sync_moved_since(
        before in branches(), meanwhile in branches(), after in branches(),
    ) {
        let (before, meanwhile) = (without_conflicts(before), without_conflicts(meanwhile));
        let state: Refs = meanwhile.clone().into_iter().chain(records(&meanwhile)).collect();
        let plan = Plan::of_push(&state, &accepted(&before, &without_conflicts(after)), &[], &track());
        let result = apply(&state, &plan);
        for (name, oid) in &meanwhile {
            if before.get(name) != Some(oid) {
                prop_assert_eq!(result.get(name), Some(oid), "{} was rolled back", name);
            }
        }
    }

    #[test]
    fn an_upstream_that_breaks_its_own_rules_does_not_break_the_mirror(after in branches()) {
        let plan = Plan::of_sync(&Refs::new(), &advertisement(after), &track());
        let refs = apply(&Refs::new(), &plan);
        for name in refs.keys() {
            prop_assert_eq!(conflicting(&refs, name.as_bstr()), None);
        }
    }

    #[test]
    fn whatever_was_tracked_and_is_tracked_then_no_tip_is_lost(
        local in branches(), upstream in branches(),
        before in refspecs(), after in refspecs(), keep: bool,
    ) {
        let upstream = advertisement(without_conflicts(upstream));
        let state = without_conflicts(local);
        let state = apply(&state, &Plan::of_sync(&state, &upstream, &before));
        let plan = remembered(Plan::of_refspecs(&state, &before, &after, keep), &state, &after);
        let changed = apply(&state, &plan);
        for (name, oid) in &public(&state) {
            prop_assert!(changed.values().any(|kept| kept == oid), "{} at {} is lost", name, oid);
        }
        for (name, oid) in crate::repository::local_refs::list(&state, &before) {
            prop_assert_eq!(changed.get(&name), Some(&oid), "the local {} was touched", name);
        }
        for name in changed.keys() {
            prop_assert_eq!(conflicting(&changed, name.as_bstr()), None, "{} has company", name);
        }
        let again = Plan::of_refspecs(&changed, &before, &after, keep);
        prop_assert!(again.edits.is_empty(), "what was interrupted is finished once: {:?}", again);
    }

    #[test]
    fn what_is_kept_moves_on_when_it_is_tracked_again(upstream in branches(), later in branches()) {
        let upstream = advertisement(without_conflicts(upstream));
        let later = advertisement(without_conflicts(later));
        let one = Refspecs::parse(["+refs/heads/main"]).expect("sound");
        let state = apply(&Refs::new(), &Plan::of_sync(&Refs::new(), &upstream, &track()));
        let narrow = Plan::of_refspecs(&state, &track(), &one, true);
        prop_assert!(narrow.edits.is_empty());
        let wide = Plan::of_refspecs(&state, &one, &track(), false);
        prop_assert!(wide.edits.is_empty());
        let plan = Plan::of_sync(&state, &later, &track());
        prop_assert!(plan.withheld.is_empty());
        prop_assert_eq!(public(&apply(&state, &plan)), shown(&later));
    }

    #[test]
    fn without_a_plus_nothing_is_rewritten_and_with_it_everything_follows(
        upstream in branches(), later in branches(),
    ) {
        let cautious = Refspecs::parse(["refs/heads/*"]).expect("sound");
        let upstream = advertisement(without_conflicts(upstream));
        let later = advertisement(without_conflicts(later));
        let state = apply(&Refs::new(), &Plan::of_sync(&Refs::new(), &upstream, &cautious));
        let mut plan = Plan::of_sync(&state, &later, &cautious);
        plan.withhold_rewrites(&state, &cautious, |_, _, _| false);
        let withheld = apply(&state, &plan);
        let later_refs = shown(&later);
        for (name, oid) in &shown(&upstream) {
            let is = if later_refs.contains_key(name) { Some(oid) } else { None };
            prop_assert_eq!(withheld.get(name), is, "{} was rewritten", name);
        }
        let mut plan = Plan::of_sync(&withheld, &later, &track());
        plan.withhold_rewrites(&withheld, &track(), |_, _, _| false);
        let free = apply(&withheld, &plan);
        prop_assert_eq!(public(&free), shown(&later));
        prop_assert!(!free.keys().any(|name| name.starts_with(WITHHELD.as_bytes())), "nothing is withheld");
    }
}

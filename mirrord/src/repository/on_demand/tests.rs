use std::time::Duration;

use super::*;

const DAY: u64 = 24 * 60 * 60;

fn at(day: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(day * DAY + 1)
}

fn oid(digit: u8) -> ObjectId {
    ObjectId::from_hex(&[b'0' + digit; 40]).expect("hex")
}

fn found(names: &[(&str, u8)]) -> Found {
    let names = names.iter();
    names
        .map(|(name, digit)| (KeptName::Ref(UpstreamRef::from(*name)), oid(*digit)))
        .collect()
}

/// Carries out what is planned.
fn keep(refs: &mut Refs, wanted: &[&str], names: &[(&str, u8)], day: u64) -> usize {
    let wanted = OnDemand::parse(wanted.iter().copied());
    let plan = plan(refs, &wanted, &found(names), at(day));
    for (name, edit) in &plan.edits {
        assert_eq!(refs.get(name).copied(), edit.old, "{name}");
        match edit.new {
            Some(new) => drop(refs.insert(name.clone(), new)),
            None => drop(refs.remove(name)),
        }
    }
    plan.edits.len()
}

/// What is kept: the names at upstream, the days and the digits of the objects.
fn all(refs: &Refs) -> Vec<String> {
    let kept = kept(refs).map(|(name, _, oid)| {
        let name = name.to_string();
        let name = name.trim_start_matches(refspec::ON_DEMAND).to_owned();
        format!("{name} {}", &oid.to_string()[..1])
    });
    kept.collect()
}

#[test]
fn what_is_asked_for_again_is_what_upstream_has_now() {
    let main = ("refs/heads/main".into(), oid(9));
    let mut refs = Refs::from([main.clone()]);
    let pattern = ["refs/pull/*"];
    keep(
        &mut refs,
        &pattern,
        &[("refs/pull/1", 1), ("refs/pull/2", 2)],
        100,
    );
    assert_eq!(all(&refs), ["100/refs/pull/1 1", "100/refs/pull/2 2"]);
    let again = [("refs/pull/1", 1), ("refs/pull/2", 2)];
    assert_eq!(keep(&mut refs, &pattern, &again, 100), 0, "nothing is new");
    keep(&mut refs, &pattern, &[("refs/pull/2", 3)], 101);
    assert_eq!(all(&refs), ["101/refs/pull/2 3"]);
    keep(&mut refs, &["refs/notes/x"], &[("refs/notes/x", 4)], 101);
    assert_eq!(all(&refs), ["101/refs/notes/x 4", "101/refs/pull/2 3"]);
    keep(&mut refs, &["refs/pull/2"], &[], 101);
    assert_eq!(all(&refs), ["101/refs/notes/x 4"]);
    assert_eq!(refs.get(&main.0), Some(&main.1));
}

#[test]
fn a_week_after_its_last_use_it_goes() {
    let mut refs = Refs::new();
    keep(&mut refs, &["refs/pull/1"], &[("refs/pull/1", 1)], 100);
    keep(&mut refs, &["refs/pull/2"], &[("refs/pull/2", 2)], 107);
    assert_eq!(all(&refs).len(), 2);
    assert_eq!(expired(&refs, at(107)), Vec::<BString>::new());
    keep(&mut refs, &["refs/pull/3"], &[], 108);
    assert_eq!(all(&refs), ["107/refs/pull/2 2"]);
    assert_eq!(expired(&refs, at(99)).len(), 0, "the clock was set back");
}

#[test]
fn a_name_takes_the_place_of_one_that_is_in_its_way() {
    let mut refs = Refs::new();
    keep(&mut refs, &["refs/pull"], &[("refs/pull", 1)], 100);
    keep(&mut refs, &["refs/pull/1"], &[("refs/pull/1", 2)], 100);
    assert_eq!(all(&refs), ["100/refs/pull/1 2"]);
}

#[test]
fn a_pattern_is_known_for_a_week_after_upstream_was_asked() {
    let dir = tempfile::tempdir().expect("temp dir");
    let wanted = OnDemand::parse(["refs/notes/*", "refs/pull/7/merge"]);
    let missing = |day| never_asked(dir.path(), &wanted, at(day));
    assert_eq!(missing(100).as_deref(), Some("refs/notes/*"));
    record_asked(dir.path(), &wanted, at(100)).expect("written");
    assert_eq!(missing(107), None);
    assert_eq!(missing(108).as_deref(), Some("refs/notes/*"));
}

use proptest::prelude::*;

use super::*;

fn name(number: usize) -> Vec<u8> {
    format!("refs/upstream/heads/{number}").into_bytes()
}

/// A history in which each object needs some older ones: all that each needs, itself included.
fn closures(parents: &[Vec<usize>]) -> Vec<BTreeSet<usize>> {
    let mut all: Vec<BTreeSet<usize>> = Vec::new();
    for (number, parents) in parents.iter().enumerate() {
        let mut needs = BTreeSet::from([number]);
        for parent in parents.iter().filter(|parent| **parent < number) {
            needs.extend(all[*parent].clone());
        }
        all.push(needs);
    }
    all
}

fn union<'o>(closures: &[BTreeSet<usize>], of: impl Iterator<Item = &'o usize>) -> BTreeSet<usize> {
    of.flat_map(|object| closures[*object].clone()).collect()
}

type Refs = BTreeMap<usize, usize>;

fn text(refs: &Refs) -> Vec<(Vec<u8>, String)> {
    let refs = refs.iter();
    refs.map(|(ref_, object)| (name(*ref_), object.to_string()))
        .collect()
}

fn state(text: &[(Vec<u8>, String)]) -> State<'_> {
    let lines = text.iter();
    lines
        .map(|(name, object)| (&**name, object.as_bytes()))
        .collect()
}

fn step(before: &Refs, after: &Refs, pack: Option<String>, closures: &[BTreeSet<usize>]) -> Step {
    let refs: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let moved = refs
        .into_iter()
        .filter(|ref_| before.get(ref_) != after.get(ref_));
    let moves = moved.map(|ref_| Move {
        name: name(*ref_),
        old: before.get(ref_).map(ToString::to_string),
        new: after.get(ref_).map(ToString::to_string),
        forward: match (before.get(ref_), after.get(ref_)) {
            (Some(old), Some(new)) => closures[*new].contains(old),
            _ => false,
        },
    });
    Step {
        pack,
        before: digest(&state(&text(before))),
        after: digest(&state(&text(after))),
        moves: moves.collect(),
    }
}

const OBJECTS: usize = 24;

/// What becomes of the refs in one step: each is left, removed, or made something.
fn changes() -> impl Strategy<Value = Vec<Option<Option<usize>>>> {
    let change = prop_oneof![
        3 => Just(None),
        1 => Just(Some(None)),
        4 => (0..OBJECTS).prop_map(|object| Some(Some(object))),
    ];
    proptest::collection::vec(change, 4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_planned_is_all_that_is_wanted_and_no_more(
        parents in proptest::collection::vec(proptest::collection::vec(0..OBJECTS, 0..3), OBJECTS),
        history in proptest::collection::vec((changes(), 0..8_u8), 1..6),
        (at, odd) in (0..6_usize, proptest::collection::vec(0..OBJECTS, 0..3)),
        unwanted in proptest::collection::btree_set(0..4_usize, 0..2),
    ) {
        let closures = closures(&parents);
        let (mut refs, mut steps, mut states) = (Refs::new(), Steps::default(), vec![Refs::new()]);
        let mut packs: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (number, (changes, kind)) in history.into_iter().enumerate() {
            let before = refs.clone();
            for (ref_, change) in changes.into_iter().enumerate() {
                match change {
                    None => {}
                    Some(None) => drop(refs.remove(&ref_)),
                    Some(Some(object)) => drop(refs.insert(ref_, object)),
                }
            }
            let (had, has) = (union(&closures, before.values()), union(&closures, refs.values()));
            let news: BTreeSet<usize> = has.difference(&had).copied().collect();
            let pack = (kind > 1).then(|| format!("pack-{number}"));
            if let Some(pack) = &pack {
                packs.insert(pack.clone(), news);
            }
            // Some changes are a push's, and nobody notes them.
            if kind > 0 {
                steps.add(step(&before, &refs, pack, &closures));
            }
            states.push(refs.clone());
        }
        let read = Steps::parse(&steps.text());
        prop_assert_eq!(read.as_ref(), Some(&steps));
        let client = &states[at % states.len()];
        let has: BTreeSet<usize> = client.values().chain(&odd).copied().collect();
        let wants = refs.iter().filter(|(ref_, object)| !unwanted.contains(ref_) && !has.contains(object));
        let wants: BTreeSet<usize> = wants.map(|(_, object)| *object).collect();
        let words: Vec<String> = has.iter().map(ToString::to_string).collect();
        let tips = words.iter().map(|word| word.as_bytes()).collect();
        let wanted = wants.iter().map(|want| want.to_string().into_bytes()).collect();
        let now = text(&refs);
        if let Some(names) = steps.plan(state(&now), &tips, &wanted) {
            let brought = names.iter().flat_map(|name| packs[*name].iter().copied());
            let brought: BTreeSet<usize> = brought.collect();
            let had = union(&closures, has.iter());
            let needed = union(&closures, wants.iter());
            prop_assert!(needed.difference(&had).all(|object| brought.contains(object)));
            prop_assert!(brought.difference(&had).all(|object| needed.contains(object)));
        }
    }
}

#[test]
fn who_is_some_syncs_behind_gets_the_packs_of_these_syncs() {
    let closures = closures(&[vec![], vec![0], vec![1], vec![2]]);
    let mut steps = Steps::default();
    for number in 0..3 {
        let (before, after) = (Refs::from([(0, number)]), Refs::from([(0, number + 1)]));
        steps.add(step(
            &before,
            &after,
            Some(format!("pack-{number}")),
            &closures,
        ));
    }
    let now = text(&Refs::from([(0, 3)]));
    let wants = BTreeSet::from([b"3".to_vec()]);
    let plan = |tip: &'static [u8]| steps.plan(state(&now), &HashSet::from([tip]), &wants);
    assert_eq!(plan(b"1"), Some(vec!["pack-2", "pack-1"]));
    assert_eq!(plan(b"0"), Some(vec!["pack-2", "pack-1", "pack-0"]));
    assert_eq!(plan(b"7"), None);
}

/// Its refs at the end look like those after a step, and are not.
#[test]
fn a_step_to_something_else_than_what_is_recorded_now_is_none_to_it() {
    let closures = closures(&[vec![], vec![0], vec![]]);
    let (before, after) = (Refs::from([(0, 0)]), Refs::from([(0, 1)]));
    let mut steps = Steps::default();
    steps.add(step(&before, &after, Some("pack-1".into()), &closures));
    let wants = BTreeSet::from([b"1".to_vec()]);
    let has = HashSet::from([b"0" as &[u8]]);
    let plan = |now: &Refs| {
        let now = text(now);
        let packs = steps.plan(state(&now), &has, &wants);
        packs.map(|packs| packs.join(" "))
    };
    assert_eq!(plan(&after).as_deref(), Some("pack-1"));
    // A push has made another ref since, of which no step tells.
    assert_eq!(plan(&Refs::from([(0, 1), (1, 2)])), None);
    // Two steps that do not follow each other: what is before the last is forgotten.
    let (later, last) = (Refs::from([(0, 2)]), Refs::from([(0, 1)]));
    steps.add(step(&later, &last, Some("pack-2".into()), &closures));
    let now = text(&last);
    assert_eq!(steps.plan(state(&now), &has, &wants), None);
}

#[test]
fn half_a_file_says_nothing() {
    let closures = closures(&[vec![], vec![0]]);
    let mut steps = Steps::default();
    let (before, after) = (Refs::from([(0, 0)]), Refs::from([(0, 1)]));
    steps.add(step(&before, &after, None, &closures));
    let text = steps.text();
    for length in 0..text.len() {
        assert_eq!(Steps::parse(&text[..length]), None, "{length}");
    }
}

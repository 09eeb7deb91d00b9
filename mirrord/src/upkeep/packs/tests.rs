//! Which packs become one and which go, in repositories that git has made.

use super::{super::store::Store, leftovers::LEFTOVER_AGE, *};

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn a_pack_goes_when_a_bigger_one_has_all_of_it_and_not_before() {
    let mut store = Store::new();
    let [one, two, other] = [3, 4, 5].map(|size| store.pack(size));
    assert_eq!(store.replaced(), [""; 0]);
    let both = store.together(&[&one, &two]);
    assert_eq!(store.replaced(), sorted(vec![one, two]));
    store.drop_replaced();
    assert_eq!(store.names(), sorted(vec![both, other]));
    assert_eq!(store.leftovers(), [""; 0]);
    assert!(store.has_all());
}

#[test]
fn of_two_packs_with_the_same_objects_one_stays() {
    let mut store = Store::new();
    let one = store.pack(20);
    let words = ["-c", "pack.compression=0", "pack-objects", "-q"];
    let listed = store.git(
        &[
            "cat-file",
            "--batch-all-objects",
            "--batch-check=%(objectname)",
        ],
        "",
    );
    let base = store.file("pack");
    let base = base.to_str().expect("plain");
    let other = store.git(
        &[&words[..], &["--no-reuse-object", base]].concat(),
        &listed,
    );
    assert_ne!(one, format!("pack-{other}"), "they are not the same");
    store.drop_replaced();
    assert_eq!(store.names().len(), 1);
    assert!(store.has_all());
}

#[test]
fn what_the_mirror_alone_has_is_put_together_with_its_like_and_replaced_by_nothing_else() {
    let mut store = Store::new();
    let [mine, also_mine, one, two] = [2, 3, 2, 3].map(|size| store.pack(size));
    store.mark(&[&mine, &also_mine]);
    assert_eq!(count(store.path()).expect("readable"), 4);
    let all = store.together(&[&mine, &also_mine, &one, &two]);
    assert_eq!(store.replaced(), sorted(vec![one, two]), "of its own kind");
    let ours = store.together(&[&mine, &also_mine]);
    assert_eq!(
        store.replaced().len(),
        3,
        "it has no mark yet: {all} has it"
    );
    store.mark(&[&ours]);
    let gone = [mine, also_mine];
    assert!(gone.iter().all(|name| store.replaced().contains(name)));
    store.drop_replaced();
    assert_eq!(store.names(), sorted(vec![all, ours.clone()]));
    assert!(store.file(&format!("{ours}.keep")).exists());
    assert_eq!(store.leftovers(), [""; 0]);
    assert!(store.has_all());
}

#[test]
fn what_somebody_else_keeps_neither_goes_nor_replaces() {
    let mut store = Store::new();
    let [mine, one] = [2, 3].map(|size| store.pack(size));
    fs::write(store.file(&format!("{mine}.keep")), "").expect("written");
    let both = store.together(&[&mine, &one]);
    assert_eq!(count(store.path()).expect("readable"), 2);
    assert_eq!(store.replaced(), [one.as_str()]);
    fs::write(store.file(&format!("{both}.keep")), "").expect("written");
    assert_eq!(store.replaced(), [""; 0]);
}

#[test]
fn what_has_become_somebodys_own_since_it_was_compared_stays() {
    for origin in ["the one that goes", "the one that replaces it"] {
        let mut store = Store::new();
        let [one, two] = [2, 3].map(|size| store.pack(size));
        let both = store.together(&[&one, &two]);
        let compared = replaced(store.path()).expect("readable");
        let kept = if origin == "the one that goes" {
            &one
        } else {
            &both
        };
        fs::write(store.file(&format!("{kept}.keep")), "").expect("written");
        drop_replaced(store.path(), &compared, SystemTime::now()).expect("dropped");
        assert!(store.names().contains(&one), "{origin} is somebody's own");
        assert!(store.names().contains(kept));
        assert!(store.has_all());
    }
}

#[test]
fn what_was_kept_apart_keeps_its_mark_for_as_long_as_it_is_there() {
    let mut store = Store::new();
    let [one, two] = [2, 3].map(|size| store.pack(size));
    let both = store.together(&[&one, &two]);
    store.mark(&[&one, &two, &both]);
    // Killed when the first pack itself had gone, and before the second.
    for name in [&one, &two] {
        let [index, dropped] =
            ["idx", DROPPED].map(|ending| store.file(&format!("{name}.{ending}")));
        fs::rename(index, dropped).expect("renamed");
    }
    fs::remove_file(store.file(&format!("{one}.pack"))).expect("removed");
    drop_replaced(store.path(), &[], SystemTime::now()).expect("dropped");
    assert_eq!(store.names(), [both.as_str()]);
    assert_eq!(store.leftovers(), [""; 0]);
    assert!(store.has_all());
}

#[test]
fn packs_that_were_being_dropped_when_the_daemon_was_killed_are_removed() {
    let mut store = Store::new();
    let names: Vec<_> = (0..5).map(|_| store.pack(2)).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let whole = store.together(&names);
    let remove = |name: &str, ending: &str| {
        fs::remove_file(store.file(&format!("{name}.{ending}"))).expect("removed");
    };
    // Each of them killed one step later; the last has not begun.
    for name in &names[..4] {
        let [index, dropped] =
            ["idx", DROPPED].map(|ending| store.file(&format!("{name}.{ending}")));
        fs::rename(index, dropped).expect("renamed");
    }
    remove(names[1], "pack");
    remove(names[2], "pack");
    remove(names[2], DROPPED);
    // One has come again, as the same pack does that is received twice.
    let [index, dropped] =
        ["idx", DROPPED].map(|ending| store.file(&format!("{}.{ending}", names[3])));
    fs::copy(dropped, index).expect("copied");
    assert!(has_leftovers(store.path(), SystemTime::now()).expect("readable"));
    assert!(store.has_all(), "nobody misses anything in between");
    drop_replaced(store.path(), &[], SystemTime::now()).expect("dropped");
    assert!(!has_leftovers(store.path(), SystemTime::now()).expect("readable"));
    assert_eq!(store.leftovers(), [""; 0]);
    let expected = vec![names[3].to_owned(), names[4].to_owned(), whole];
    assert_eq!(store.names(), sorted(expected));
    assert!(store.has_all());
}

#[test]
fn an_index_over_all_packs_does_not_name_one_that_is_gone() {
    let mut store = Store::new();
    let [one, two] = [2, 3].map(|size| store.pack(size));
    store.together(&[&one, &two]);
    store.git(&["multi-pack-index", "write"], "");
    assert!(store.file("multi-pack-index").exists());
    store.drop_replaced();
    assert!(!store.file("multi-pack-index").exists());
    assert_eq!(store.names().len(), 1);
    assert!(store.has_all());
}

#[test]
fn leftovers_are_removed_when_they_are_old() {
    let mut store = Store::new();
    let pack = store.pack(2);
    let leftovers = [
        "tmp_pack_a1b2c3",
        ".tmp-77-pack-1",
        "pack-11.rev",
        "pack-22.keep",
    ];
    for name in leftovers {
        fs::write(store.file(name), "half").expect("written");
    }
    fs::write(store.file(&format!("{pack}.keep")), "").expect("written");
    let soon = SystemTime::now();
    assert!(!has_leftovers(store.path(), soon).expect("readable"));
    drop_replaced(store.path(), &[], soon).expect("dropped");
    assert_eq!(
        store.leftovers().len(),
        leftovers.len(),
        "somebody may be at work"
    );
    let later = soon + 2 * LEFTOVER_AGE;
    assert!(has_leftovers(store.path(), later).expect("readable"));
    drop_replaced(store.path(), &[], later).expect("dropped");
    assert_eq!(store.leftovers(), [""; 0]);
    assert_eq!(store.names(), [pack.as_str()]);
    assert!(store.file(&format!("{pack}.keep")).exists());
}

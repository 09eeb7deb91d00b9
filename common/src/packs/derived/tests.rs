use super::*;

/// A mirror that has no pack of its own.
fn mirror() -> tempfile::TempDir {
    let mirror = tempfile::tempdir().expect("temp dir");
    fs::create_dir_all(pack_dir(mirror.path())).expect("ours");
    mirror
}

fn wants(name: &str) -> BTreeSet<Vec<u8>> {
    BTreeSet::from([name.as_bytes().to_vec()])
}

fn part(wants: &BTreeSet<Vec<u8>>) -> Part<'_> {
    Part {
        wants,
        depth: Some(1),
        filter: None,
        tags: None,
    }
}

/// Makes what was wanted so many seconds ago and has so many bytes.
fn make(mirror: &Path, name: &str, bytes: u64, age: u64) {
    let wants = wants(name);
    let lock = DerivedLock::exclusive(mirror, &part(&wants), || ()).expect("nobody is there");
    lock.clear().expect("ours");
    for ending in ["pack", "idx"] {
        fs::write(lock.folder().join(format!("pack-a.{ending}")), "").expect("ours");
    }
    let pack = File::create(lock.folder().join("pack-a.pack")).expect("ours");
    pack.set_len(bytes).expect("ours");
    lock.record("pack-a", vec!["c".to_owned()]).expect("whole");
    let then = SystemTime::now() - Duration::from_secs(age);
    lock.lock.set_modified(then).expect("ours");
    release(lock);
}

/// Gives a lock up. It is not only dropped: a child that another test starts just now may have it for a moment longer.
fn release(lock: DerivedLock) {
    lock.lock.unlock().expect("locked");
}

fn is_there(mirror: &Path, name: &str) -> bool {
    let key = part(&wants(name)).key();
    mirror.join(FOLDER).join(key).join(RECORD).exists()
}

#[test]
fn each_part_has_a_place_of_its_own() {
    let (one, other) = (wants("one"), wants("other"));
    let filter = Some("blob:none");
    let plain = part(&one);
    let tags = |tags: &[&'static str]| Some(tags.iter().map(|tag| tag.as_bytes()).collect());
    let parts = [
        plain.clone(),
        part(&other),
        Part {
            depth: None,
            ..plain.clone()
        },
        Part {
            depth: Some(2),
            ..plain.clone()
        },
        Part {
            filter,
            ..plain.clone()
        },
        Part {
            filter: Some("tree:0"),
            ..plain.clone()
        },
        Part {
            tags: tags(&[]),
            ..plain.clone()
        },
        Part {
            tags: tags(&["a"]),
            ..plain.clone()
        },
        Part {
            tags: tags(&["a", "b"]),
            ..plain.clone()
        },
    ];
    let keys: BTreeSet<_> = parts.iter().map(Part::key).collect();
    assert_eq!(keys.len(), parts.len());
    assert_eq!(plain.key(), part(&wants("one")).key());
}

#[test]
fn what_is_noted_is_found_with_what_its_files_are() {
    let mirror = mirror();
    make(mirror.path(), "one", 7, 0);
    let wants = wants("one");
    let lock = DerivedLock::shared(mirror.path(), &part(&wants), || ()).expect("there");
    let found = lock.find().expect("readable").expect("whole");
    assert_eq!(found.pack.name, "pack-a");
    assert_eq!(found.shallow, ["c"]);
    let text = found.text();
    assert_eq!(Derived::parse(&text), Some(found));
    for cut in 0..text.len() {
        assert_eq!(Derived::parse(&text[..cut]), None, "{cut}");
    }
}

#[test]
fn what_is_not_what_it_was_is_not_found() {
    let mirror = mirror();
    let wants = wants("one");
    for change in [
        &(|pack: &Path| drop(fs::remove_file(pack))) as &dyn Fn(&Path),
        &|pack| fs::write(pack, "other").expect("ours"),
        &|pack| fs::write(pack.with_extension("idx"), "other").expect("ours"),
        &|pack| {
            let before = fs::metadata(pack)
                .expect("there")
                .modified()
                .expect("known");
            fs::write(pack, [1; 7]).expect("ours");
            let file = File::options().write(true).open(pack).expect("ours");
            file.set_modified(before).expect("ours");
        },
    ] {
        make(mirror.path(), "one", 7, 0);
        let lock = DerivedLock::shared(mirror.path(), &part(&wants), || ()).expect("there");
        assert!(lock.find().expect("readable").is_some());
        change(&lock.folder().join("pack-a.pack"));
        match lock.find() {
            Ok(found) => assert_eq!(found, None),
            Err(err) => assert!(verified::NotVerified::is(&err), "{err}"),
        }
        release(lock);
    }
}

#[test]
fn what_was_wanted_least_recently_goes_first() {
    let mirror = mirror();
    let (mirror, now) = (mirror.path(), SystemTime::now());
    for (name, age) in [("old", 30), ("new", 10), ("middle", 20)] {
        make(mirror, name, MIN_BUDGET_BYTES / 2 - 1000, age);
    }
    trim(mirror, now).expect("trimmed");
    let left = ["old", "middle", "new"].map(|name| is_there(mirror, name));
    assert_eq!(left, [false, true, true]);
    make(mirror, "large", 2 * MIN_BUDGET_BYTES, 0);
    trim(mirror, now).expect("trimmed");
    let left = ["middle", "new", "large"].map(|name| is_there(mirror, name));
    assert_eq!(left, [false, false, true], "one stays, however large");
}

#[test]
fn what_was_wanted_again_stays() {
    let mirror = mirror();
    let (mirror, now) = (mirror.path(), SystemTime::now());
    for (name, age) in [("old", 30), ("new", 10)] {
        make(mirror, name, MIN_BUDGET_BYTES, age);
    }
    let wants = wants("old");
    let lock = DerivedLock::shared(mirror, &part(&wants), || ()).expect("there");
    assert!(lock.find().expect("readable").is_some());
    release(lock);
    trim(mirror, now).expect("trimmed");
    assert!(is_there(mirror, "old") && !is_there(mirror, "new"));
}

#[test]
fn what_is_being_handed_out_stays_and_what_nobody_wants_goes() {
    let mirror = mirror();
    let (mirror, now) = (mirror.path(), SystemTime::now());
    make(mirror, "one", 1, 0);
    let later = now + MAX_UNUSED + Duration::from_secs(60);
    let wants = wants("one");
    let lock = DerivedLock::shared(mirror, &part(&wants), || ()).expect("there");
    trim(mirror, later).expect("trimmed");
    assert!(is_there(mirror, "one"));
    release(lock);
    trim(mirror, later).expect("trimmed");
    assert!(!is_there(mirror, "one"));
}

#[test]
fn what_was_killed_while_it_was_made_is_swept_and_the_rest_stays() {
    let mirror = mirror();
    let mirror = mirror.path();
    trim(mirror, SystemTime::now()).expect("nothing to do");
    sweep(mirror).expect("nothing to do");
    make(mirror, "whole", 1, 0);
    let half = wants("half");
    let lock = DerivedLock::exclusive(mirror, &part(&half), || ()).expect("nobody is there");
    lock.clear().expect("ours");
    release(lock);
    fs::write(mirror.join(FOLDER).join(".nfs1"), "").expect("ours");
    sweep(mirror).expect("swept");
    sweep(mirror).expect("swept");
    let names = fs::read_dir(mirror.join(FOLDER)).expect("there");
    assert_eq!(names.count(), 2, "a folder and its lock");
    assert!(is_there(mirror, "whole"));
}

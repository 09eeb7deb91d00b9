use std::fs;

use super::*;

const NEVER: fn() -> bool = || false;

fn lock(dir: &Path) -> Stamps {
    Stamps::lock(dir, Duration::ZERO).expect("nobody has it")
}

#[test]
fn a_file_is_hashed_when_its_ctime_is_not_the_recorded_one_and_not_otherwise() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (dir, path) = (dir.path(), dir.path().join("pack"));
    fs::write(&path, "good").expect("ours");
    let file = open(&path).expect("there");
    let (_, digest) = hash(&file, NEVER).expect("readable");
    let (_, other) = hash(&File::open("/dev/null").expect("there"), NEVER).expect("readable");
    let verify = |digest| {
        lock(dir)
            .verify(&path, &file, digest, false, NEVER)
            .expect("readable")
    };
    assert_eq!(
        verify(&other),
        None,
        "nothing is recorded, and it is hashed"
    );
    assert!(verify(&digest).is_some());
    assert!(
        verify(&other).is_some(),
        "it has not been touched, and is not hashed"
    );
    let always = lock(dir).verify(&path, &file, &other, true, NEVER);
    assert_eq!(always.expect("readable"), None);
    let link = dir.join("link");
    let changes: [&dyn Fn(); 3] = [
        &|| fs::hard_link(&path, &link).expect("ours"),
        &|| fs::remove_file(&link).expect("ours"),
        // In this version, or in one that was killed while it wrote.
        &|| fs::write(dir.join(FILE), "pack 1.2.3").expect("ours"),
    ];
    for change in changes {
        change();
        assert_eq!(verify(&other), None);
        assert!(verify(&digest).is_some());
    }
}

#[test]
fn one_at_a_time_has_the_record_and_nobody_waits_for_ever() {
    let dir = tempfile::tempdir().expect("temp dir");
    let (dir, path) = (dir.path(), dir.path().join("pack"));
    fs::write(&path, "content").expect("ours");
    let stamp = Stamp::of(&fs::metadata(&path).expect("there"));
    let mut first = lock(dir);
    first.record(&path, stamp);
    let second = Stamps::lock(dir, Duration::from_millis(5));
    assert_eq!(
        second.err().map(|err| err.kind()),
        Some(ErrorKind::TimedOut)
    );
    drop(first);
    let mut second = lock(dir);
    assert!(second.is_untouched(&path, &stamp));
    second.retain(|path| path.ends_with("other"));
    drop(second);
    assert!(!lock(dir).is_untouched(&path, &stamp));
}

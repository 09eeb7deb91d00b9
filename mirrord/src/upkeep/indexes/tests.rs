//! What makes a mirror quick to read never makes an answer wrong.

use super::{super::store::Store, *};
use crate::repository::refs;

/// Has git write them; nobody else is at it.
fn written(store: &Store) {
    try_to_write(store).expect("written");
}

fn try_to_write(store: &Store) -> io::Result<()> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let watch = Watch::new("", tokio::sync::broadcast::channel(1).0, Vec::new());
    let lock = File::create(store.path().join("upkeep")).expect("created");
    write(store.path(), &lock, &watch)
}

/// What the refs reach, as a reader counts it who uses all that there is, and as one who uses nothing of it.
fn reached(store: &Store) -> [Vec<String>; 2] {
    let read = |args: &[&str]| {
        let listed = store.git(args, "");
        let mut names: Vec<_> = listed
            .lines()
            .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
            .collect();
        names.sort();
        names
    };
    let plain = ["core.multiPackIndex=false", "core.commitGraph=false"];
    [
        read(&["rev-list", "--all", "--objects", "--use-bitmap-index"]),
        read(&[
            "-c",
            plain[0],
            "-c",
            plain[1],
            "rev-list",
            "--all",
            "--objects",
        ]),
    ]
}

#[test]
fn indexes_are_wanted_once_there_are_many_objects_and_again_when_there_are_twice_as_many() {
    let mut store = Store::new();
    store.history("main", 10);
    let wanted = |store: &Store, many| are_wanted_for(store.path(), many).expect("readable");
    assert!(!wanted(&store, 31));
    assert!(wanted(&store, 30));
    written(&store);
    assert!(!wanted(&store, 30));
    store.history("main", 9);
    assert!(!wanted(&store, 30), "most of it is named");
    store.history("other", 1);
    assert!(wanted(&store, 30));
    written(&store);
    assert!(!wanted(&store, 30));
    fs::write(store.file(INDEX), "half").expect("written");
    assert!(wanted(&store, 30), "it cannot be read");
    written(&store);
    assert!(!wanted(&store, 30));
}

#[test]
fn whoever_reads_finds_the_same_with_them() {
    for format in ["sha1", "sha256"] {
        let mut store = Store::of(format);
        store.history("main", 20);
        let blobs = store.pack(5);
        store.mark(&[&blobs]);
        written(&store);
        store.git(&["multi-pack-index", "verify"], "");
        store.git(&["commit-graph", "verify"], "");
        let [with, without] = reached(&store);
        assert_eq!((with.len(), &with), (60, &without));
        assert!(store.has_all(), "{format}");
        // What came since is in none of them.
        store.history("main", 3);
        store.history("other", 4);
        let [with, without] = reached(&store);
        assert_eq!((with.len(), &with), (81, &without));
        assert!(store.has_all(), "{format}");
        let repo = refs::open(store.path()).expect("a repository");
        for oid in with {
            let oid = gix::ObjectId::from_hex(oid.as_bytes()).expect("hex");
            repo.find_object(oid).expect("gix reads it too");
        }
    }
}

#[test]
fn refs_may_change_and_go_with_them_there() {
    let mut store = Store::new();
    store.history("main", 10);
    store.history("other", 10);
    written(&store);
    store.git(&["update-ref", "-d", "refs/heads/other"], "");
    store.git(&["update-ref", "refs/heads/main", "main~4"], "");
    let [with, without] = reached(&store);
    assert_eq!((with.len(), &with), (18, &without));
    store.git(&["update-ref", "refs/heads/back", "main~2"], "");
    let [with, without] = reached(&store);
    assert_eq!((with.len(), &with), (18, &without));
}

#[test]
fn packs_may_be_put_together_and_go_with_them_there() {
    let mut store = Store::new();
    for _ in 0..4 {
        store.history("main", 5);
    }
    written(&store);
    let names = store.names();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    store.together(&names);
    let all = reached(&store);
    assert_eq!((all[0].len(), &all[0]), (60, &all[1]));
    store.drop_replaced();
    assert_eq!(store.names().len(), 1);
    assert_eq!(store.leftovers(), [""; 0], "it is forgotten");
    assert_eq!(reached(&store), all);
    written(&store);
    assert_eq!(reached(&store), all);
    assert!(store.has_all());
}

#[test]
fn what_a_git_left_that_was_killed_over_them_is_in_nobodys_way() {
    let mut store = Store::new();
    store.history("main", 5);
    let info = store.path().join("objects/info");
    fs::create_dir_all(&info).expect("created");
    let left = [
        store.file("multi-pack-index.lock"),
        store.file("tmp_bitmap_a1b2c3"),
        info.join("commit-graph.lock"),
    ];
    for file in &left {
        fs::write(file, "half").expect("written");
    }
    written(&store);
    assert!(left.iter().all(|file| !file.exists()));
    assert!(store.has_all());
}

#[test]
fn when_git_cannot_write_them_what_was_there_stays() {
    let mut store = Store::new();
    store.history("main", 5);
    written(&store);
    let before = fs::read(store.file(INDEX)).expect("readable");
    store.history("main", 5);
    let named = fs::read_to_string(store.path().join("packed-refs")).expect("readable");
    let tip = store.git(&["rev-parse", "main"], "");
    let missing = tip.chars().rev().collect::<String>();
    let damaged = named.replace(&tip, &missing);
    fs::write(store.path().join("packed-refs"), damaged).expect("written");
    assert!(try_to_write(&store).is_err(), "a ref is damaged");
    assert_eq!(fs::read(store.file(INDEX)).expect("readable"), before);
    assert_eq!(
        store
            .leftovers()
            .iter()
            .filter(|name| name.starts_with("tmp_"))
            .count(),
        0
    );
}

use super::*;

fn mirror() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temp dir");
    fs::create_dir_all(pack_dir(dir.path())).expect("ours");
    dir
}

fn put(dir: &Path, file: &str, content: &str) {
    fs::write(pack_dir(dir).join(file), content).expect("ours");
}

fn packs_of(dir: &Path) -> Vec<Pack> {
    packs(&pack_dir(dir)).expect("there")
}

fn verify(dir: &Path, complete: bool) {
    let packs = packs(&pack_dir(dir)).expect("there").into_iter();
    let hash = |pack: Pack| {
        let digests = pack.digests(&pack_dir(dir)).expect("readable");
        (pack.name, digests)
    };
    let packs = packs.map(hash).collect();
    let tips = packs_of(dir).pop();
    let tips = tips.map(hash);
    let record = Record {
        complete,
        packs,
        tips,
    };
    fs::write(path(dir), record.text()).expect("ours");
    assert_eq!(Record::read(dir).expect("whole"), record);
}

fn names(dir: &Path) -> Option<Vec<String>> {
    let packs = fit(dir).expect("readable");
    packs.map(|fit| fit.packs.into_iter().map(|pack| pack.name).collect())
}

#[test]
fn what_is_as_it_was_when_it_was_verified_is_fit() {
    let dir = mirror();
    let dir = dir.path();
    put(dir, "pack-a.pack", "a");
    put(dir, "pack-a.idx", "a");
    put(dir, "pack-b.pack", "longer");
    put(dir, "pack-b.idx", "b");
    put(dir, "pack-b.rev", "b");
    put(dir, "pack-b.keep", "");
    put(dir, "pack-c.pack", "still without an index");
    assert_eq!(names(dir), None, "nothing was verified yet");
    verify(dir, false);
    assert_eq!(names(dir), None, "something may be missing");
    verify(dir, true);
    let fit = fit(dir).expect("readable").expect("fit");
    assert_eq!(
        fit.packs
            .iter()
            .map(|pack| (&*pack.name, pack.apart))
            .collect::<Vec<_>>(),
        [("pack-b", true), ("pack-a", false)]
    );
    fs::hard_link(pack_dir(dir).join("pack-a.pack"), dir.join("x")).expect("ours");
    assert!(names(dir).is_some(), "a link changes nothing");
}

#[test]
fn nothing_is_fit_where_anything_has_changed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("a loose object", |dir| {
            fs::create_dir(dir.join("objects/ab")).expect("ours");
            fs::write(dir.join("objects/ab/cd"), "").expect("ours");
        }),
        ("objects elsewhere", |dir| {
            fs::create_dir(dir.join("objects/info")).expect("ours");
            fs::write(dir.join("objects/info/alternates"), "/x").expect("ours");
        }),
        ("an index gone", |dir| {
            fs::remove_file(pack_dir(dir).join("pack-a.rev")).expect("ours");
        }),
        ("a pack gone", |dir| {
            fs::remove_file(pack_dir(dir).join("pack-a.pack")).expect("ours");
        }),
        ("one more", |dir| {
            put(dir, "pack-b.pack", "b");
            put(dir, "pack-b.idx", "b");
        }),
        ("half a record", |dir| {
            let text = fs::read_to_string(path(dir)).expect("there");
            fs::write(path(dir), &text[..text.len() - 2]).expect("ours");
        }),
    ];
    for (name, change) in changes {
        let dir = mirror();
        let dir = dir.path();
        for ending in ENDINGS {
            put(dir, &format!("pack-a.{ending}"), "a");
        }
        verify(dir, true);
        assert!(names(dir).is_some(), "{name}");
        change(dir);
        assert_eq!(names(dir), None, "{name}");
    }
}

#[test]
fn what_was_written_into_is_not_what_was_verified_whatever_its_time_says() {
    let dir = mirror();
    let dir = dir.path();
    for ending in ENDINGS {
        put(dir, &format!("pack-a.{ending}"), "good");
    }
    verify(dir, true);
    require(dir).expect("nothing has changed");
    for ending in ENDINGS {
        let path = pack_dir(dir).join(format!("pack-a.{ending}"));
        let link = dir.join("linked");
        fs::hard_link(&path, &link).expect("ours");
        require(dir).expect("a link changes no content");
        let before = fs::metadata(&link).expect("there");
        for (content, is_good) in [("EVIL", false), ("good", true)] {
            fs::write(&link, content).expect("ours");
            let file = fs::File::options().write(true).open(&link).expect("ours");
            file.set_modified(before.modified().expect("known"))
                .expect("ours");
            match require(dir) {
                Ok(()) => assert!(is_good, "{ending}"),
                Err(err) => assert!(!is_good && NotVerified::is(&err), "{ending} {err}"),
            }
        }
        fs::remove_file(link).expect("ours");
    }
    require(dir).expect("all is as it was");
}

#[test]
fn a_record_without_digests_is_none() {
    let dir = mirror();
    let line = "pack-a idx=1.2.3.4 pack=1.2.3.4\n";
    fs::write(path(dir.path()), format!("complete\n{line}end\n")).expect("ours");
    assert_eq!(
        Record::read(dir.path()).expect("readable"),
        Record::default()
    );
}

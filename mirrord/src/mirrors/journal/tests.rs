use common::protocol::{Cause, What};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn entry(mirror: &str, outcome: Outcome) -> Entry {
    Entry {
        at: 1_795_514_403,
        mirror: mirror.into(),
        what: What::Sync,
        cause: Cause::Schedule,
        milliseconds: 1_234,
        bytes: 0,
        refs: 0,
        outcome,
    }
}

/// A journal with files of this size, in a directory of its own.
fn journal(full: u64) -> (TempDir, Journal) {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = Journal::with(dir.path().join("journal"), full);
    (dir, journal)
}

/// Notes that something happened to the mirror `name` in the directory of that name.
fn note(journal: &Journal, name: &str) {
    let dir = format!("/mirrors/{name}.git");
    journal.note(Path::new(&dir), entry(name, Outcome::Unchanged));
}

fn lines(journal: &Journal) -> Vec<Line> {
    let (kept, _) = journal.open().expect("it can be opened");
    kept.lines().collect::<Result<_, _>>().expect("readable")
}

fn names(journal: &Journal) -> Vec<String> {
    let lines = lines(journal).into_iter();
    lines.map(|line| line.entry.mirror).collect()
}

fn append(journal: &Journal, bytes: &[u8]) {
    let mut file = journal.append_to().expect("writable");
    file.write_all(bytes).expect("writable");
}

#[test]
fn what_is_noted_is_read_by_the_next_daemon_too() {
    let (dir, journal) = journal(MAX_FILE_BYTES);
    assert_eq!(names(&journal), [""; 0], "nothing is there at first");
    note(&journal, "one");
    note(&journal, "two");
    let next = Journal::new(dir.path().join("journal"));
    note(&next, "three");
    assert_eq!(names(&next), ["one", "two", "three"]);
}

#[test]
fn nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, journal) = journal(300);
    (0..5).for_each(|_| note(&journal, "one"));
    for name in ["journal", "journal.old"] {
        let found = fs::metadata(dir.path().join(name)).expect("it is there");
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_torn_line_is_skipped_and_spoils_no_other() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    note(&journal, "one");
    let whole = fs::read(&journal.file).expect("readable");
    for length in 1..whole.len() {
        fs::remove_file(&journal.file).expect("it is there");
        note(&journal, "before");
        append(&journal, &whole[..length]);
        note(&journal, "after");
        let expected: &[&str] = match length {
            // Nothing is missing but the line break.
            _ if length == whole.len() - 1 => &["before", "one", "after"],
            _ => &["before", "after"],
        };
        assert_eq!(names(&journal), expected, "torn after {length} bytes");
    }
}

#[test]
fn what_a_power_cut_left_is_skipped() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    note(&journal, "before");
    // A file that was longer already than what was written of it.
    append(&journal, &[0; 4096]);
    note(&journal, "after");
    assert_eq!(names(&journal), ["before", "after"]);
}

#[test]
fn what_another_version_wrote_is_skipped() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    note(&journal, "before");
    let ours = fs::read_to_string(&journal.file).expect("readable");
    for other in [
        ours.replace("\"form\":1", "\"form\":2"),
        ours.replace("\"schedule\"", "\"full-moon\""),
        ours.replace("\"form\":1,", ""),
        "{}\n\n[1]\nhello\n\"\n".to_owned(),
        format!("{}\n", "x".repeat(100_000)),
    ] {
        assert_ne!(other, ours);
        append(&journal, other.as_bytes());
    }
    append(&journal, b"\xff\xfe\n");
    // What it says beyond what we know is its own.
    let more = ours.replace("\"form\":1", "\"form\":1,\"mood\":\"good\"");
    append(&journal, more.replace("\"before\"", "\"more\"").as_bytes());
    note(&journal, "after");
    assert_eq!(names(&journal), ["before", "more", "after"]);
}

#[test]
fn many_who_note_at_once_do_not_tear_each_others_lines() {
    let (_dir, journal) = journal(100_000);
    std::thread::scope(|scope| {
        for name in ["one", "two", "three", "four"] {
            let journal = &journal;
            scope.spawn(move || (0..100).for_each(|_| note(journal, name)));
        }
    });
    assert_eq!(names(&journal).len(), 400);
}

#[test]
fn two_files_of_a_bounded_size_are_all_that_there_ever_is() {
    let full = 10_000;
    let (dir, journal) = journal(full);
    for number in 0..500 {
        note(&journal, &format!("m{number}"));
        let files = fs::read_dir(dir.path()).expect("readable");
        let sizes: Vec<_> = files
            .map(|file| file.expect("readable").metadata().expect("there").len())
            .collect();
        assert!(sizes.len() <= 2, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size <= full), "{sizes:?}");
    }
    let names = names(&journal);
    let newest: Vec<_> = (500 - names.len()..500).map(|n| format!("m{n}")).collect();
    assert_eq!(
        names, newest,
        "the newest are there, in order, without a gap"
    );
    assert!(names.len() >= 40, "{} are kept", names.len());
}

#[test]
fn a_thousand_mirrors_that_sync_hourly_leave_two_days() {
    let mut usual = entry("gitlab.example/group/subgroup/project", Outcome::InStep);
    (usual.milliseconds, usual.bytes, usual.refs) = (12_345, 123_456_789, 123);
    let line = Line {
        form: FORM,
        identity: Identity {
            id: id::random().ok(),
            place: "gitlab-example-group-subgroup-project-0123456789abcdef.git".into(),
        },
        entry: usual,
    };
    let length = serde_json::to_string(&line).expect("text").len() as u64 + 1;
    assert!(
        1_000 * 24 * 2 * length <= MAX_FILE_BYTES,
        "a line of {length} bytes"
    );
}

#[test]
fn whoever_removes_it_finds_another_one() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    note(&journal, "one");
    fs::remove_file(&journal.file).expect("it is there");
    note(&journal, "two");
    assert_eq!(names(&journal), ["two"]);
}

#[test]
fn a_disk_that_takes_nothing_keeps_nobody_from_going_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(dir.path().join("gone/journal"));
    let (_, news) = journal.open().expect("nothing is there, which is fine");
    let mut news = news.expect("it can be followed");
    note(&journal, "one");
    note(&journal, "two");
    assert!(journal.writing().warned, "it was said, and once");
    assert_eq!(news.try_recv().expect("heard").entry.mirror, "one");
    fs::create_dir(dir.path().join("gone")).expect("ours");
    note(&journal, "three");
    assert_eq!(names(&journal), ["three"]);
    assert!(!journal.writing().warned, "the next trouble is said again");
}

#[test]
fn who_follows_hears_each_once_also_while_files_change_places() {
    let (_dir, journal) = journal(1_000);
    for number in 0..50 {
        note(&journal, &format!("m{number}"));
        let (kept, news) = journal.open().expect("it can be opened");
        let mut news = news.expect("it can be followed");
        (0..10).for_each(|_| note(&journal, "new"));
        let kept: Vec<_> = kept.lines().map(|line| line.expect("readable")).collect();
        let last = kept.last().expect("there are some");
        assert_eq!(last.entry.mirror, format!("m{number}"));
        let mut heard = 0;
        while let Ok(line) = news.try_recv() {
            assert_eq!(line.entry.mirror, "new");
            heard += 1;
        }
        assert_eq!(heard, 10);
    }
}

#[test]
fn a_slow_follower_is_told_and_holds_up_nobody() {
    use tokio::sync::broadcast::error::TryRecvError;
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    let (_, news) = journal.open().expect("it can be opened");
    let mut news = news.expect("it can be followed");
    (0..BACKLOG + 7).for_each(|_| note(&journal, "one"));
    assert_eq!(news.try_recv().err(), Some(TryRecvError::Lagged(7)));
    assert_eq!(names(&journal).len(), BACKLOG + 7);
    journal.close();
    while news.try_recv().is_ok() {}
    assert_eq!(news.try_recv().err(), Some(TryRecvError::Closed));
    let (_, news) = journal.open().expect("it can be opened");
    assert!(news.is_none(), "nobody follows one that ends");
    note(&journal, "two");
    assert_eq!(
        names(&journal).len(),
        BACKLOG + 8,
        "what happens is noted still"
    );
}

#[test]
fn a_mirror_owns_what_happened_in_its_place_and_under_its_name() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    let note = |place: &str, name: &str| {
        journal.note(Path::new(place), entry(name, Outcome::Unchanged));
    };
    // It was called `old`, and then lay elsewhere.
    note("/m/a.git", "old");
    note("/m/a.git", "project");
    note("/m/b.git", "project");
    // Another one that was called so once, and one that is gone.
    note("/m/other.git", "project");
    note("/m/other.git", "other");
    note("/m/gone.git", "gone");
    let owned = |git_dir: Option<&str>, name: &str, others: &[&str]| {
        let others = others.iter().map(Path::new);
        let whose = MirrorFilter::new(git_dir.map(Path::new), name.into(), others);
        let lines = lines(&journal).into_iter();
        let owned = lines.filter(|line| whose.owns(line));
        owned
            .map(|line| format!("{} {}", line.identity.place, line.entry.mirror))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        owned(Some("/m/a.git"), "project", &["/m/other.git"]),
        ["a.git old", "a.git project", "b.git project"]
    );
    assert_eq!(
        owned(Some("/m/b.git"), "project", &["/m/other.git"]),
        ["a.git project", "b.git project"]
    );
    assert_eq!(
        owned(Some("/m/other.git"), "other", &["/m/a.git"]),
        ["other.git project", "other.git other"]
    );
    assert_eq!(owned(None, "gone", &["/m/other.git"]), ["gone.git gone"]);
    assert_eq!(owned(None, "never", &[]), [""; 0]);
}

#[test]
fn a_mirror_in_the_place_of_another_does_not_own_what_happened_to_that() {
    let (dir, journal) = journal(MAX_FILE_BYTES);
    let git_dir = dir.path().join("a.git");
    let made = |name: &str| {
        let _ = fs::remove_dir_all(&git_dir);
        fs::create_dir(&git_dir).expect("made");
        write_id(&git_dir).expect("written");
        journal.note(&git_dir, entry(name, Outcome::Unchanged));
    };
    journal.note(&git_dir, entry("oldest", Outcome::Unchanged));
    made("first");
    let moved = dir.path().join("b.git");
    fs::rename(&git_dir, &moved).expect("moved");
    journal.note(&moved, entry("moved", Outcome::Unchanged));
    made("second");
    journal.note(&git_dir, entry("renamed", Outcome::Unchanged));
    let owned = |git_dir: &Path, name: &str, other: &Path| {
        let whose = MirrorFilter::new(Some(git_dir), name.into(), [other].into_iter());
        let lines = lines(&journal).into_iter();
        let owned = lines.filter(|line| whose.owns(line));
        owned.map(|line| line.entry.mirror).collect::<Vec<_>>()
    };
    assert_eq!(owned(&git_dir, "renamed", &moved), ["second", "renamed"]);
    assert_eq!(owned(&moved, "first", &git_dir), ["first", "moved"]);
    fs::remove_dir_all(&moved).expect("gone");
    // Of the one that is gone a new one has the name.
    assert_eq!(
        owned(&git_dir, "moved", &moved),
        ["moved", "second", "renamed"]
    );
}

#[test]
fn long_words_are_cut_between_characters() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    let words = "ß\n".repeat(10_000);
    journal.note(Path::new("/m/a.git"), entry("a", Outcome::Failed(words)));
    let [line] = lines(&journal).try_into().expect("one line");
    let Outcome::Failed(words) = line.entry.outcome else {
        panic!("it failed");
    };
    assert_eq!(words.chars().count(), MAX_MESSAGE_BYTES + 1);
    assert!(words.starts_with("ß^Jß") && words.ends_with('…'), "{words}");
}

prop_compose! {
    fn entries()(
        at: u64, milliseconds: u64, bytes: u64, refs: u64,
        name in "[^\\p{C}]{1,255}",
        words in "[^\\p{C}@]{0,400}",
        kind in 0..5, cause in 0..5_usize, push: bool,
    ) -> Entry {
        let outcome = match kind {
            0 => Outcome::InStep,
            1 => Outcome::Unchanged,
            2 => Outcome::Cancelled,
            3 => Outcome::Failed(words),
            _ => Outcome::Pushed { sent: at, kept: bytes, refused: refs, reason: push.then_some(words) },
        };
        let causes = [Cause::Fetch, Cause::Push, Cause::Command, Cause::Webhook, Cause::Schedule];
        let what = if push { What::Push } else { What::Sync };
        Entry { at, mirror: name, what, cause: causes[cause], milliseconds, bytes, refs, outcome }
    }
}

proptest! {
    #[test]
    fn any_entry_is_read_as_it_was_written(entries in proptest::collection::vec(entries(), 1..5)) {
        let (_dir, journal) = journal(MAX_FILE_BYTES);
        for entry in &entries {
            journal.note(Path::new("/m/a.git"), entry.clone());
        }
        let read: Vec<_> = lines(&journal).into_iter().map(|line| line.entry).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn no_login_gets_in_however_it_is_said(
        user in "[a-z0-9]{0,8}",
        before in "[ -~]{0,40}",
        after in "[ -~]{0,40}",
        scheme in "https?",
    ) {
        let (_dir, journal) = journal(MAX_FILE_BYTES);
        let words = format!("{before} '{scheme}://{user}:glpat-canary@gitlab.example/a.git'\n{after}");
        journal.note(Path::new("/m/a.git"), entry("a", Outcome::Failed(words.clone())));
        let pushed = Outcome::Pushed { sent: 0, kept: 0, refused: 1, reason: Some(words) };
        journal.note(Path::new("/m/a.git"), entry("a", pushed));
        let text = fs::read_to_string(&journal.file).expect("text");
        prop_assert!(!text.contains("glpat-canary"), "{}", text);
        prop_assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let (_dir, journal) = journal(MAX_FILE_BYTES);
        append(&journal, &bytes);
        note(&journal, "after");
        let last = names(&journal).pop();
        prop_assert_eq!(last.as_deref(), Some("after"));
    }
}

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
fn journal(max_bytes: u64) -> (TempDir, Journal) {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = Journal::with_max_bytes(dir.path().join("journal"), max_bytes);
    (dir, journal)
}

/// Records an entry about the mirror `name` in the directory of that name.
fn record(journal: &Journal, name: &str) {
    let dir = format!("/mirrors/{name}.git");
    journal.record(Path::new(&dir), entry(name, Outcome::Unchanged));
}

fn lines(journal: &Journal) -> Vec<Line> {
    let opened = journal.open().expect("it can be opened");
    let lines = opened.snapshot.lines();
    lines.collect::<Result<_, _>>().expect("readable")
}

fn names(journal: &Journal) -> Vec<String> {
    let lines = lines(journal).into_iter();
    lines.map(|line| line.entry.mirror).collect()
}

fn append(journal: &Journal, bytes: &[u8]) {
    let mut file = journal.open_for_append().expect("writable");
    file.write_all(bytes).expect("writable");
}

#[test]
fn entries_are_read_by_the_next_daemon_too() {
    let (dir, journal) = journal(MAX_FILE_BYTES);
    assert_eq!(names(&journal), [""; 0], "the journal is empty at first");
    record(&journal, "one");
    record(&journal, "two");
    let next = Journal::new(dir.path().join("journal"));
    record(&next, "three");
    assert_eq!(names(&next), ["one", "two", "three"]);
}

#[test]
fn no_other_user_may_read_the_journal() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, journal) = journal(300);
    (0..5).for_each(|_| record(&journal, "one"));
    for name in ["journal", "journal.old"] {
        let found = fs::metadata(dir.path().join(name)).expect("it is there");
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_torn_line_is_skipped_and_spoils_no_other() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    record(&journal, "one");
    let whole = fs::read(&journal.file).expect("readable");
    for length in 1..whole.len() {
        fs::remove_file(&journal.file).expect("it is there");
        record(&journal, "before");
        append(&journal, &whole[..length]);
        record(&journal, "after");
        let expected: &[&str] = match length {
            // Nothing is missing but the line break.
            _ if length == whole.len() - 1 => &["before", "one", "after"],
            _ => &["before", "after"],
        };
        assert_eq!(names(&journal), expected, "torn after {length} bytes");
    }
}

#[test]
fn zeros_that_a_power_cut_left_are_skipped() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    record(&journal, "before");
    // A file that was longer already than what was written of it.
    append(&journal, &[0; 4096]);
    record(&journal, "after");
    assert_eq!(names(&journal), ["before", "after"]);
}

#[test]
fn lines_of_another_version_are_skipped() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    record(&journal, "before");
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
    record(&journal, "after");
    assert_eq!(names(&journal), ["before", "more", "after"]);
}

#[test]
fn concurrent_writers_do_not_tear_each_others_lines() {
    let (_dir, journal) = journal(100_000);
    std::thread::scope(|scope| {
        for name in ["one", "two", "three", "four"] {
            let journal = &journal;
            scope.spawn(move || (0..100).for_each(|_| record(journal, name)));
        }
    });
    assert_eq!(names(&journal).len(), 400);
}

#[test]
fn the_journal_is_never_more_than_two_files_of_a_limited_size() {
    let full = 10_000;
    let (dir, journal) = journal(full);
    for number in 0..500 {
        record(&journal, &format!("m{number}"));
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
        format: FORMAT,
        identity: Identity {
            id: id::random().ok(),
            dir_name: "gitlab-example-group-subgroup-project-0123456789abcdef.git".into(),
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
fn a_removed_file_is_made_anew() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    record(&journal, "one");
    fs::remove_file(&journal.file).expect("it is there");
    record(&journal, "two");
    assert_eq!(names(&journal), ["two"]);
}

#[test]
fn a_failed_write_is_logged_once_and_fails_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(dir.path().join("gone/journal"));
    let Opened { news, .. } = journal.open().expect("nothing is there, which is fine");
    let mut news = news.expect("it can be followed");
    record(&journal, "one");
    record(&journal, "two");
    assert!(journal.writer.lock().warned, "it was said, and once");
    assert_eq!(news.try_recv().expect("received").entry.mirror, "one");
    fs::create_dir(dir.path().join("gone")).expect("ours");
    record(&journal, "three");
    assert_eq!(names(&journal), ["three"]);
    assert!(
        !journal.writer.lock().warned,
        "the next trouble is said again"
    );
}

#[test]
fn a_follower_gets_each_entry_once_also_when_the_file_becomes_the_old_one() {
    let (_dir, journal) = journal(1_000);
    for number in 0..50 {
        record(&journal, &format!("m{number}"));
        let Opened { snapshot, news } = journal.open().expect("it can be opened");
        let mut news = news.expect("it can be followed");
        (0..10).for_each(|_| record(&journal, "new"));
        let lines: Vec<_> = snapshot
            .lines()
            .map(|line| line.expect("readable"))
            .collect();
        let last = lines.last().expect("there are some");
        assert_eq!(last.entry.mirror, format!("m{number}"));
        let mut received = 0;
        while let Ok(line) = news.try_recv() {
            assert_eq!(line.entry.mirror, "new");
            received += 1;
        }
        assert_eq!(received, 10);
    }
}

#[test]
fn a_slow_follower_is_told_what_it_missed_and_delays_nobody() {
    use tokio::sync::broadcast::error::TryRecvError;
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    let Opened { news, .. } = journal.open().expect("it can be opened");
    let mut news = news.expect("it can be followed");
    (0..BACKLOG + 7).for_each(|_| record(&journal, "one"));
    assert_eq!(news.try_recv().err(), Some(TryRecvError::Lagged(7)));
    assert_eq!(names(&journal).len(), BACKLOG + 7);
    journal.end_followers();
    while news.try_recv().is_ok() {}
    assert_eq!(news.try_recv().err(), Some(TryRecvError::Closed));
    let Opened { news, .. } = journal.open().expect("it can be opened");
    assert!(news.is_none(), "nobody follows one that ends");
    record(&journal, "two");
    assert_eq!(
        names(&journal).len(),
        BACKLOG + 8,
        "events are still recorded"
    );
}

#[test]
fn a_filter_matches_entries_of_the_directory_and_of_the_name_of_a_mirror() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    let record = |dir: &str, name: &str| {
        journal.record(Path::new(dir), entry(name, Outcome::Unchanged));
    };
    // It was called `old`, and then lay elsewhere.
    record("/m/a.git", "old");
    record("/m/a.git", "project");
    record("/m/b.git", "project");
    // Another one that was called so once, and one that is gone.
    record("/m/other.git", "project");
    record("/m/other.git", "other");
    record("/m/gone.git", "gone");
    let matching = |git_dir: Option<&str>, name: &str, others: &[&str]| {
        let others = others.iter().map(Path::new);
        let filter = MirrorFilter::new(git_dir.map(Path::new), name.into(), others);
        let lines = lines(&journal).into_iter();
        let matching = lines.filter(|line| filter.matches(line));
        matching
            .map(|line| format!("{} {}", line.identity.dir_name, line.entry.mirror))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        matching(Some("/m/a.git"), "project", &["/m/other.git"]),
        ["a.git old", "a.git project", "b.git project"]
    );
    assert_eq!(
        matching(Some("/m/b.git"), "project", &["/m/other.git"]),
        ["a.git project", "b.git project"]
    );
    assert_eq!(
        matching(Some("/m/other.git"), "other", &["/m/a.git"]),
        ["other.git project", "other.git other"]
    );
    assert_eq!(matching(None, "gone", &["/m/other.git"]), ["gone.git gone"]);
    assert_eq!(matching(None, "never", &[]), [""; 0]);
}

#[test]
fn a_filter_does_not_match_entries_of_an_older_mirror_in_the_same_directory() {
    let (dir, journal) = journal(MAX_FILE_BYTES);
    let git_dir = dir.path().join("a.git");
    let made = |name: &str| {
        let _ = fs::remove_dir_all(&git_dir);
        fs::create_dir(&git_dir).expect("made");
        write_id(&git_dir).expect("written");
        journal.record(&git_dir, entry(name, Outcome::Unchanged));
    };
    journal.record(&git_dir, entry("oldest", Outcome::Unchanged));
    made("first");
    let moved = dir.path().join("b.git");
    fs::rename(&git_dir, &moved).expect("moved");
    journal.record(&moved, entry("moved", Outcome::Unchanged));
    made("second");
    journal.record(&git_dir, entry("renamed", Outcome::Unchanged));
    let matching = |git_dir: &Path, name: &str, other: &Path| {
        let filter = MirrorFilter::new(Some(git_dir), name.into(), [other].into_iter());
        let lines = lines(&journal).into_iter();
        let matching = lines.filter(|line| filter.matches(line));
        matching.map(|line| line.entry.mirror).collect::<Vec<_>>()
    };
    assert_eq!(matching(&git_dir, "renamed", &moved), ["second", "renamed"]);
    assert_eq!(matching(&moved, "first", &git_dir), ["first", "moved"]);
    fs::remove_dir_all(&moved).expect("gone");
    // Of the one that is gone a new one has the name.
    assert_eq!(
        matching(&git_dir, "moved", &moved),
        ["moved", "second", "renamed"]
    );
}

#[test]
fn long_messages_are_cut_between_characters() {
    let (_dir, journal) = journal(MAX_FILE_BYTES);
    let words = "ß\n".repeat(10_000);
    journal.record(Path::new("/m/a.git"), entry("a", Outcome::Failed(words)));
    let [line] = lines(&journal).try_into().expect("one line");
    let Outcome::Failed(words) = line.entry.outcome else {
        panic!("it failed");
    };
    assert_eq!(words.chars().count(), MAX_MESSAGE_CHARS + 1);
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
            journal.record(Path::new("/m/a.git"), entry.clone());
        }
        let read: Vec<_> = lines(&journal).into_iter().map(|line| line.entry).collect();
        prop_assert_eq!(read, entries);
    }

    #[test]
    fn no_login_is_written_in_whatever_message_it_is(
        user in "[a-z0-9]{0,8}",
        before in "[ -~]{0,40}",
        after in "[ -~]{0,40}",
        scheme in "https?",
    ) {
        let (_dir, journal) = journal(MAX_FILE_BYTES);
        let words = format!("{before} '{scheme}://{user}:glpat-canary@gitlab.example/a.git'\n{after}");
        journal.record(Path::new("/m/a.git"), entry("a", Outcome::Failed(words.clone())));
        let pushed = Outcome::Pushed { sent: 0, kept: 0, refused: 1, reason: Some(words) };
        journal.record(Path::new("/m/a.git"), entry("a", pushed));
        let text = fs::read_to_string(&journal.file).expect("text");
        prop_assert!(!text.contains("glpat-canary"), "{}", text);
        prop_assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let (_dir, journal) = journal(MAX_FILE_BYTES);
        append(&journal, &bytes);
        record(&journal, "after");
        let last = names(&journal).pop();
        prop_assert_eq!(last.as_deref(), Some("after"));
    }
}

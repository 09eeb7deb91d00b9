//! The history of refs, at times that the tests choose.

use std::{io::Write, process::Stdio};

use common::refspec;
use proptest::prelude::*;

use super::*;
use crate::repository::sample::Sample;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Noon of a day in July in Berlin, two hours ahead of UTC.
fn noon() -> Zoned {
    "2026-07-01T12:00:00+02:00[Europe/Berlin]"
        .parse()
        .expect("a time")
}

fn now() -> SystemTime {
    noon().timestamp().into()
}

fn oid(first: &str) -> ObjectId {
    ObjectId::from_hex(format!("{first:0<40}").as_bytes()).expect("hex")
}

/// A past value that `name` lost `ago` before [`now`].
fn past(name: &str, why: Why, ago: Duration, first: &str) -> (BString, ObjectId) {
    let at = micros(now() - ago);
    (ref_name(at, why, name.into()), oid(first))
}

/// main was rewritten two days and one day ago, and deleted an hour ago.
fn main_of_three() -> Refs {
    let main = "refs/heads/main";
    [
        past(main, Why::Rewritten, 2 * DAY, "aaaa1"),
        past(main, Why::Rewritten, DAY, "aaaa2"),
        past(main, Why::Deleted, HOUR, "bbbb"),
        past("refs/heads/other", Why::Untracked, HOUR, "cccc"),
    ]
    .into()
}

fn found(refs: &Refs, name: &str, at: &str) -> Result<ObjectId, Failure> {
    let at = At::parse(at, &noon()).expect("an id or a time");
    find(&entries(refs), name.as_bytes(), Some(&at)).map(|entry| entry.oid)
}

#[test]
fn the_name_of_a_past_value_has_the_time_the_reason_and_the_ref() {
    let public: BString = "refs/heads/a/b".into();
    let name = ref_name(1_767_225_600_000_000, Why::Rewritten, public.as_bstr());
    assert_eq!(
        name,
        "refs/mirror/history/1767225600000000/rewritten/heads/a/b"
    );
    assert!(
        refspec::is_reserved(&name),
        "no client sees it, no upstream writes it"
    );
    let expected = Entry {
        at: 1_767_225_600_000_000,
        why: Why::Rewritten,
        name: public,
        oid: oid("1"),
    };
    assert_eq!(entries(&[(name, oid("1"))].into()), [expected]);
}

#[test]
fn past_values_are_listed_from_the_newest_on() {
    let mut refs = main_of_three();
    // Nine digits of a clock that stood at the beginning come before sixteen.
    refs.insert("refs/mirror/history/999/deleted/tags/v1".into(), oid("d"));
    let entries = entries(&refs);
    assert!(entries.is_sorted_by(|newer, older| newer.at >= older.at));
    let names: Vec<_> = entries.iter().map(|entry| entry.name.to_string()).collect();
    let (main, other) = ("refs/heads/main", "refs/heads/other");
    assert_eq!(names, [main, other, main, main, "refs/tags/v1"]);
}

#[test]
fn refs_with_other_names_are_passed_over() {
    let odd = [
        "refs/mirror/history",
        "refs/mirror/history/",
        "refs/mirror/history/1",
        "refs/mirror/history/1/",
        "refs/mirror/history/1/deleted",
        "refs/mirror/history/+1/deleted/heads/a",
        "refs/mirror/history/01/deleted/heads/a",
        "refs/mirror/history/-1/deleted/heads/a",
        "refs/mirror/history/x/deleted/heads/a",
        "refs/mirror/history/1/lost/heads/a",
        "refs/mirror/history/18446744073709551615/deleted/heads/a",
        "refs/mirror/history/18446744073709551616/deleted/heads/a",
        "refs/mirror/historyx/1/deleted/heads/a",
        "refs/heads/a",
        "refs/upstream/heads/a",
    ];
    let refs: Refs = odd.map(|name| (name.into(), oid("1"))).into();
    assert_eq!(entries(&refs), []);
    assert_eq!(stamp(&refs, now()), micros(now()));
    assert_eq!(expired(&refs, now(), Duration::ZERO), [""; 0]);
}

#[test]
fn two_changes_in_the_same_microsecond_have_two_stamps() {
    let mut refs = Refs::new();
    let mut last = None;
    for _ in 0..3 {
        let stamp = stamp(&refs, now());
        assert!(last.is_none_or(|last| stamp > last) && stamp >= micros(now()));
        refs.insert(
            ref_name(stamp, Why::Deleted, "refs/heads/a".into()),
            oid("1"),
        );
        last = Some(stamp);
    }
    assert!(stamp(&refs, now() + DAY) >= micros(now() + DAY));
    assert!(
        Some(stamp(&refs, now() - DAY)) > last,
        "the clock was set back"
    );
    assert!(
        Some(stamp(&refs, UNIX_EPOCH - DAY)) > last,
        "the clock is wrong"
    );
}

#[test]
fn git_keeps_a_branch_and_a_later_one_below_its_name() {
    let mut sample = Sample::new();
    let commit = sample.commit(&[]);
    let sample = sample.import();
    let mut refs = Refs::new();
    for public in [
        "refs/heads/a",
        "refs/heads/a/b",
        "refs/heads/a",
        "refs/tags/a/b/c",
    ] {
        let name = ref_name(stamp(&refs, now()), Why::Deleted, public.into());
        refs.insert(name, sample.oid(commit));
    }
    let mut child = sample
        .git()
        .args(["update-ref", "--stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("git runs");
    let mut stdin = child.stdin.take().expect("piped");
    for (name, oid) in &refs {
        writeln!(stdin, "create {name} {oid}").expect("written");
    }
    drop(stdin);
    assert!(child.wait().expect("git ends").success());
    let mut written = crate::repository::refs::read(sample.path()).expect("readable");
    written.retain(|name, _| name.starts_with(HISTORY.as_bytes()));
    assert_eq!(written, refs);
}

#[test]
fn a_past_value_expires_after_thirty_days() {
    let keep = 30 * DAY;
    let refs: Refs = [
        past("refs/heads/a", Why::Deleted, keep + HOUR, "a"),
        past("refs/heads/b", Why::Deleted, keep, "b"),
        past("refs/heads/c", Why::Deleted, keep - HOUR, "c"),
    ]
    .into();
    let gone: Vec<_> = refs.keys().take(2).cloned().collect();
    assert_eq!(expired(&refs, now(), keep), gone);
    assert_eq!(expired(&refs, now(), Duration::MAX), [""; 0]);
}

#[test]
fn a_clock_that_was_set_back_drops_nothing_early() {
    let refs = main_of_three();
    for wrong in [now() - 60 * DAY, UNIX_EPOCH, UNIX_EPOCH - DAY] {
        for keep in [Duration::ZERO, DAY, 30 * DAY] {
            assert_eq!(expired(&refs, wrong, keep), [""; 0]);
        }
    }
}

#[test]
fn a_ref_is_named_as_git_takes_names() {
    let refs = main_of_three();
    for name in ["main", "heads/main", "refs/heads/main"] {
        let entry = find(&entries(&refs), name.as_bytes(), None).expect("found");
        assert_eq!(entry.oid, oid("bbbb"), "the newest of '{name}'");
    }
    for name in ["mai", "tags/main", "heads", "", "mirror/history"] {
        let failure = find(&entries(&refs), name.as_bytes(), None).expect_err("none");
        assert_eq!(failure.message, format!("there is no history of '{name}'"));
        assert!(failure.hint.is_some_and(|hint| hint.contains("history")));
    }
}

#[test]
fn a_branch_comes_before_a_tag_of_the_same_name() {
    let refs: Refs = [
        past("refs/tags/v1", Why::Deleted, HOUR, "a"),
        past("refs/heads/v1", Why::Deleted, DAY, "b"),
        past("refs/tags/v2", Why::Deleted, HOUR, "c"),
    ]
    .into();
    let newest = |name: &str| find(&entries(&refs), name.as_bytes(), None).map(|entry| entry.oid);
    assert_eq!(newest("v1"), Ok(oid("b")));
    assert_eq!(newest("tags/v1"), Ok(oid("a")));
    assert_eq!(newest("v2"), Ok(oid("c")));
}

#[test]
fn the_value_at_a_time_is_the_one_that_the_branch_lost_next() {
    let refs = main_of_three();
    for (at, first) in [
        ("3 days ago", "aaaa1"),
        ("25 hours ago", "aaaa2"),
        ("yesterday", "aaaa2"),
        ("2 hours ago", "bbbb"),
        ("2.hours.ago", "bbbb"),
        ("2026-06-29 12:00", "aaaa1"),
        ("2026-06-29 12:00:01", "aaaa2"),
        ("2026-06-29T10:00:00Z", "aaaa1"),
        ("2026-06-29 10:00:01 +0000", "aaaa2"),
        ("2026-06-30", "aaaa2"),
        ("20260630", "aaaa2"),
        ("2026-07-01", "bbbb"),
        ("2026-01-31", "aaaa1"),
        ("2026-06-29 12:00:00 +0200", "aaaa1"),
        ("2026-06-29T12:00:01", "aaaa2"),
        ("Mon Jun 29 10:00:01 2026 +0000", "aaaa2"),
        ("1782727200", "aaaa1"),
        ("@1782727201", "aaaa2"),
        ("@0", "aaaa1"),
        ("@-1", "aaaa1"),
    ] {
        assert_eq!(found(&refs, "main", at), Ok(oid(first)), "{at}");
    }
    for at in ["now", "30 minutes ago", "2026-07-01 11:00:01", "2027-01-01"] {
        let failure = found(&refs, "main", at).expect_err("it lost nothing since");
        let words = "the last time was 2026-07-01 09:00:00 +0000";
        let expected = format!("'main' has lost nothing since '{at}': {words}");
        assert_eq!(failure.message, expected);
    }
}

#[test]
fn the_time_that_an_error_names_finds_that_entry() {
    let refs = main_of_three();
    let newest = entries(&refs)[0].at;
    assert_eq!(found(&refs, "main", &format_stamp(newest)), Ok(oid("bbbb")));
}

#[test]
fn a_time_without_a_zone_is_local_also_across_a_change_of_clocks() {
    let seconds = |text| At::parse(text, &noon()).expect("a time").time;
    let utc = |text: &str| date::parse(text, None).expect("a time").seconds;
    for (local, expected) in [
        ("2026-07-01 12:00", "2026-07-01 10:00:00 +0000"),
        ("2026-01-31 12:00", "2026-01-31 11:00:00 +0000"),
        ("2026-01-31T12:00:07", "2026-01-31 11:00:07 +0000"),
        ("2026-01-31", "2026-01-30 23:00:00 +0000"),
        ("2026-07-01 12:00 +0500", "2026-07-01 07:00:00 +0000"),
    ] {
        let expected = u64::try_from(utc(expected)).expect("after 1970") * MICROS;
        assert_eq!(seconds(local), Some(expected), "{local}");
    }
}

#[test]
fn an_abbreviated_id_finds_its_value() {
    let refs = main_of_three();
    for at in ["bbbb", "BBBB0", &oid("bbbb").to_string(), " bbbb "] {
        assert_eq!(found(&refs, "main", at), Ok(oid("bbbb")), "{at}");
    }
    assert_eq!(found(&refs, "main", "aaaa1"), Ok(oid("aaaa1")));
    let message = |at| found(&refs, "main", at).expect_err("none").message;
    let ambiguous = "'aaaa' is ambiguous: 'main' was at several such commits";
    assert_eq!(message("aaaa"), ambiguous);
    assert_eq!(
        message("cccc"),
        "'main' was never at 'cccc' that is remembered"
    );
}

#[test]
fn an_id_that_a_branch_had_twice_is_not_ambiguous() {
    let mut refs = main_of_three();
    refs.extend([past("refs/heads/main", Why::Deleted, 3 * DAY, "bbbb")]);
    let at = At::parse("bbbb", &noon()).expect("an id");
    let entry = find(&entries(&refs), b"main", Some(&at)).expect("found");
    assert_eq!(entry.at, micros(now() - HOUR), "the newest of both");
}

#[test]
fn a_text_that_is_a_date_and_an_id_is_an_id_where_there_is_one() {
    let mut refs = main_of_three();
    assert_eq!(found(&refs, "main", "20260630"), Ok(oid("aaaa2")));
    refs.extend([past("refs/heads/main", Why::Deleted, 3 * DAY, "20260630")]);
    assert_eq!(found(&refs, "main", "20260630"), Ok(oid("20260630")));
}

#[test]
fn a_text_that_is_neither_an_id_nor_a_time_is_refused_with_examples() {
    for text in ["", "abc", "main", "v1.0", "yesteryear", "2026-13-45", "é"] {
        let failure = At::parse(text, &noon()).expect_err("neither");
        let message = format!("'{text}' is neither an object id nor a time");
        assert_eq!(failure.message, message);
        let hint = failure.hint.expect("examples");
        for example in hint.split('\'').skip(1).step_by(2) {
            assert!(At::parse(example, &noon()).is_ok(), "{example}");
        }
    }
}

proptest! {
    #[test]
    fn nobody_can_type_or_name_what_makes_it_panic(text in "\\PC*", name in "[0-9a-z/+]*") {
        let _ = At::parse(&text, &noon());
        let _ = found(&main_of_three(), &text, "yesterday");
        let odd = BString::from(format!("{HISTORY}{name}"));
        let _ = entries(&[(odd, oid("1"))].into());
    }

    #[test]
    fn what_is_remembered_is_what_was(at in 0..u64::MAX, why in 0..3_usize, name in "[a-z]{1,5}/[a-z/]{1,9}") {
        let (why, public) = (Why::ALL[why], BString::from(format!("refs/{name}")));
        let refs: Refs = [(ref_name(at, why, public.as_bstr()), oid("1"))].into();
        prop_assert_eq!(entries(&refs), [Entry { at, why, name: public, oid: oid("1") }]);
    }
}

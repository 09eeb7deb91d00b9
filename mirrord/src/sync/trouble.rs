//! How the syncs of a mirror have failed, on disk: for the next daemon, and for the first who fetches when it is over.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::process::durable;

use common::text::unix_seconds;

/// Why the last sync failed, when it did; a file in the mirror: the words, and a line with since when, in seconds since
/// 1970, and marks.
const FAILING: &str = "failing";

/// The same of syncs that have failed until lately, of which nobody has been told that it is over.
const MENDED: &str = "mended";

/// The mark of what needs somebody.
const NEEDS_YOU: &str = "needs-you";

/// The mark of an upstream that is not believed.
const WIPED: &str = "wiped";

/// Before the time, in seconds since 1970, when the mirror was last in step.
const SYNCED: &str = "synced=";

/// The mark of what is about one of those who use the mirror.
const PERSONAL: &str = "personal";

/// How the last sync failed.
pub(crate) struct Failed {
    /// Why.
    pub words: String,
    /// Since when they fail.
    pub since: Option<SystemTime>,
    /// Whether it needs somebody.
    pub needs_you: bool,
    /// Whether it is about one of those who use the mirror.
    pub is_personal: bool,
    /// Whether upstream was not believed: everybody who fetched was told, and what to do.
    pub is_wiped: bool,
    /// When the mirror was last in step before.
    pub synced: Option<SystemTime>,
}

/// Whether both are the same on disk, where times are whole seconds.
pub(super) fn are_alike(one: Option<&Failed>, other: Option<&Failed>) -> bool {
    let told = |failed: &Failed| {
        let since = failed.since.map(unix_seconds);
        let synced = failed.synced.map(unix_seconds);
        let marks = (failed.needs_you, failed.is_personal, failed.is_wiped);
        (failed.words.clone(), since, marks, synced)
    };
    one.map(told) == other.map(told)
}

/// What was noted.
pub(super) fn read(git_dir: &Path) -> Option<Failed> {
    parse(&fs::read_to_string(git_dir.join(FAILING)).ok()?)
}

fn parse(text: &str) -> Option<Failed> {
    let (words, marks) = text.split_once('\n').unwrap_or((text, ""));
    let has = |mark| marks.split_whitespace().any(|word| word == mark);
    let mut words_of_marks = marks.split_whitespace();
    let since = words_of_marks.clone().find_map(|word| word.parse().ok());
    let synced = words_of_marks.find_map(|word| word.strip_prefix(SYNCED)?.parse().ok());
    let time = |since| UNIX_EPOCH.checked_add(Duration::from_secs(since));
    Some(Failed {
        words: words.trim().to_owned(),
        since: since.and_then(time),
        needs_you: has(NEEDS_YOU),
        is_personal: has(PERSONAL),
        is_wiped: has(WIPED),
        synced: synced.and_then(time),
    })
}

/// Notes how the last sync failed, or that it did not: then whoever fetches next is told of what was.
pub(super) fn write(git_dir: &Path, failed: Option<&Failed>) -> io::Result<()> {
    let path = git_dir.join(FAILING);
    let Some(failed) = failed else {
        // What was about one person is nobody else's business, and an upstream that is itself again is no news.
        return match read(git_dir) {
            Some(before) if !before.is_personal && !before.is_wiped => {
                fs::rename(&path, git_dir.join(MENDED))
            }
            _ => durable::remove(&path),
        };
    };
    // Of a mirror that there is not yet, nothing is noted.
    if !git_dir.exists() {
        return Ok(());
    }
    let marks = [
        (failed.needs_you, NEEDS_YOU),
        (failed.is_personal, PERSONAL),
        (failed.is_wiped, WIPED),
    ];
    let marks = marks.iter().filter(|(holds, _)| *holds);
    let since = failed.since.map(|since| unix_seconds(since).to_string());
    let synced = failed
        .synced
        .map(|synced| format!("{SYNCED}{}", unix_seconds(synced)));
    let line: Vec<_> = since
        .into_iter()
        .chain(synced)
        .chain(marks.map(|(_, mark)| (*mark).to_owned()))
        .collect();
    let text = format!("{}\n{}\n", failed.words, line.join(" "));
    durable::replace(&path, text.as_bytes())
}

/// What is over, of which nobody has been told yet; whoever asks tells it.
pub(crate) fn take_mended(git_dir: &Path) -> Option<Failed> {
    let path = git_dir.join(MENDED);
    let text = fs::read_to_string(&path).ok()?;
    // Two who ask at once may both tell it, and that is better than neither.
    durable::remove(&path).ok()?;
    parse(&text)
}

/// Removes what is on disk of how syncs have failed.
pub(super) fn forget(git_dir: &Path) -> io::Result<()> {
    durable::remove(&git_dir.join(FAILING))?;
    durable::remove(&git_dir.join(MENDED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(words: &str) -> Failed {
        Failed {
            words: words.to_owned(),
            since: Some(UNIX_EPOCH + Duration::from_secs(1_795_514_403)),
            needs_you: true,
            is_personal: false,
            is_wiped: false,
            synced: Some(UNIX_EPOCH + Duration::from_secs(1_795_510_000)),
        }
    }

    #[test]
    fn what_is_noted_is_read_by_the_next_daemon() {
        let dir = tempfile::tempdir().expect("temp dir");
        write(dir.path(), Some(&failed("no answer"))).expect("written");
        let read = read(dir.path());
        assert!(are_alike(read.as_ref(), Some(&failed("no answer"))));
        assert!(!are_alike(read.as_ref(), Some(&failed("another"))));
        assert!(!are_alike(read.as_ref(), None));
    }

    #[test]
    fn what_a_daemon_before_this_has_noted_is_understood() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join(FAILING), "no answer\nneeds-you\n").expect("written");
        let read = read(dir.path()).expect("there");
        assert_eq!(
            (read.words.as_str(), read.since, read.needs_you, read.synced),
            ("no answer", None, true, None)
        );
    }

    #[test]
    fn that_it_is_over_is_told_once() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert!(take_mended(dir.path()).is_none());
        write(dir.path(), Some(&failed("no answer"))).expect("written");
        write(dir.path(), None).expect("mended");
        assert!(read(dir.path()).is_none());
        let told = take_mended(dir.path()).expect("told");
        assert_eq!(
            (told.words, told.since, told.synced),
            ("no answer".to_owned(), failed("").since, failed("").synced)
        );
        assert!(take_mended(dir.path()).is_none());
        let personal = Failed {
            is_personal: true,
            ..failed("no answer")
        };
        write(dir.path(), Some(&personal)).expect("written");
        write(dir.path(), None).expect("mended");
        assert!(take_mended(dir.path()).is_none());
    }
}

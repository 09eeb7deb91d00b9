//! Why the syncs of a mirror fail, in a file for the next daemon; and why they failed until lately, in a file for the next
//! fetch, which says that it is over.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::process::durable;

use common::text::unix_seconds;

/// The file in a mirror whose last sync failed: a line with the message, and a line with marks and the time, in seconds
/// since 1970, when the first sync failed.
const FAILING: &str = "failing";

/// The same file of a mirror whose syncs failed until lately, as long as no fetch has said that this is over.
const MENDED: &str = "mended";

/// The mark of a failure that lasts until somebody does something.
const NEEDS_YOU: &str = "needs-you";

/// The mark of an upstream that looks wiped.
const WIPED: &str = "wiped";

/// The prefix of the time, in seconds since 1970, when the mirror was last in step.
const SYNCED: &str = "synced=";

/// The mark of a refusal of one user's login.
const PERSONAL: &str = "personal";

/// How the last sync failed.
pub(crate) struct Failed {
    /// The failure's message.
    pub message: String,
    /// When the first of the syncs failed that have failed in a row.
    pub since: Option<SystemTime>,
    /// Whether somebody has to do something.
    pub needs_you: bool,
    /// Whether upstream refused one user's login.
    pub is_personal: bool,
    /// Whether upstream looks wiped. Every fetch has said so, and what to do.
    pub is_wiped: bool,
    /// When the mirror was last in step before.
    pub synced: Option<SystemTime>,
}

/// Whether both are the same in a file, where times are whole seconds.
pub(super) fn is_same(one: Option<&Failed>, other: Option<&Failed>) -> bool {
    let fields = |failed: &Failed| {
        let since = failed.since.map(unix_seconds);
        let synced = failed.synced.map(unix_seconds);
        let marks = (failed.needs_you, failed.is_personal, failed.is_wiped);
        (failed.message.clone(), since, marks, synced)
    };
    one.map(fields) == other.map(fields)
}

/// Reads why the last sync failed.
pub(super) fn read(git_dir: &Path) -> Option<Failed> {
    parse(&fs::read_to_string(git_dir.join(FAILING)).ok()?)
}

fn parse(text: &str) -> Option<Failed> {
    let (message, marks) = text.split_once('\n').unwrap_or((text, ""));
    let mut marks = marks.split_whitespace();
    let has = |mark| marks.clone().any(|other| other == mark);
    let (needs_you, is_personal, is_wiped) = (has(NEEDS_YOU), has(PERSONAL), has(WIPED));
    let since = marks.clone().find_map(|mark| mark.parse().ok());
    let synced = marks.find_map(|mark| mark.strip_prefix(SYNCED)?.parse().ok());
    let time = |since| UNIX_EPOCH.checked_add(Duration::from_secs(since));
    Some(Failed {
        message: message.trim().to_owned(),
        since: since.and_then(time),
        needs_you,
        is_personal,
        is_wiped,
        synced: synced.and_then(time),
    })
}

/// Writes why the last sync failed, or that it did not: then the next fetch says what was.
pub(super) fn write(git_dir: &Path, failed: Option<&Failed>) -> io::Result<()> {
    let path = git_dir.join(FAILING);
    let Some(failed) = failed else {
        // One user's login is nobody else's business, and an upstream that no longer looks wiped needs no message.
        return match read(git_dir) {
            Some(before) if !before.is_personal && !before.is_wiped => {
                fs::rename(&path, git_dir.join(MENDED))
            }
            _ => durable::remove(&path),
        };
    };
    // There may be no mirror yet.
    if !git_dir.exists() {
        return Ok(());
    }
    let marks = [
        (failed.needs_you, NEEDS_YOU),
        (failed.is_personal, PERSONAL),
        (failed.is_wiped, WIPED),
    ];
    let marks = marks.iter().filter(|(is_set, _)| *is_set);
    let since = failed.since.map(|since| unix_seconds(since).to_string());
    let synced = failed
        .synced
        .map(|synced| format!("{SYNCED}{}", unix_seconds(synced)));
    let line: Vec<_> = since
        .into_iter()
        .chain(synced)
        .chain(marks.map(|(_, mark)| (*mark).to_owned()))
        .collect();
    let text = format!("{}\n{}\n", failed.message, line.join(" "));
    durable::replace(&path, text.as_bytes())
}

/// Takes the failure that is over, which the caller reports.
pub(crate) fn take_mended(git_dir: &Path) -> Option<Failed> {
    let path = git_dir.join(MENDED);
    let text = fs::read_to_string(&path).ok()?;
    // Two fetches at once may both report it, which is better than neither.
    durable::remove(&path).ok()?;
    parse(&text)
}

/// Removes both files.
pub(super) fn forget(git_dir: &Path) -> io::Result<()> {
    durable::remove(&git_dir.join(FAILING))?;
    durable::remove(&git_dir.join(MENDED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(message: &str) -> Failed {
        Failed {
            message: message.to_owned(),
            since: Some(UNIX_EPOCH + Duration::from_secs(1_795_514_403)),
            needs_you: true,
            is_personal: false,
            is_wiped: false,
            synced: Some(UNIX_EPOCH + Duration::from_secs(1_795_510_000)),
        }
    }

    #[test]
    fn the_next_daemon_reads_why_the_last_sync_failed() {
        let dir = tempfile::tempdir().expect("temp dir");
        write(dir.path(), Some(&failed("no answer"))).expect("written");
        let read = read(dir.path());
        assert!(is_same(read.as_ref(), Some(&failed("no answer"))));
        assert!(!is_same(read.as_ref(), Some(&failed("another"))));
        assert!(!is_same(read.as_ref(), None));
    }

    #[test]
    fn the_file_of_an_older_version_is_understood() {
        let dir = tempfile::tempdir().expect("temp dir");
        fs::write(dir.path().join(FAILING), "no answer\nneeds-you\n").expect("written");
        let read = read(dir.path()).expect("there");
        assert_eq!(
            (
                read.message.as_str(),
                read.since,
                read.needs_you,
                read.synced
            ),
            ("no answer", None, true, None)
        );
    }

    #[test]
    fn a_failure_that_is_over_is_reported_once() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert!(take_mended(dir.path()).is_none());
        write(dir.path(), Some(&failed("no answer"))).expect("written");
        write(dir.path(), None).expect("mended");
        assert!(read(dir.path()).is_none());
        let mended = take_mended(dir.path()).expect("there");
        assert_eq!(
            (mended.message, mended.since, mended.synced),
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

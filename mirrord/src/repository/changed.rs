//! The files of a mirror's packs that somebody else has changed: a list in the mirror, for `mirrord status` and for the next
//! fetch. [`verified`](super::verified) finds them.

use std::{
    fs, io,
    path::Path,
    time::{Duration, SystemTime},
};

use common::{protocol::ChangedFile, text::unix_seconds};

use crate::process::{durable, local_time};

/// The file in a mirror.
const FILE: &str = "changed";

/// The first word of a line: whether a fetch has reported the file.
const TOLD: &str = "told";
const UNTOLD: &str = "untold";

/// How long `mirrord status` shows a changed file.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The longest list; the oldest lines go first.
const MAX_FILES: usize = 20;

/// A line of the file.
struct Line {
    is_reported: bool,
    /// When the change was found, in seconds since 1970.
    found: u64,
    file: ChangedFile,
}

/// Adds files to the list.
pub(crate) fn record(git_dir: &Path, files: &[ChangedFile], now: SystemTime) -> io::Result<()> {
    let mut lines = read(git_dir)?;
    lines.extend(files.iter().map(|file| Line {
        is_reported: false,
        found: unix_seconds(now),
        file: file.clone(),
    }));
    lines.drain(..lines.len().saturating_sub(MAX_FILES));
    write(git_dir, &lines)
}

/// The files whose change was found in the last week.
pub(crate) fn recent(git_dir: &Path, now: SystemTime) -> Vec<ChangedFile> {
    let lines = read(git_dir).unwrap_or_default().into_iter();
    let is_recent = |line: &Line| unix_seconds(now).saturating_sub(line.found) < MAX_AGE.as_secs();
    lines.filter(is_recent).map(|line| line.file).collect()
}

/// The lines that the next fetch prints. Each file is reported once.
pub(crate) fn take_unreported(git_dir: &Path) -> io::Result<Vec<String>> {
    let mut lines = read(git_dir)?;
    if lines.iter().all(|line| line.is_reported) {
        return Ok(Vec::new());
    }
    let mut messages = Vec::new();
    for line in lines.iter_mut().filter(|line| !line.is_reported) {
        line.is_reported = true;
        messages.push(format!(
            "{}; it was laid aside and fetched again",
            describe(&line.file)
        ));
    }
    write(git_dir, &lines)?;
    Ok(messages)
}

/// Names the file, and when it was changed.
pub(crate) fn describe(file: &ChangedFile) -> String {
    let at = local_time::time(file.at);
    format!(
        "'{}' of this mirror was changed at {at} by somebody else",
        file.name
    )
}

fn read(git_dir: &Path) -> io::Result<Vec<Line>> {
    let text = match fs::read_to_string(git_dir.join(FILE)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let parse = |line: &str| {
        let mut fields = line.splitn(4, ' ');
        Some(Line {
            is_reported: fields.next()? == TOLD,
            found: fields.next()?.parse().ok()?,
            file: ChangedFile {
                at: fields.next()?.parse().ok()?,
                name: fields.next()?.to_owned(),
            },
        })
    };
    Ok(text.lines().filter_map(parse).collect())
}

fn write(git_dir: &Path, lines: &[Line]) -> io::Result<()> {
    let line = |line: &Line| {
        let reported = if line.is_reported { TOLD } else { UNTOLD };
        let ChangedFile { name, at } = &line.file;
        format!("{reported} {} {at} {name}\n", line.found)
    };
    let text: String = lines.iter().map(line).collect();
    durable::replace(&git_dir.join(FILE), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_reported_once_and_shown_for_a_week() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (dir, now) = (dir.path(), SystemTime::now());
        let take = || take_unreported(dir).expect("readable");
        assert!(take().is_empty());
        let file = ChangedFile {
            name: "pack-1.pack".into(),
            at: 1_795_514_403,
        };
        record(dir, std::slice::from_ref(&file), now).expect("written");
        let lines = take();
        assert!(lines[0].starts_with("'pack-1.pack' of this mirror was changed at 20"));
        assert!(take().is_empty());
        assert_eq!(recent(dir, now), [file]);
        assert!(recent(dir, now + MAX_AGE).is_empty());
    }
}

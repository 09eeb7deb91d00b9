//! Runs a server program of git's (`git upload-pack`, `git receive-pack`) with the helper's own stdin and stdout, so that
//! the git that runs the helper talks to it.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, ExitStatus, Stdio},
};

use common::{
    git::child_log::ChildLog,
    progress::tell,
    protocol::{Failure, OrFailure},
    text::masked,
};

use crate::git_line::answer;

/// Answers git's `connect`, and runs the server program until it ends. `on_line` gets each line of its stderr.
///
/// # Errors
/// Fails when git cannot be answered or the program cannot be run.
pub(crate) fn serve(
    mut program: Command,
    service: &str,
    on_line: impl FnMut(&[u8]),
) -> Result<ExitStatus, Failure> {
    program
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped());
    answer("\n")?;
    let log = ChildLog::begin(&program);
    let mut child = program
        .spawn()
        .or_failure(format_args!("cannot run {service}"))?;
    if let Some(stderr) = child.stderr.take() {
        for_each_line(stderr, on_line);
    }
    let status = child
        .wait()
        .or_failure(format_args!("cannot run {service}"))?;
    log.ended(status);
    Ok(status)
}

/// Reads a child's stderr to its end, line by line.
pub(crate) fn for_each_line(stderr: impl Read, mut on_line: impl FnMut(&[u8])) {
    let lines = BufReader::new(stderr).split(b'\n');
    lines.map_while(Result::ok).for_each(|line| on_line(&line));
}

/// Shows a line of a server program's stderr. `url` is upstream's, for the hint about an object that the mirror does not
/// give.
pub(crate) fn show_line(line: &[u8], url: &str) {
    let has = |text: &[u8]| line.windows(text.len()).any(|part| part == text);
    // The git at the other end prints this error as a 'remote error' of its own.
    if has(b"not our ref") && !has(b"remote error") {
        tell(&format!(
            "hint: the mirror of '{url}' does not have this object, and could not fetch it"
        ));
    } else {
        tell(&masked(line));
    }
}

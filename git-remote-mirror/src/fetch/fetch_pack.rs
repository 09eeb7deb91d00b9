//! `git fetch-pack` in the client's repository, with `git upload-pack` on the mirror at its other end. What cannot be
//! linked comes this way.

use std::{
    io::{self, Read, Write},
    process::Stdio,
};

use common::{
    git::{self, child_log::ChildLog, complaint, shell},
    protocol::{Failure, OrFailure},
};

use crate::{
    fetch::leased_mirror::LeasedMirror,
    options::Options,
    server_program::{for_each_line, show_line},
    wants::{self, Wants},
};

/// Where the wanted objects are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Refs of the mirror name them: without them the mirror is damaged.
    Refs,
    /// Nobody knows; `upload-pack` decides whether it gives them.
    Unknown,
}

/// Fetches the wanted objects from a mirror into the client's repository.
///
/// # Errors
/// Fails when git does; git has then said why on stderr.
pub(crate) fn run(
    mirror: &LeasedMirror,
    wants: &Wants,
    reach: Reach,
    options: &Options,
) -> Result<(), Failure> {
    let context = "cannot run git fetch-pack";
    let progress = options.progress && reach == Reach::Refs;
    let filter = options.filter.as_ref();
    let mut upload_pack = git::fenced();
    upload_pack
        .arg("upload-pack")
        .env("GIT_PROTOCOL", "version=2");
    let mut option = std::ffi::OsString::from("--upload-pack=");
    option.push(shell::command_line(&upload_pack));
    let mut git = git::of_user();
    git.args(["fetch-pack", "--stdin"])
        .args(options.depth.map(|depth| format!("--depth={depth}")))
        .args(filter.map(|filter| format!("--filter={filter}")))
        .args(options.from_promisor.then_some("--from-promisor"))
        .args(options.follow_tags.then_some("--include-tag"))
        .args((!progress).then_some("--no-progress"))
        .arg(option)
        .arg(&mirror.ready.git_dir)
        .env("GIT_ALLOW_PROTOCOL", "file")
        .stdin(Stdio::piped())
        // The helper's own stdout is for git's commands.
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let log = ChildLog::begin(&git);
    let mut child = git.spawn().or_failure(context)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A git that did not read all of it ends with a failure.
        let _ = stdin.write_all(&wants::lines(wants));
    }
    let mut has_complained = false;
    if let Some(stderr) = child.stderr.take() {
        match reach {
            Reach::Refs => has_complained = show_all(stderr).or_failure(context)?,
            Reach::Unknown => for_each_line(stderr, |line| show_line(line, &mirror.ready.url)),
        }
    }
    let status = child.wait().or_failure(context)?;
    log.ended(status);
    let has_failed = status.code().is_some_and(|code| code != 0);
    if has_complained || reach == Reach::Refs && has_failed {
        mirror.report_damage();
    }
    match status.success() {
        true => Ok(()),
        false => Err(Failure::here("git fetch-pack failed")),
    }
}

/// Shows a child's stderr as it comes, progress in the middle of a line as well. Returns whether the child complains of
/// objects.
fn show_all(mut stderr: impl Read) -> io::Result<bool> {
    let (mut buffer, mut line, mut has_complained) = ([0; 4096], Vec::new(), false);
    loop {
        let length = match stderr.read(&mut buffer) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            length => length?,
        };
        if length == 0 {
            return Ok(has_complained | complaint::is_about_objects(&line));
        }
        // A stderr that is gone is no reason to fail.
        let _ = io::stderr().write_all(&buffer[..length]);
        line.extend_from_slice(&buffer[..length]);
        while let Some(end) = line.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            has_complained |= complaint::is_about_objects(&line[..end]);
            line.drain(..=end);
        }
    }
}

//! `git fetch-pack` in the client's repository, with `git upload-pack` on the mirror at its other end. What cannot be
//! linked comes this way.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
    process::Stdio,
    thread,
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

/// Fetches the wanted objects from a mirror into the client's repository. Returns the lines by which git is told of the
/// pack that it is to unlock, and that nothing is missing; none where the objects were unpacked.
///
/// # Errors
/// Fails when git does; git has then said why on stderr.
pub(crate) fn run(
    mirror: &LeasedMirror,
    wants: &Wants,
    reach: Reach,
    options: &Options,
    keeps_packs: bool,
) -> Result<Vec<u8>, Failure> {
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
        // Before `--lock-pack`, which it would take back.
        .args(keeps_packs.then_some("--keep"))
        .arg("--lock-pack")
        .args(
            options
                .check_connectivity
                .then_some("--check-self-contained-and-connected"),
        )
        .arg(option)
        .arg(&mirror.ready.git_dir)
        .env("GIT_ALLOW_PROTOCOL", "file")
        .stdin(Stdio::piped())
        // The helper's own stdout is for git's commands.
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let log = ChildLog::begin(&git);
    let mut child = git.spawn().or_failure(context)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A git that did not read all of it ends with a failure.
        let _ = stdin.write_all(&wants::lines(wants));
    }
    // Read beside stderr: git waits for whoever does not read a long one.
    let mut stdout = child.stdout.take();
    let answer = thread::spawn(move || {
        let mut answer = Vec::new();
        match &mut stdout {
            Some(stdout) => stdout.read_to_end(&mut answer).map(|_| answer),
            None => Ok(answer),
        }
    });
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
    let answer = answer.join().map_err(|_| io::ErrorKind::Other.into());
    let answer = answer.flatten().or_failure(context)?;
    match status.success() {
        true => Ok(lines_for_git(&answer)),
        false => Err(Failure::here("git fetch-pack failed")),
    }
}

/// The lines that are meant for the git which runs the helper: `lock` and `connectivity-ok`. A line for each wanted object
/// follows them. The path of a lock has no end that git would find where a newline is in it, so that lock is removed here.
fn lines_for_git(answer: &[u8]) -> Vec<u8> {
    const END: &[u8] = b".keep\n";
    const CONNECTED: &[u8] = b"connectivity-ok\n";
    let (mut lines, mut rest) = (Vec::new(), answer);
    if let Some(path) = answer.strip_prefix(b"lock ")
        && let Some(at) = path.windows(END.len()).position(|end| end == END)
    {
        let (path, after) = path.split_at(at + END.len());
        rest = after;
        let lock = Path::new(OsStr::from_bytes(&path[..path.len() - 1]));
        match lock.as_os_str().as_bytes().contains(&b'\n') {
            true => drop(fs::remove_file(lock)),
            false => lines.extend([b"lock ", path].concat()),
        }
    }
    // git takes that word only with a pack that it is to unlock.
    if !lines.is_empty() && rest.starts_with(CONNECTED) {
        lines.extend_from_slice(CONNECTED);
    }
    lines
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

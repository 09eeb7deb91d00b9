//! A fetch through git's own server programs: `git upload-pack` (or `upload-archive`) on the mirror, its ends given to
//! the git that runs us.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Command, ExitStatus, Stdio},
};

use common::{
    git::{self, child_log::ChildLog, complaint},
    progress::tell,
    protocol::{Failure, OrFailure},
    text::masked,
};
use tokio::runtime::Runtime;

use crate::{fetch::serving::Serving, helper::answer, options::Options};

/// The server program beside a `git fetch-pack`, in the words of the shell: as fenced as one of our own.
const SERVER: &str =
    "GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_NO_REPLACE_OBJECTS=1 git upload-pack";

/// Serves from a mirror that is in step until git is done.
pub(crate) fn run(serving: &Serving, service: &str) -> Result<(), Failure> {
    let ready = &serving.ready;
    let mut server = git::fenced();
    server
        .arg(service.trim_start_matches("git-"))
        .arg(&ready.git_dir)
        // git does not tell a helper which protocol it speaks; every git of the last years speaks this one.
        .env("GIT_PROTOCOL", "version=2");
    let mut complains = false;
    serve(server, service, |line| {
        complains |= complaint::is_about_objects(line);
        relay(line, &ready.url);
    })?;
    if complains {
        serving.report_damage();
    }
    Ok(())
}

/// Fetches from a mirror that is in step into the repository in which git runs us, by git's own programs. What no ref of
/// the mirror names is no `known` want, and may be refused.
pub(crate) fn fetch_pack(
    serving: &Serving,
    wants: &BTreeSet<Vec<u8>>,
    known: bool,
    options: &Options,
) -> Result<(), Failure> {
    let context = "cannot run git fetch-pack";
    let progress = options.progress && known;
    let mut git = git::of_user();
    git.args(["fetch-pack", "--stdin"])
        .args(options.depth.map(|depth| format!("--depth={depth}")))
        .args(
            options
                .filter
                .as_ref()
                .map(|filter| format!("--filter={filter}")),
        )
        .args(options.from_promisor.then_some("--from-promisor"))
        .args(options.follow_tags.then_some("--include-tag"))
        .args((!progress).then_some("--no-progress"))
        .arg(format!("--upload-pack={SERVER}"))
        .arg(&serving.ready.git_dir)
        .env("GIT_ALLOW_PROTOCOL", "file")
        .stdin(Stdio::piped())
        // stdout is git's.
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let log = ChildLog::begin(&git);
    let mut child = git.spawn().or_failure(context)?;
    let lines: Vec<&[u8]> = wants.iter().flat_map(|want| [&**want, b"\n"]).collect();
    if let Some(mut stdin) = child.stdin.take() {
        // Whether it has heard all of it, its end tells.
        let _ = stdin.write_all(&lines.concat());
    }
    let mut complains = false;
    if let Some(stderr) = child.stderr.take() {
        match known {
            true => complains = pass_on(stderr).or_failure(context)?,
            false => each_line(stderr, |line| relay(line, &serving.ready.url)),
        }
    }
    let ended = child.wait().or_failure(context)?;
    log.ended(ended);
    // What the mirror's refs name is there, or the mirror is damaged.
    if complains || known && ended.code().is_some_and(|code| code != 0) {
        serving.report_damage();
    }
    if ended.success() {
        return Ok(());
    }
    Err(Failure::here("git fetch-pack failed"))
}

/// What talks to the daemon.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().or_failure("cannot start")
}

/// Gives our line to a server program of git's, until it ends.
pub(crate) fn serve(
    mut server: Command,
    service: &str,
    line: impl FnMut(&[u8]),
) -> Result<ExitStatus, Failure> {
    server
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped());
    answer("\n")?;
    let log = ChildLog::begin(&server);
    let mut server = server
        .spawn()
        .or_failure(format_args!("cannot run {service}"))?;
    if let Some(stderr) = server.stderr.take() {
        each_line(stderr, line);
    }
    let ended = server
        .wait()
        .or_failure(format_args!("cannot run {service}"))?;
    log.ended(ended);
    Ok(ended)
}

/// Reads what a program says, line by line.
fn each_line(stderr: impl Read, mut line: impl FnMut(&[u8])) {
    let all = BufReader::new(stderr).split(b'\n');
    all.map_while(Result::ok).for_each(|each| line(&each));
}

/// Passes on what a program says as it comes, progress in the middle of a line as well. Says whether it complains of
/// the mirror's own objects.
fn pass_on(mut stderr: impl Read) -> io::Result<bool> {
    let (mut piece, mut rest, mut complains) = ([0; 4096], Vec::new(), false);
    loop {
        let read = match stderr.read(&mut piece) {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(complains | complaint::is_about_objects(&rest));
        }
        // Whether anybody reads it makes no difference.
        let _ = io::stderr().write_all(&piece[..read]);
        rest.extend_from_slice(&piece[..read]);
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            complains |= complaint::is_about_objects(&rest[..end]);
            rest.drain(..=end);
        }
    }
}

/// Repeats what the server says, which over a network nobody would hear, and explains what git cannot.
pub(crate) fn relay(line: &[u8], url: &str) {
    let says = |words: &[u8]| line.windows(words.len()).any(|part| part == words);
    // The other end reports this one in its own words.
    if says(b"not our ref") && !says(b"remote error") {
        tell(&format!(
            "hint: the mirror of '{url}' has what its branches and tags reach, and not this object"
        ));
    } else {
        tell(&masked(line));
    }
}

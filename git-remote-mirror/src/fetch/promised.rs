//! What a partial clone has left out, and needs now.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    path::Path,
    process::Stdio,
    thread,
};

use common::{
    git::{self, child_log::ChildLog},
    protocol::{Failure, OrFailure},
};

use crate::options::Options;

/// How upstream is called for as long as it is asked, and a URL that no rule of the user's rewrites.
const UPSTREAM: &str = "mirror-upstream";
const ALIAS: &str = "mirror-upstream://";
/// The variable by which git is told that URL.
const ALIAS_VARIABLE: &str = "MIRROR_ALIAS";

/// Brings these from upstream itself, as git would without a mirror. There, what no branch leads to any more may still be.
pub(crate) fn fetch_from(
    upstream: &str,
    wants: &BTreeSet<Vec<u8>>,
    options: &Options,
) -> Result<(), Failure> {
    let filter = options.filter.as_deref().unwrap_or("blob:none");
    let mut git = git::of_user();
    // What is told it so is not written down.
    for (key, value) in [
        ("url", ALIAS),
        ("promisor", "true"),
        ("partialclonefilter", filter),
    ] {
        git.args(["-c", &format!("remote.{UPSTREAM}.{key}={value}")]);
    }
    // Of `-c`, git takes what follows the first '=' for the value, and a URL may have one.
    git.arg(format!(
        "--config-env=url.{upstream}.insteadOf={ALIAS_VARIABLE}"
    ))
    .env(ALIAS_VARIABLE, ALIAS);
    // A redirect would take the login along.
    git.args(["-c", "http.followRedirects=false", "fetch", "--stdin"])
        .args([
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
        ])
        .args(["--recurse-submodules=no", UPSTREAM])
        .args((!options.progress).then_some("--quiet"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let log = ChildLog::begin(&git);
    let mut child = git.spawn().or_failure("cannot run git fetch")?;
    let lines: Vec<&[u8]> = wants.iter().flat_map(|want| [&**want, b"\n"]).collect();
    if let Some(mut stdin) = child.stdin.take() {
        // Whether it has heard all of it, its end tells.
        let _ = stdin.write_all(&lines.concat());
    }
    let status = child.wait().or_failure("cannot run git fetch")?;
    log.ended(status);
    match status.success() {
        true => Ok(()),
        false => Err(Failure::here(format!(
            "neither the mirror nor '{upstream}' has all that is missing here"
        ))),
    }
}

/// Whether a mirror has all of these, whatever leads to them.
pub(crate) fn has_all(mirror: &Path, wants: &BTreeSet<Vec<u8>>) -> io::Result<bool> {
    let mut git = git::at(mirror);
    git.args(["cat-file", "--batch-check=%(objecttype)", "--buffer"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let log = ChildLog::begin(&git);
    let mut child = git.spawn()?;
    let lines: Vec<&[u8]> = wants.iter().flat_map(|want| [&**want, b"\n"]).collect();
    let lines = lines.concat();
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let answer = thread::scope(|scope| {
        // It answers while it is still asked, and neither waits for the other.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(&lines)));
        let mut answer = Vec::new();
        let heard = stdout.map(|mut stdout| stdout.read_to_end(&mut answer));
        heard.transpose().map(|_| answer)
    })?;
    let status = child.wait()?;
    log.ended(status);
    if !status.success() {
        return Err(io::Error::other("git cannot tell"));
    }
    let mut lines = answer.split(|byte| *byte == b'\n');
    Ok(!lines.any(|line| line.ends_with(b" missing")))
}

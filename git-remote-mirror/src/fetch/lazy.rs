//! Lazy fetches: objects that a partial clone lacks and git needs now. git calls them promised objects.

use std::{
    io::{self, Read, Write},
    path::Path,
    process::Stdio,
    thread,
};

use common::{
    address::{upstream_url::Address, url_config},
    git::{self, child_log::ChildLog, client_context::UserConfig},
    protocol::{Failure, OrFailure},
};

use crate::{
    options::Options,
    wants::{self, Wants},
};

/// The name of the remote that git is told for one fetch from upstream, and its URL: no rule of the user's rewrites it.
const UPSTREAM: &str = "mirror-upstream";
const ALIAS: &str = "mirror-upstream://";
/// The variable with that URL, for git's `--config-env`.
const ALIAS_VARIABLE: &str = "MIRROR_ALIAS";

/// Fetches the objects from upstream itself, as git would without a mirror. Upstream may still have what no ref reaches.
///
/// # Errors
/// Fails when git does; git has then said why on stderr.
pub(crate) fn fetch_from_upstream(
    upstream: &str,
    config: &UserConfig,
    wants: &Wants,
    options: &Options,
) -> Result<(), Failure> {
    let filter = options.filter.as_deref().unwrap_or("blob:none");
    let mut git = git::of_user();
    // Settings on the command line are not written into the repository's configuration.
    for (key, value) in [
        ("url", ALIAS),
        ("promisor", "true"),
        ("partialclonefilter", filter),
    ] {
        git.args(["-c", &format!("remote.{UPSTREAM}.{key}={value}")]);
    }
    // `-c` takes what follows the first '=' for the value, and a URL may have one.
    git.arg(format!(
        "--config-env=url.{upstream}.insteadOf={ALIAS_VARIABLE}"
    ))
    .env(ALIAS_VARIABLE, ALIAS);
    let may_be_redirected = matches!(
        Address::parse(upstream),
        Ok(Address::Url(url, _)) if url_config::may_be_redirected(config.entries(), &url)
    );
    if !may_be_redirected {
        git.args(["-c", "http.followRedirects=false"]);
    }
    git.args(["fetch", "--stdin"])
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
    if let Some(mut stdin) = child.stdin.take() {
        // A git that did not read all of it ends with a failure.
        let _ = stdin.write_all(&wants::lines(wants));
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

/// Whether a mirror has all of these objects, reached by a ref or not.
///
/// # Errors
/// Fails when git cannot tell.
pub(crate) fn has_all(mirror: &Path, wants: &Wants) -> io::Result<bool> {
    let mut git = git::at(mirror);
    git.args(["cat-file", "--batch-check=%(objecttype)", "--buffer"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let log = ChildLog::begin(&git);
    let mut child = git.spawn()?;
    let names = wants::lines(wants);
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let output = thread::scope(|scope| {
        // git prints while it reads: were one thread to do both, each side could wait for the other's full pipe.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(&names)));
        let mut output = Vec::new();
        let length = stdout.map(|mut stdout| stdout.read_to_end(&mut output));
        length.transpose().map(|_| output)
    })?;
    let status = child.wait()?;
    log.ended(status);
    if !status.success() {
        return Err(io::Error::other("git cannot tell"));
    }
    let mut lines = output.split(|byte| *byte == b'\n');
    Ok(!lines.any(|line| line.ends_with(b" missing")))
}

//! A fetch through git's own server programs: `git upload-pack` (or `upload-archive`) on the mirror, its ends given to
//! the git that runs us.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use common::{
    git,
    progress::{masked, tell},
    protocol::Failure,
};
use tokio::runtime::Runtime;

use crate::{
    fetch,
    helper::{Errand, answer},
    new_remote,
};

/// Brings the mirror in step and serves from it until git is done.
///
/// # Errors
/// Fails when there is nothing to serve.
pub(crate) fn run(errand: &Errand, service: &str) -> Result<(), Failure> {
    let runtime = runtime()?;
    let (_client, ready) = runtime.block_on(fetch::fetch(errand))?;
    let _lease = lease(&ready.git_dir)?;
    new_remote::set_up(errand, &ready);
    let mut server = git::fenced();
    server
        .arg(service.trim_start_matches("git-"))
        .arg(&ready.git_dir)
        // git does not tell a helper which protocol it speaks; every git of the last years speaks this one.
        .env("GIT_PROTOCOL", "version=2");
    serve(server, service, &ready.url).map(drop)
}

/// What talks to the daemon.
///
/// # Errors
/// Fails when the system refuses.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    runtime.map_err(|err| Failure::io("cannot start", &err))
}

/// Gives our line to a server program of git's, until it ends.
///
/// # Errors
/// Fails when it cannot be run. How it went, git has heard from the server itself.
pub(crate) fn serve(mut server: Command, service: &str, url: &str) -> Result<ExitStatus, Failure> {
    let cannot = |err: io::Error| Failure::io(&format!("cannot run {service}"), &err);
    server
        .stdin(Stdio::inherit())
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped());
    answer("\n")?;
    let mut server = server.spawn().map_err(cannot)?;
    if let Some(stderr) = server.stderr.take() {
        relay(BufReader::new(stderr), url);
    }
    server.wait().map_err(cannot)
}

/// Keeps everything in the mirror that somebody reads: held until this process ends, however it ends.
///
/// # Errors
/// Fails when the lock's file cannot be used.
pub(crate) fn lease(git_dir: &Path) -> Result<File, Failure> {
    let path = git_dir.join("lease");
    let cannot = |err: io::Error| Failure::io(&format!("cannot hold '{}'", path.display()), &err);
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(cannot)?;
    file.lock_shared().map_err(cannot)?;
    Ok(file)
}

/// Repeats what the server says, which over a network nobody would hear, and explains what git cannot.
fn relay(stderr: impl BufRead, url: &str) {
    for line in stderr.split(b'\n').map_while(Result::ok) {
        // git reports this one in its own words.
        if line.windows(11).any(|words| words == b"not our ref") {
            tell(&format!(
                "hint: the mirror of '{url}' has what its branches and tags reach, and not this object"
            ));
        } else {
            tell(&masked(&line));
        }
    }
}

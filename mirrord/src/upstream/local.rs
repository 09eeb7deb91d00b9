//! Upstreams on this machine: a `git upload-pack` of our own, fenced like every child.

use std::{path::Path, process::Command};

use common::{
    address::upstream_url::UpstreamUrl,
    git,
    protocol::{Failure, FailureKind},
    text::masked,
};

use super::{Access, Trouble};

/// Returns the command that serves a fetch from `url`, which is a path.
pub(super) fn command(url: &UpstreamUrl, access: &Access) -> Command {
    server_command("upload-pack", url, access)
}

/// Returns the command that would take a push to `url`.
pub(super) fn receive_pack(url: &UpstreamUrl, access: &Access) -> Command {
    server_command("receive-pack", url, access)
}

fn server_command(program: &str, url: &UpstreamUrl, access: &Access) -> Command {
    let path = url.file_path().unwrap_or(Path::new("/"));
    let mut command = git::fenced();
    for directory in &access.safe_directories {
        command.args(["-c", &format!("safe.directory={directory}")]);
    }
    command.arg(program).arg(path);
    command.env("GIT_PROTOCOL", "version=2");
    command
}

/// Returns what git's stderr means.
pub(super) fn explain(url: &UpstreamUrl, stderr: &str, _status: Option<i32>) -> Option<Trouble> {
    let fatal = stderr
        .lines()
        .find_map(|line| line.strip_prefix("fatal: "))?;
    let failure = Failure::new(
        FailureKind::Refused,
        format!("cannot read '{url}': {}", masked(fatal.as_bytes())),
    );
    Some(
        match stderr.lines().find(|line| line.contains("safe.directory")) {
            Some(line) => failure.hinted(masked(line.trim().as_bytes())).into(),
            None => failure.into(),
        },
    )
}

//! `git pack-objects` on a mirror, with its temporary files in the object directory that gets the pack.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Stdio,
};

use common::{
    git::{self, child_log::ChildLog},
    packs::verified,
};

/// Writes a pack into an object directory, of what `lines` name on the stdin of `pack-objects`. `store` is that directory:
/// git reads its objects and the mirror's. Returns the pack's name, without an ending; None when the pack would be empty.
///
/// # Errors
/// Fails when git does, and when the mirror's packs are not verified, before or after.
pub(crate) fn run(
    mirror: &Path,
    store: &Path,
    args: &[&str],
    lines: &[u8],
    progress: bool,
) -> io::Result<Option<String>> {
    verified::require(mirror)?;
    let mut git = git::at(mirror);
    git.args(args)
        .args([
            "--delta-base-offset",
            if progress { "--progress" } else { "-q" },
        ])
        .arg(store.join("pack/pack"))
        .env("GIT_OBJECT_DIRECTORY", store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(if progress {
            Stdio::inherit()
        } else {
            Stdio::null()
        });
    git::add_alternate(&mut git, &mirror.join("objects"));
    let log = ChildLog::begin(&git);
    let mut child = git.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A git that did not read all of it ends with a failure.
        let _ = stdin.write_all(lines);
    }
    let output = child.wait_with_output()?;
    log.ended(output.status);
    if !output.status.success() {
        return Err(io::Error::other("git cannot put the pack together"));
    }
    let hash = String::from_utf8_lossy(&output.stdout);
    if let Err(err) = verified::require(mirror) {
        for hash in hash.lines() {
            // The index first: git ignores a pack without one.
            for ending in ["idx", "rev", "pack"] {
                let _ = fs::remove_file(store.join(format!("pack/pack-{hash}.{ending}")));
            }
        }
        return Err(err);
    }
    Ok(hash.lines().next().map(|hash| format!("pack-{hash}")))
}

//! `git pack-objects` on a mirror, at work beside where the pack is to be.

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

/// Puts a pack together of what these lines name, into the folder `pack` of an object directory. What that has, or
/// borrows, is seen as well as what the mirror has; and what is unfinished lies there, too. Returns the pack's name, without
/// an ending; None when nothing was to be put into one.
pub(crate) fn run(
    mirror: &Path,
    store: &Path,
    command: &[&str],
    lines: &[u8],
    progress: bool,
) -> io::Result<Option<String>> {
    verified::require(mirror)?;
    let mut git = git::at(mirror);
    git.args(command)
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
        // Whether it has heard all of it, its end tells.
        let _ = stdin.write_all(lines);
    }
    let ended = child.wait_with_output()?;
    log.ended(ended.status);
    if !ended.status.success() {
        return Err(io::Error::other("git cannot put the pack together"));
    }
    let hash = String::from_utf8_lossy(&ended.stdout);
    if let Err(err) = verified::require(mirror) {
        for hash in hash.lines() {
            // The index first: a pack without one, nobody looks into.
            for ending in ["idx", "rev", "pack"] {
                let _ = fs::remove_file(store.join(format!("pack/pack-{hash}.{ending}")));
            }
        }
        return Err(err);
    }
    Ok(hash.lines().next().map(|hash| format!("pack-{hash}")))
}

//! `git pack-objects` on a mirror, with its temporary files in the object directory that gets the pack.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Stdio,
};

use common::{
    git::{self, child_log::ChildLog},
    packs::verified::{self, ENDINGS},
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
    let hash = write(mirror, store, "pack/pack", args, lines, progress)?;
    Ok(hash.map(|hash| format!("pack-{hash}")))
}

/// Writes a pack as [`run`] does, to files in `store` that begin with `stem`. Returns git's hash of it: `-`, that and an
/// ending follow.
///
/// # Errors
/// Fails as [`run`] does.
pub(crate) fn write(
    mirror: &Path,
    store: &Path,
    stem: &str,
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
        .arg(store.join(stem))
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
            remove(&store.join(format!("{stem}-{hash}")));
        }
        return Err(err);
    }
    Ok(hash.lines().next().map(str::to_owned))
}

/// Removes the files of a pack, given without an ending. The index goes first: git ignores a pack without one.
pub(crate) fn remove(pack: &Path) {
    for ending in ENDINGS.iter().rev() {
        let _ = fs::remove_file(pack.with_extension(ending));
    }
}

/// Moves the files of a pack, both given without an ending, to where git finds them. The index goes last.
///
/// # Errors
/// Fails when a file cannot be moved.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    for ending in ENDINGS {
        match fs::rename(from.with_extension(ending), to.with_extension(ending)) {
            // git writes a `.rev` file or not, as it is set.
            Err(err) if err.kind() != io::ErrorKind::NotFound || ending != "rev" => {
                return Err(err);
            }
            _ => {}
        }
    }
    Ok(())
}

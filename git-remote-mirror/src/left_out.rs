//! What a partial clone has left out, and needs now.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    path::Path,
    process::Stdio,
    thread,
};

use common::git;

/// Whether a mirror has all of these, whatever leads to them.
///
/// # Errors
/// Fails when git cannot be asked.
pub(crate) fn has_all(mirror: &Path, wants: &BTreeSet<Vec<u8>>) -> io::Result<bool> {
    let mut git = git::at(mirror);
    git.args(["cat-file", "--batch-check=%(objecttype)", "--buffer"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
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
    if !child.wait()?.success() {
        return Err(io::Error::other("git cannot tell"));
    }
    let mut lines = answer.split(|byte| *byte == b'\n');
    Ok(!lines.any(|line| line.ends_with(b" missing")))
}

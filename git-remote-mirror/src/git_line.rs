//! The line protocol with the git that runs this program, as gitremote-helpers(7) has it: commands come on stdin, and
//! answers go to stdout.

use std::io::{self, BufRead, Read, Write};

use common::{
    protocol::{Failure, OrFailure},
    text::masked,
};

/// The longest command that is read. None that git sends comes near it.
const MAX_COMMAND_BYTES: usize = 1 << 16;

/// Reads one command, without the line end, and not a byte more: what follows a `connect` belongs to the server program.
/// The end of the input reads as an empty command.
///
/// # Errors
/// Fails when stdin cannot be read, or the line has no end.
pub(crate) fn read_command_alone() -> Result<String, Failure> {
    read_bytes().or_failure("cannot hear git")
}

/// Reads one command as [`read_command_alone`] does, from what was read at once. Afterwards no server program may get what is
/// left of the input. A clone names each of its refs in a command of its own.
///
/// # Errors
/// Fails as [`read_command_alone`] does.
pub(crate) fn read_command() -> Result<String, Failure> {
    read_line().or_failure("cannot hear git")
}

fn read_bytes() -> io::Result<String> {
    let stdin = rustix::stdio::stdin();
    let mut line = Vec::new();
    let mut byte = [0];
    while rustix::io::retry_on_intr(|| rustix::io::read(stdin, &mut byte))? == 1 && byte != *b"\n" {
        if line.len() == MAX_COMMAND_BYTES {
            return Err(without_end());
        }
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn read_line() -> io::Result<String> {
    let mut line = Vec::new();
    let mut limited = io::stdin().lock().take(MAX_COMMAND_BYTES as u64 + 1);
    limited.read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > MAX_COMMAND_BYTES {
        return Err(without_end());
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn without_end() -> io::Error {
    io::Error::other("a line without end")
}

/// Writes an answer to stdout, where git reads it at once.
///
/// # Errors
/// Fails when stdout cannot be written.
pub(crate) fn answer(text: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = io::stdout();
    stdout
        .write_all(text.as_ref())
        .and_then(|()| stdout.flush())
        .or_failure("cannot answer git")
}

/// The failure for a command that this program does not know.
pub(crate) fn not_understood(command: &str) -> Failure {
    Failure::here(format!(
        "git sent '{}', which is not understood",
        masked(command.as_bytes())
    ))
}

//! Asks the person at the controlling terminal, as git's and ssh's own prompts do.
//!
//! stdin and stdout belong to git, so the terminal is opened by its name. While a secret is typed the keys are read one
//! by one: the terminal's own line editor would end the process at Ctrl-C and leave the terminal without echo.

use std::{
    fs::File,
    io::{self, Write},
};

use rustix::{
    io::{Errno, read},
    process::{Signal, getpgrp, kill_current_process_group},
    termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
    },
};

/// The terminal that this process was started from, whatever its stdin is.
const TERMINAL: &str = "/dev/tty";

/// An answer of more bytes is a mistake: something else was pasted.
const MAX_ANSWER_BYTES: usize = 4096;

const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

/// Whether there is a terminal to ask at: one whose keys are for us.
#[must_use]
pub fn is_there() -> bool {
    open().is_ok_and(|terminal| is_ours(&terminal))
}

/// Whether there is a terminal, and its keys are for others: this is a job in the background. Asking there would stop
/// it, and nobody would know why.
#[must_use]
pub fn is_for_others() -> bool {
    open().is_ok_and(|terminal| !is_ours(&terminal))
}

fn is_ours(terminal: &File) -> bool {
    tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp())
}

/// Asks a question and returns the line that is typed; without `echo` nobody sees it. What was typed before the
/// question was shown does not count as an answer to one without echo.
///
/// `None` when there is no terminal, or the person ends it with Ctrl-D. At Ctrl-C the terminal is as before, and
/// everybody in its foreground is interrupted, this process included.
///
/// # Errors
/// Fails when the terminal does, or when what is typed is no text or too long.
pub fn ask(prompt: &str, echo: bool) -> io::Result<Option<String>> {
    let Some(terminal) = open().ok().filter(is_ours) else {
        return Ok(None);
    };
    let keys = if echo {
        None
    } else {
        Some(Keys::take(&terminal)?)
    };
    (&terminal).write_all(prompt.as_bytes())?;
    let typed = match &keys {
        Some(keys) => keys.line()?,
        None => line(&terminal)?,
    };
    // Only what the person cannot see has not moved the cursor.
    if keys.is_some() || typed == Typed::End {
        (&terminal).write_all(b"\n")?;
    }
    drop(keys);
    match typed {
        Typed::Line(bytes) if bytes.len() > MAX_ANSWER_BYTES => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("more than {MAX_ANSWER_BYTES} bytes were typed"),
        )),
        // The message must not quote what was typed.
        Typed::Line(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what was typed is not text")),
        Typed::End => Ok(None),
        Typed::Stop(signal) => {
            kill_current_process_group(signal)?;
            // Only for a process that does not mind the signal.
            Err(io::ErrorKind::Interrupted.into())
        }
    }
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open(TERMINAL)
}

/// The result of a question.
#[derive(PartialEq, Eq)]
enum Typed {
    Line(Vec<u8>),
    End,
    Stop(Signal),
}

/// Reads a line from a terminal that edits and shows it itself.
fn line(terminal: &File) -> io::Result<Typed> {
    let mut typed = Vec::new();
    loop {
        match key(terminal)? {
            Some(b'\n') => return Ok(Typed::Line(typed)),
            Some(byte) => add(&mut typed, byte),
            None => return Ok(Typed::End),
        }
    }
}

/// Appends a byte; of what is too long anyway, no more than that is remembered.
fn add(typed: &mut Vec<u8>, byte: u8) {
    if typed.len() <= MAX_ANSWER_BYTES {
        typed.push(byte);
    }
}

/// Reads one byte; `None` at the end.
fn key(terminal: &File) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match read(terminal, &mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
    }
}

/// A terminal that shows nothing and gives us every key. Dropping it makes it what it was.
struct Keys<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Keys<'a> {
    fn take(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut during = before.clone();
        during.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        during.special_codes[SpecialCodeIndex::VMIN] = 1;
        during.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &during)?;
        Ok(Self { terminal, before })
    }

    /// Reads a line, with the keys that the person's terminal has for editing one.
    fn line(&self) -> io::Result<Typed> {
        use SpecialCodeIndex as Code;
        let is = |key: u8, code| key != 0 && self.before.special_codes[code] == key;
        let mut typed = Vec::new();
        loop {
            match key(self.terminal)? {
                None => return Ok(Typed::End),
                Some(b'\n' | b'\r') => return Ok(Typed::Line(typed)),
                Some(key) if is(key, Code::VINTR) => return Ok(Typed::Stop(Signal::INT)),
                Some(key) if is(key, Code::VQUIT) => return Ok(Typed::Stop(Signal::QUIT)),
                Some(key) if is(key, Code::VEOF) => {
                    if typed.is_empty() {
                        return Ok(Typed::End);
                    }
                }
                Some(key) if is(key, Code::VKILL) => typed.clear(),
                Some(key) if is(key, Code::VERASE) || key == DELETE || key == BACKSPACE => {
                    erase(&mut typed);
                }
                // Nobody who sees nothing wants to stop here.
                Some(key) if is(key, Code::VSUSP) => {}
                Some(key) => add(&mut typed, key),
            }
        }
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to restore.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Takes the last character away, all bytes of it.
fn erase(typed: &mut Vec<u8>) {
    while let Some(byte) = typed.pop() {
        if byte & 0xc0 != 0x80 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erasing_takes_whole_characters() {
        let mut typed = "aä€".as_bytes().to_vec();
        erase(&mut typed);
        assert_eq!(typed, "aä".as_bytes());
        erase(&mut typed);
        assert_eq!(typed, b"a");
        erase(&mut typed);
        erase(&mut typed);
        assert!(typed.is_empty());
    }

    #[test]
    fn what_is_too_long_is_not_gathered_for_ever() {
        let mut typed = Vec::new();
        for _ in 0..2 * MAX_ANSWER_BYTES {
            add(&mut typed, b'x');
        }
        assert_eq!(typed.len(), MAX_ANSWER_BYTES + 1);
    }
}

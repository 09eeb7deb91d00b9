//! The stderr of the `git push` that sends: upstream's lines are shown as they come, and git's own say why it failed.

use std::{
    io::{self, Read, Write},
    process::ChildStderr,
    sync::mpsc::Sender,
    time::Duration,
};

use common::{address::redact, text::masked};

use super::watch::Event;

/// What git appends to each of upstream's lines where stderr is no terminal: DUMB_SUFFIX in git's sideband.c.
const SUFFIX: &[u8] = b"        ";

/// A longer line is shown in pieces. A packet of a side band has at most a sixteenth of this.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Lines of git's own that say nothing about upstream.
const GITS_OWN: [&str; 9] = [
    "To ",
    "hint: ",
    "Everything up-to-date",
    "error: failed to push some refs",
    "Enumerating objects",
    "Counting objects",
    "Delta compression",
    "Compressing objects",
    "Total ",
];

/// The progress of a server's git, which is shown to nobody who wants no progress.
const PROGRESS_OF_SERVER: [&str; 4] = [
    "Resolving deltas: ",
    "Unpacking objects: ",
    "Receiving objects: ",
    "Checking connectivity: ",
];

/// How git begins to say that upstream has no push options, or no atomic pushes.
const NOT_SUPPORTED: &str = "the receiving end does not support";

/// Causes after which upstream certainly has nothing: git has looked at what upstream supports, or an HTTP status says that
/// the server did not want the request.
const NOTHING_SENT: [&str; 7] = [
    NOT_SUPPORTED,
    "cannot run git: Argument list too long",
    "RPC failed; HTTP 401",
    "RPC failed; HTTP 403",
    "RPC failed; HTTP 404",
    "RPC failed; HTTP 413",
    "RPC failed; HTTP 429",
];

/// Which lines of git's stderr are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// All that say something of upstream.
    All,
    /// Upstream's own, and progress.
    OfUpstream,
    /// None.
    Nothing,
}

/// Why git failed, as far as its stderr says.
#[derive(Default)]
pub(crate) struct Stderr {
    /// The first line that began with `fatal: `.
    fatal: Option<String>,
    /// The first line that began with `error: `.
    error: Option<String>,
}

impl Stderr {
    /// Reads git's stderr to its end: shows upstream's lines, and sends the events in git's progress.
    pub(crate) fn relay(
        stderr: Option<ChildStderr>,
        host: &str,
        shown: Shown,
        shows_progress: bool,
        events: &Sender<Event>,
    ) -> Self {
        let mut read = Self::default();
        let Some(mut stderr) = stderr else {
            return read;
        };
        let (mut line, mut buffer, mut is_open) = (Vec::new(), [0; 4096], false);
        while let Ok(length @ 1..) = stderr.read(&mut buffer) {
            for &byte in &buffer[..length] {
                let is_end = matches!(byte, b'\n' | b'\r');
                if !is_end {
                    line.push(byte);
                }
                if !is_end && line.len() < MAX_LINE_BYTES {
                    continue;
                }
                if let Some(event) = Event::of_progress(&line) {
                    // The watch is over when git was given up.
                    let _ = events.send(event);
                }
                let text = read.add_line(&line, shows_progress, host);
                let is_shown = match shown {
                    Shown::All => true,
                    Shown::OfUpstream => is_of_upstream(&line),
                    Shown::Nothing => false,
                };
                if let Some(mut text) = text.filter(|_| is_shown) {
                    if std::mem::replace(&mut is_open, has_no_end(&line)) {
                        text.insert(0, '\n');
                    }
                    if !is_open {
                        text.push(if byte == b'\r' { '\r' } else { '\n' });
                    }
                    // A stderr that is gone is no reason to fail.
                    let _ = io::stderr().write_all(text.as_bytes());
                }
                line.clear();
            }
        }
        read
    }

    /// Reads one line. Returns what of it is shown; the client's git shows that with `remote: ` before it.
    pub(super) fn add_line(
        &mut self,
        line: &[u8],
        shows_progress: bool,
        host: &str,
    ) -> Option<String> {
        if let Some(text) = line.strip_prefix(b"remote:") {
            let text = text.strip_prefix(b" ").unwrap_or(text);
            let text = masked(text.strip_suffix(SUFFIX).unwrap_or(text));
            let is_progress = PROGRESS_OF_SERVER
                .iter()
                .any(|known| text.starts_with(known));
            return (shows_progress || !is_progress).then_some(text);
        }
        let line = masked(redact(&String::from_utf8_lossy(line)).as_bytes());
        if line.starts_with("Writing objects") {
            return shows_progress.then(|| format!("To {host}: {line}"));
        }
        if let Some(fatal) = line.strip_prefix("fatal: ") {
            self.fatal.get_or_insert_with(|| fatal.to_owned());
            // The client's git would say this itself, if it talked to upstream.
            return fatal.starts_with(NOT_SUPPORTED).then_some(line);
        } else if GITS_OWN.iter().any(|known| line.starts_with(known)) {
        } else if let Some(error) = line.strip_prefix("error: ") {
            self.error.get_or_insert_with(|| error.to_owned());
        } else if !line.is_empty() {
            return Some(line);
        }
        None
    }

    /// Takes for the cause that git was ended, because upstream sent nothing for so long.
    pub(crate) fn give_up(&mut self, limit: Duration) {
        let cause = match limit.as_secs() {
            1 => "no answer for 1 second".to_owned(),
            seconds => format!("no answer for {seconds} seconds"),
        };
        (self.fatal, self.error) = (Some(cause), None);
    }

    /// Why upstream does not have a ref on which it did not report, and whether that is certain. `may_be_sent` says whether
    /// git may have begun to send.
    pub(crate) fn reason(&self, may_be_sent: bool) -> String {
        let (fatal, error) = (self.fatal.as_deref(), self.error.as_deref());
        let cause = match may_be_sent {
            true => error.or(fatal),
            false => fatal.or(error),
        };
        let cause = cause.unwrap_or("git push was ended");
        if !may_be_sent || NOTHING_SENT.iter().any(|begin| cause.starts_with(begin)) {
            return cause.to_owned();
        }
        format!("{cause}; it may have reached upstream, the same push again tells")
    }
}

/// Whether a line is upstream's, progress in sending to it, or what it cannot do.
fn is_of_upstream(line: &[u8]) -> bool {
    let not_supported = [b"fatal: ", NOT_SUPPORTED.as_bytes()].concat();
    let begins: [&[u8]; 3] = [b"remote:", b"Writing objects", &not_supported];
    begins.iter().any(|begin| line.starts_with(begin))
}

/// Whether this is a last line of upstream's without an end: git appends its suffix to every other one.
fn has_no_end(line: &[u8]) -> bool {
    line.strip_prefix(b"remote: ")
        .is_some_and(|text| !text.is_empty() && !text.ends_with(SUFFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_lines_are_shown_once() {
        let mut stderr = Stderr::default();
        let mut shown = |line: &str| stderr.add_line(line.as_bytes(), false, "h");
        assert_eq!(shown("remote: hello        ").as_deref(), Some("hello"));
        assert_eq!(shown("remote: ").as_deref(), Some(""));
        assert_eq!(
            shown("remote:   https://h/new        ").as_deref(),
            Some("  https://h/new")
        );
        assert_eq!(shown("remote: \x1b[31mred").as_deref(), Some("^[[31mred"));
        assert_eq!(shown("Everything up-to-date"), None);
        assert_eq!(
            shown("warning: redirecting").as_deref(),
            Some("warning: redirecting")
        );
    }
}

//! Renders [`Progress`] on stderr in git's own format.

use std::{
    io::{self, IsTerminal, Write},
    time::Instant,
};

use crate::{
    protocol::{Amount, Progress},
    text::{byte_size, masked},
};

/// A longer line of upstream is broken into several.
const MAX_LINE_BYTES: usize = 4096;

/// Shows progress to one person, or to nobody.
pub struct Renderer<W> {
    out: W,
    shown: bool,
    terminal: bool,
    started: Option<Instant>,
    /// The text of upstream since its last line break.
    remote: Vec<u8>,
    /// The unfinished line on the screen.
    open: Option<Line>,
    finished: Vec<Title>,
}

struct Line {
    title: Title,
    text: String,
    amount: Amount,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Title {
    Asking,
    Receiving,
    Resolving,
    Linking,
}

impl Title {
    fn title(self) -> &'static str {
        match self {
            Self::Asking => "Asking",
            Self::Receiving => "Receiving objects",
            Self::Resolving => "Resolving deltas",
            Self::Linking => "Linking files",
        }
    }
}

impl Renderer<io::Stderr> {
    /// Shows progress on stderr when git said that progress is wanted; git looks at the terminal itself.
    #[must_use]
    pub fn stderr(wanted: bool) -> Self {
        Self::new(io::stderr(), wanted, io::stderr().is_terminal())
    }
}

impl<W: Write> Renderer<W> {
    fn new(out: W, shown: bool, terminal: bool) -> Self {
        Self {
            out,
            shown,
            terminal,
            started: None,
            remote: Vec::new(),
            open: None,
            finished: Vec::new(),
        }
    }

    /// Shows one message. What stderr does not take is lost: progress is never a reason to fail.
    pub fn show(&mut self, progress: &Progress) {
        if !self.shown {
            return;
        }
        match progress {
            Progress::Asking { host, seconds } => {
                let text = match seconds {
                    0 => format!("Asking {}", masked(host.as_bytes())),
                    _ => format!("Asking {}: {seconds} s", masked(host.as_bytes())),
                };
                self.line(Title::Asking, text, Amount::default());
            }
            Progress::Remote(text) => self.remote(text),
            Progress::Receiving(amount, bytes) => {
                let seconds = self
                    .started
                    .get_or_insert_with(Instant::now)
                    .elapsed()
                    .as_secs_f64();
                let rate = if seconds > 0.5 {
                    *bytes as f64 / seconds
                } else {
                    0.0
                };
                let mut text = counted(Title::Receiving, *amount);
                if *bytes > 0 {
                    text.push_str(&format!(", {}", byte_size(*bytes as f64)));
                }
                if rate > 0.0 {
                    text.push_str(&format!(" | {}/s", byte_size(rate)));
                }
                self.line(Title::Receiving, text, *amount);
            }
            Progress::Resolving(amount) => {
                if amount.of > 0 {
                    self.line(
                        Title::Resolving,
                        counted(Title::Resolving, *amount),
                        *amount,
                    );
                }
            }
            Progress::Checking => self.close(),
        }
        let _ = self.out.flush();
    }

    /// Shows how many files of packs have been linked into a repository.
    pub fn linked(&mut self, amount: Amount) {
        if self.shown && amount.of > 0 {
            self.line(Title::Linking, counted(Title::Linking, amount), amount);
            let _ = self.out.flush();
        }
    }

    /// Ends what stands unfinished on the screen, so that the next text begin on a line of their own.
    pub fn close(&mut self) {
        if !self.remote.is_empty() {
            self.remote(b"\n");
        }
        let Some(line) = self.open.take() else { return };
        let width = line.text.chars().count();
        let _ = match line.title {
            // What we waited for came; nobody needs to read later that we waited.
            Title::Asking => write!(self.out, "{:width$}\r", ""),
            _ if line.amount.of > 0 && line.amount.done >= line.amount.of => {
                writeln!(self.out, "{}, done.", line.text)
            }
            _ => writeln!(self.out, "{}", line.text),
        };
        let _ = self.out.flush();
    }

    fn line(&mut self, title: Title, text: String, amount: Amount) {
        if self.finished.contains(&title) {
            return;
        }
        if self.open.as_ref().is_some_and(|open| open.title != title) || !self.remote.is_empty() {
            self.close();
        }
        let before = self
            .open
            .as_ref()
            .map_or(0, |open| open.text.chars().count());
        let padding = before.saturating_sub(text.chars().count());
        self.open = Some(Line {
            title,
            text,
            amount,
        });
        if title != Title::Asking && amount.of > 0 && amount.done >= amount.of {
            self.finished.push(title);
            self.close();
        } else if let Some(open) = &self.open {
            let _ = write!(self.out, "{}{:padding$}\r", open.text, "");
        }
    }

    /// Prefixes each of upstream's lines as git's sideband reader does, and clears what an earlier one left behind.
    fn remote(&mut self, text: &[u8]) {
        let suffix = if self.terminal { "\x1b[K" } else { "        " };
        if self.open.is_some() {
            let text = std::mem::take(&mut self.remote);
            self.close();
            self.remote = text;
        }
        for &byte in text {
            match byte {
                b'\n' | b'\r' => {
                    let line = masked(&std::mem::take(&mut self.remote));
                    let suffix = if line.is_empty() { "" } else { suffix };
                    let _ = write!(self.out, "remote: {line}{suffix}{}", char::from(byte));
                }
                _ => self.remote.push(byte),
            }
            if self.remote.len() >= MAX_LINE_BYTES {
                self.remote(b"\n");
            }
        }
    }
}

fn counted(title: Title, amount: Amount) -> String {
    let Amount { done, of } = amount;
    match (done * 100).checked_div(of) {
        Some(percent) => format!("{}: {percent:3}% ({done}/{of})", title.title()),
        None => format!("{}: {done}", title.title()),
    }
}

/// Prints one line on stderr in one write, because git and its children write there, too.
pub fn tell(line: &str) {
    // There is nobody left to tell when stderr is gone.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(terminal: bool, messages: &[Progress]) -> String {
        let mut out = Vec::new();
        let mut renderer = Renderer::new(&mut out, true, terminal);
        for message in messages {
            renderer.show(message);
        }
        renderer.close();
        String::from_utf8(out).expect("text")
    }

    fn amount(done: u64, of: u64) -> Amount {
        Amount { done, of }
    }

    #[test]
    fn a_download_reads_as_gits_own() {
        let text = shown(
            false,
            &[
                Progress::Remote(b"Enumerating objects: 10, done.\nCounting ob".to_vec()),
                Progress::Remote(
                    b"jects: 100% (10/10)\rCounting objects: 100% (10/10), done.\n".to_vec(),
                ),
                Progress::Receiving(amount(450, 1000), 1_258_291),
                Progress::Receiving(amount(1000, 1000), 2_000_000),
                Progress::Receiving(amount(1000, 1000), 2_000_000),
                Progress::Resolving(amount(3, 30)),
                Progress::Resolving(amount(30, 30)),
            ],
        );
        let expected = "remote: Enumerating objects: 10, done.        \n\
            remote: Counting objects: 100% (10/10)        \r\
            remote: Counting objects: 100% (10/10), done.        \n\
            Receiving objects:  45% (450/1000), 1.20 MiB\r\
            Receiving objects: 100% (1000/1000), 1.91 MiB, done.\n\
            Resolving deltas:  10% (3/30)\rResolving deltas: 100% (30/30), done.\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn files_that_are_linked_are_counted() {
        let mut out = Vec::new();
        let mut renderer = Renderer::new(&mut out, true, false);
        for (done, of) in [(0, 0), (1, 2), (2, 2)] {
            renderer.linked(amount(done, of));
        }
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "Linking files:  50% (1/2)\rLinking files: 100% (2/2), done.\n"
        );
    }

    #[test]
    fn waiting_is_shown_and_then_wiped_away() {
        let asking = |seconds| Progress::Asking {
            host: "gitlab.example".into(),
            seconds,
        };
        let text = shown(
            true,
            &[asking(0), asking(1), Progress::Remote(b"hello\n".to_vec())],
        );
        assert_eq!(
            text,
            format!(
                "Asking gitlab.example\rAsking gitlab.example: 1 s\r{:26}\rremote: hello\x1b[K\n",
                ""
            )
        );
    }

    #[test]
    fn an_interrupted_line_is_left_whole() {
        let text = shown(
            false,
            &[
                Progress::Receiving(amount(4, 10), 0),
                Progress::Remote(b"half".to_vec()),
            ],
        );
        assert!(
            text.ends_with("Receiving objects:  40% (4/10)\nremote: half        \n"),
            "{text:?}"
        );
    }

    #[test]
    fn nothing_is_shown_to_who_did_not_ask() {
        let mut out = Vec::new();
        Renderer::new(&mut out, false, true).show(&Progress::Remote(b"hello\n".to_vec()));
        assert!(out.is_empty());
    }
}

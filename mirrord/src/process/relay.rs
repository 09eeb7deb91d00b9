//! Turns what git shows of its progress into what we show.

use common::{
    git::progress_line::ProgressLine,
    protocol::{Amount, Progress},
};

use crate::process::watch::Watch;

/// Words without a line end are shown in pieces of this size.
const MAX_LINE_BYTES: usize = 4096;

/// The reader of a git child's stderr, as it comes.
#[derive(Default)]
pub(crate) struct Relay {
    line: Vec<u8>,
}

impl Relay {
    /// Passes on a piece of it.
    pub(crate) fn read(&mut self, piece: &[u8], watch: &Watch) {
        for &byte in piece {
            self.line.push(byte);
            if byte == b'\n' || byte == b'\r' || self.line.len() == MAX_LINE_BYTES {
                let line = std::mem::take(&mut self.line);
                match line.strip_prefix(b"remote: ") {
                    Some(text) => watch.remote(text),
                    None => watch.counted(counted(&String::from_utf8_lossy(&line))),
                }
            }
        }
    }
}

/// Reads a line of git's progress.
fn counted(line: &str) -> Option<Progress> {
    let line = ProgressLine::parse(line)?;
    let amount = Amount {
        done: line.done,
        of: line.total,
    };
    match line.title {
        "Receiving objects" => Some(Progress::Receiving(amount, line.bytes.unwrap_or_default())),
        "Resolving deltas" => Some(Progress::Resolving(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_own_progress_is_understood() {
        let amount = |done, of| Amount { done, of };
        let line = "Receiving objects:  45% (450/1000), 1.50 MiB | 2.00 MiB/s\r";
        assert_eq!(
            counted(line),
            Some(Progress::Receiving(amount(450, 1000), 1_572_864))
        );
        assert_eq!(
            counted("Resolving deltas: 100% (30/30), done.\n"),
            Some(Progress::Resolving(amount(30, 30)))
        );
        assert_eq!(counted("From https://gitlab.example/group/project\n"), None);
    }
}

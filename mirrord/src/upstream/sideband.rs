//! Listens in on a `fetch` answer for what upstream says on its side band, byte for byte.
//!
//! gix hands out these words without their line ends, which leaves no way to tell a line from half of one.

use std::io::{self, Read};

use crate::watch::Watch;

/// Follows an answer of protocol v2 as it comes, in whatever pieces.
#[derive(Default)]
pub(super) struct Listener {
    /// The length of a pkt-line, while it is not complete.
    header: Vec<u8>,
    /// What is left of the pkt-line that has begun.
    left: usize,
    /// The pkt-line that has begun, where it matters.
    line: Vec<u8>,
    keeps: bool,
    /// After the `packfile` line every line begins with the number of its band.
    in_pack: bool,
}

const PROGRESS: u8 = 2;

impl Listener {
    /// Follows some more of the answer.
    pub(super) fn hear(&mut self, mut bytes: &[u8], watch: &Watch) {
        while !bytes.is_empty() {
            if self.left == 0 {
                let missing = (4 - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..missing]);
                bytes = &bytes[missing..];
                if self.header.len() == 4 {
                    self.begin();
                }
                continue;
            }
            let here = self.left.min(bytes.len());
            if self.line.is_empty() {
                // Pack data goes by unlooked at: only the first byte says what the line is.
                self.keeps = !self.in_pack || bytes[0] == PROGRESS;
            }
            if self.keeps || self.line.is_empty() {
                self.line
                    .extend_from_slice(&bytes[..if self.keeps { here } else { 1 }]);
            }
            self.left -= here;
            bytes = &bytes[here..];
            if self.left == 0 {
                self.end(watch);
            }
        }
    }

    /// Whether what comes now is a pack, which goes to disk and not into memory.
    pub(super) fn is_in_pack(&self) -> bool {
        self.in_pack
    }

    fn begin(&mut self) {
        let header = std::mem::take(&mut self.header);
        let length = std::str::from_utf8(&header)
            .ok()
            .and_then(|hex| usize::from_str_radix(hex, 16).ok());
        // Flush, delimiter, end of response; what is no length at all is for gix to complain about.
        match length {
            Some(length @ 5..) => self.left = length - 4,
            _ => self.in_pack = false,
        }
    }

    fn end(&mut self, watch: &Watch) {
        let line = std::mem::take(&mut self.line);
        if self.in_pack && self.keeps {
            watch.remote(&line[1..]);
        } else if line == b"packfile\n" {
            self.in_pack = true;
        }
    }
}

/// A reader that is listened in on.
pub(crate) struct Overheard<R> {
    inner: R,
    listener: Listener,
    watch: Watch,
}

impl<R> Overheard<R> {
    pub(super) fn new(inner: R, watch: &Watch) -> Self {
        Self {
            inner,
            listener: Listener::default(),
            watch: watch.clone(),
        }
    }
}

impl<R: Read> Read for Overheard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.listener.hear(&buffer[..length], &self.watch);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use common::protocol::Progress;
    use proptest::prelude::*;
    use tokio::sync::broadcast;

    use super::*;

    fn line(words: &[u8]) -> Vec<u8> {
        [format!("{:04x}", words.len() + 4).as_bytes(), words].concat()
    }

    fn heard(pieces: &[&[u8]]) -> Vec<u8> {
        let (sender, mut receiver) = broadcast::channel(256);
        let watch = Watch::new("host", sender, Vec::new());
        let mut listener = Listener::default();
        for piece in pieces {
            listener.hear(piece, &watch);
        }
        let mut all = Vec::new();
        while let Ok(Progress::Remote(words)) = receiver.try_recv() {
            all.extend(words);
        }
        all
    }

    fn answer() -> Vec<u8> {
        let parts: [&[u8]; 9] = [
            &line(b"acknowledgments\n"),
            &line(b"ready\n"),
            b"0001",
            &line(b"packfile\n"),
            &line(b"\x02Counting objects: 1, done.\n"),
            &line(b"\x01PACK\x020004\n"),
            &line(b"\x02Half a li"),
            &line(b"\x02ne\r"),
            b"0000",
        ];
        parts.concat()
    }

    #[test]
    fn words_are_heard_with_their_line_ends() {
        assert_eq!(
            heard(&[&answer()]),
            b"Counting objects: 1, done.\nHalf a line\r"
        );
        assert_eq!(heard(&[&line(b"\x02not in a pack"), b"0000"]), b"");
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_answer_is_cut(cuts in proptest::collection::vec(1_usize..20, 1..60)) {
            let answer = answer();
            let mut rest = answer.as_slice();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(heard(&pieces), heard(&[&answer]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            heard(&[&bytes]);
        }
    }
}

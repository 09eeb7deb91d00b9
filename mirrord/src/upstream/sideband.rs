//! Listens in on an answer for what upstream says on its side band, byte for byte, and for whether it gets anywhere.
//!
//! gix hands out these words without their line ends, which leaves no way to tell a line from half of one.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Instant,
};

use common::no_progress::NoProgress;
use gix_transport::packetline::read::Error as Refusal;
use parking_lot::{Mutex, MutexGuard};

use crate::process::watch::Watch;

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
    /// What upstream says in the place of an answer.
    refusal: Option<String>,
    /// How much of a pkt-line came since that was last worth anything.
    part: usize,
}

const PROGRESS: u8 = 2;

/// So much of a pkt-line gets us further before it is complete: the longest takes a slow line its time.
const CHUNK_BYTES: usize = 1024;

impl Listener {
    /// Follows some more of the answer. Says whether it gets us further: a pkt-line is complete, if only one that keeps
    /// the line alive, or a good part of one has come.
    pub(super) fn hear(&mut self, mut bytes: &[u8], watch: &Watch) -> bool {
        let mut moved = false;
        while !bytes.is_empty() {
            if self.left == 0 {
                let missing = (4 - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..missing]);
                bytes = &bytes[missing..];
                if self.header.len() == 4 {
                    moved |= self.begin();
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
            self.part += here;
            bytes = &bytes[here..];
            if self.part >= CHUNK_BYTES || self.left == 0 {
                (self.part, moved) = (0, true);
            }
            if self.left == 0 {
                self.end(watch);
            }
        }
        if moved {
            watch.moved();
        }
        moved
    }

    /// What upstream said in the place of an answer (an ERR line), if it did since this was last asked.
    pub(super) fn refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    /// Whether what comes now is a pack, which goes to disk and not into memory.
    pub(super) fn is_in_pack(&self) -> bool {
        self.in_pack
    }

    /// Says whether there is nothing to come of it.
    fn begin(&mut self) -> bool {
        let header = std::mem::take(&mut self.header);
        let length = std::str::from_utf8(&header)
            .ok()
            .and_then(|hex| usize::from_str_radix(hex, 16).ok());
        // Flush, delimiter, end of response; what is no length at all is for gix to complain about.
        match length {
            Some(length @ 5..) => self.left = length - 4,
            _ => self.in_pack = false,
        }
        length.is_some_and(|length| length < 3)
    }

    fn end(&mut self, watch: &Watch) {
        let line = std::mem::take(&mut self.line);
        if self.in_pack && self.keeps {
            watch.remote(&line[1..]);
        } else if line == b"packfile\n" {
            self.in_pack = true;
        } else if let Some(words) = line.strip_prefix(b"ERR ")
            && !self.in_pack
        {
            self.refusal = Some(String::from_utf8_lossy(words).into_owned());
        }
    }
}

/// An end of a line that is listened in on, and whose silence is told to others.
pub(crate) struct Overheard<E> {
    inner: E,
    listener: Listener,
    watch: Watch,
    no_progress: Arc<Mutex<NoProgress>>,
}

impl<E> Overheard<E> {
    pub(super) fn new(inner: E, watch: &Watch, no_progress: &Arc<Mutex<NoProgress>>) -> Self {
        Self {
            inner,
            listener: Listener::default(),
            watch: watch.clone(),
            no_progress: no_progress.clone(),
        }
    }

    fn no_progress(&self) -> MutexGuard<'_, NoProgress> {
        self.no_progress.lock()
    }

    fn waiting<T>(&mut self, wait: impl FnOnce(&mut E) -> io::Result<T>) -> io::Result<T> {
        self.no_progress().resume(Instant::now());
        let result = wait(&mut self.inner);
        self.no_progress().pause(Instant::now());
        result
    }
}

impl<R: Read> Read for Overheard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.waiting(|inner| inner.read(buffer))?;
        if self.listener.hear(&buffer[..length], &self.watch) {
            self.no_progress().progress(Instant::now());
        }
        // gix looks for it in an advertisement alone.
        match self.listener.refusal() {
            Some(words) => Err(io::Error::other(Refusal {
                message: words.into(),
            })),
            None => Ok(length),
        }
    }
}

impl<W: Write> Write for Overheard<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.waiting(|inner| inner.write(bytes))?;
        self.no_progress().progress(Instant::now());
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.waiting(Write::flush)
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
    fn a_refusal_is_heard_wherever_an_answer_should_be_and_not_in_a_pack() {
        let (sender, _receiver) = broadcast::channel(16);
        let watch = Watch::new("host", sender, Vec::new());
        let refusal = |pieces: &[&[u8]]| {
            let mut listener = Listener::default();
            for piece in pieces {
                listener.hear(piece, &watch);
            }
            listener.refusal()
        };
        let said = line(b"ERR no\n");
        assert_eq!(refusal(&[&said]).as_deref(), Some("no\n"));
        let halves = said.split_at(6);
        assert_eq!(refusal(&[halves.0, halves.1]).as_deref(), Some("no\n"));
        let service = line(b"# service=git-upload-pack\n");
        assert!(refusal(&[&service, b"0000", &said]).is_some());
        assert!(refusal(&[&line(b"packfile\n"), &line(b"\x01ERR no\n")]).is_none());
    }

    #[test]
    fn what_gets_us_further_is_a_line_or_a_good_part_of_one() {
        let (sender, _receiver) = broadcast::channel(1);
        let watch = Watch::new("host", sender, Vec::new());
        let mut listener = Listener::default();
        let mut moves = |bytes: &[u8]| listener.hear(bytes, &watch);
        assert!(moves(&line(b"packfile\n")));
        assert!(
            !moves(b"00") && !moves(b"05") && moves(b"\x01"),
            "keeps alive"
        );
        assert!(moves(b"0000"), "the end of a list");
        assert!(!moves(b"ffff") && !moves(&[1; 1000]), "drops");
        assert!(moves(&[1; 100]) && !moves(&[1; 100]) && moves(&[1; 1000]));
        let mut garbage = Listener::default();
        assert!(!garbage.hear(&[b'x'; 60_000], &watch));
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

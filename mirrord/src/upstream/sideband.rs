//! Reads along while an answer of upstream passes: progress on the side band, byte for byte, and whether there is any.
//!
//! gix hands out side-band messages without their line ends (`gix_packetline`'s `TextRef`), which leaves no way to tell a
//! line from half of one.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Instant,
};

use common::{no_progress::NoProgress, packs::pkt_line::Header};
use gix_transport::packetline::read::Error as Refusal;
use parking_lot::{Mutex, MutexGuard};

use crate::process::watch::Watch;

/// Follows an answer of protocol v2 as it arrives, in whatever pieces.
#[derive(Default)]
pub(super) struct Listener {
    /// The length of a pkt-line, while it is not complete.
    header: Vec<u8>,
    /// The number of bytes that are left of the pkt-line.
    left: usize,
    /// The pkt-line that has begun, where it matters.
    line: Vec<u8>,
    /// Whether `line` keeps_line all of the pkt-line, or only its first byte.
    keeps_line: bool,
    /// After the `packfile` line every line begins with the number of its band.
    in_pack: bool,
    /// The text of an ERR line, which upstream sends in the place of an answer.
    refusal: Option<String>,
    /// How many bytes of a pkt-line have come since the last progress.
    bytes_since_progress: usize,
}

/// The band of progress messages (gitprotocol-pack(5), "Packfile Data").
const PROGRESS_BAND: u8 = 2;

/// This much of an incomplete pkt-line counts as progress: over a slow line the longest, of 64 KiB, takes a while.
const PROGRESS_BYTES: usize = 1024;

impl Listener {
    /// Follows some more of the answer. Returns whether that was progress: a pkt-line is complete, if only a keep-alive, or
    /// a good part of one has come.
    pub(super) fn follow(&mut self, mut bytes: &[u8], watch: &Watch) -> bool {
        let mut progressed = false;
        while !bytes.is_empty() {
            if self.left == 0 {
                let missing = (4 - self.header.len()).min(bytes.len());
                self.header.extend_from_slice(&bytes[..missing]);
                bytes = &bytes[missing..];
                if self.header.len() == 4 {
                    progressed |= self.begin_line();
                }
                continue;
            }
            let length = self.left.min(bytes.len());
            if self.line.is_empty() {
                // Pack data passes unread: the first byte says which band the line is of.
                self.keeps_line = !self.in_pack || bytes[0] == PROGRESS_BAND;
            }
            if self.keeps_line || self.line.is_empty() {
                self.line
                    .extend_from_slice(&bytes[..if self.keeps_line { length } else { 1 }]);
            }
            self.left -= length;
            self.bytes_since_progress += length;
            bytes = &bytes[length..];
            if self.bytes_since_progress >= PROGRESS_BYTES || self.left == 0 {
                (self.bytes_since_progress, progressed) = (0, true);
            }
            if self.left == 0 {
                self.end_line(watch);
            }
        }
        if progressed {
            watch.record_progress();
        }
        progressed
    }

    /// Takes the text of an ERR line, if there was one since the last call.
    pub(super) fn take_refusal(&mut self) -> Option<String> {
        self.refusal.take()
    }

    /// Whether a pack passes now, which goes to disk and not into memory.
    pub(super) fn is_in_pack(&self) -> bool {
        self.in_pack
    }

    /// Reads the length of a pkt-line. Returns whether it is one without content.
    fn begin_line(&mut self) -> bool {
        let header = std::mem::take(&mut self.header);
        let header = header.try_into().ok().and_then(Header::parse);
        // Digits that are no length are for gix to complain about.
        match header {
            Some(Header::Line(length @ 1..)) => self.left = length,
            _ => self.in_pack = false,
        }
        matches!(
            header,
            Some(Header::Flush | Header::Delimiter | Header::ResponseEnd)
        )
    }

    fn end_line(&mut self, watch: &Watch) {
        let line = std::mem::take(&mut self.line);
        if self.in_pack && self.keeps_line {
            watch.remote(&line[1..]);
        } else if line == b"packfile\n" {
            self.in_pack = true;
        } else if let Some(message) = line.strip_prefix(b"ERR ")
            && !self.in_pack
        {
            self.refusal = Some(String::from_utf8_lossy(message).into_owned());
        }
    }
}

/// A pipe to or from upstream whose clock runs while somebody waits at it.
pub(crate) struct WatchedPipe<E> {
    inner: E,
    listener: Listener,
    watch: Watch,
    no_progress: Arc<Mutex<NoProgress>>,
}

impl<E> WatchedPipe<E> {
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

    /// Runs what blocks until upstream reads or writes.
    fn waiting<T>(&mut self, wait: impl FnOnce(&mut E) -> io::Result<T>) -> io::Result<T> {
        self.no_progress().resume(Instant::now());
        let result = wait(&mut self.inner);
        self.no_progress().pause(Instant::now());
        result
    }
}

impl<R: Read> Read for WatchedPipe<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.waiting(|inner| inner.read(buffer))?;
        if self.listener.follow(&buffer[..length], &self.watch) {
            self.no_progress().progress(Instant::now());
        }
        // gix looks for an ERR line only in an advertisement.
        match self.listener.take_refusal() {
            Some(message) => Err(io::Error::other(Refusal {
                message: message.into(),
            })),
            None => Ok(length),
        }
    }
}

impl<W: Write> Write for WatchedPipe<W> {
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

    fn line(content: &[u8]) -> Vec<u8> {
        [format!("{:04x}", content.len() + 4).as_bytes(), content].concat()
    }

    fn progress_messages(pieces: &[&[u8]]) -> Vec<u8> {
        let (sender, mut receiver) = broadcast::channel(256);
        let watch = Watch::new("host", sender, Vec::new());
        let mut listener = Listener::default();
        for piece in pieces {
            listener.follow(piece, &watch);
        }
        let mut all = Vec::new();
        while let Ok(Progress::Remote(message)) = receiver.try_recv() {
            all.extend(message);
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
    fn an_err_line_is_found_wherever_an_answer_should_be_and_not_in_a_pack() {
        let (sender, _receiver) = broadcast::channel(16);
        let watch = Watch::new("host", sender, Vec::new());
        let refusal = |pieces: &[&[u8]]| {
            let mut listener = Listener::default();
            for piece in pieces {
                listener.follow(piece, &watch);
            }
            listener.take_refusal()
        };
        let err_line = line(b"ERR no\n");
        assert_eq!(refusal(&[&err_line]).as_deref(), Some("no\n"));
        let halves = err_line.split_at(6);
        assert_eq!(refusal(&[halves.0, halves.1]).as_deref(), Some("no\n"));
        let service = line(b"# service=git-upload-pack\n");
        assert!(refusal(&[&service, b"0000", &err_line]).is_some());
        assert!(refusal(&[&line(b"packfile\n"), &line(b"\x01ERR no\n")]).is_none());
    }

    #[test]
    fn progress_is_a_line_or_a_good_part_of_one() {
        let (sender, _receiver) = broadcast::channel(1);
        let watch = Watch::new("host", sender, Vec::new());
        let mut listener = Listener::default();
        let mut progresses = |bytes: &[u8]| listener.follow(bytes, &watch);
        assert!(progresses(&line(b"packfile\n")));
        assert!(
            !progresses(b"00") && !progresses(b"05") && progresses(b"\x01"),
            "keeps_line alive"
        );
        assert!(progresses(b"0000"), "the end of a list");
        assert!(!progresses(b"ffff") && !progresses(&[1; 1000]), "drops");
        assert!(progresses(&[1; 100]) && !progresses(&[1; 100]) && progresses(&[1; 1000]));
        let mut garbage = Listener::default();
        assert!(!garbage.follow(&[b'x'; 60_000], &watch));
    }

    #[test]
    fn progress_messages_keep_their_line_ends() {
        assert_eq!(
            progress_messages(&[&answer()]),
            b"Counting objects: 1, done.\nHalf a line\r"
        );
        assert_eq!(
            progress_messages(&[&line(b"\x02not in a pack"), b"0000"]),
            b""
        );
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
            prop_assert_eq!(progress_messages(&pieces), progress_messages(&[&answer]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            progress_messages(&[&bytes]);
        }
    }
}

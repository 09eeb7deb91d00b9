//! Sends the body of an answer, and cuts, delays or damages it if a fault says so.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::sleep;

use super::cgi::Backend;
use super::faults::Released;
use super::log::Entry;

/// The number of pieces a second in which a throttled body is sent.
const PIECES_PER_SECOND: u64 = 50;

/// The source of a body.
#[derive(Debug)]
pub(super) enum Source {
    Ready(Bytes),
    Backend(Box<Backend>),
}

impl Source {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Ready(bytes) if bytes.is_empty() => Ok(None),
            Self::Ready(bytes) => Ok(Some(std::mem::take(bytes))),
            Self::Backend(backend) => backend.next().await,
        }
    }

    /// Reads it to its end, so that nothing that happens later can change it.
    pub(super) async fn read_all(mut self) -> io::Result<Self> {
        let mut all = Vec::new();
        while let Some(chunk) = self.next().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(Self::Ready(all.into()))
    }
}

/// The faults of a body.
#[derive(Debug, Default)]
pub(super) struct BodyFaults {
    pub(super) hang_after: Option<u64>,
    pub(super) cut_after: Option<u64>,
    pub(super) flip_at: Option<u64>,
    pub(super) bytes_per_second: Option<u64>,
}

/// A body that a task of ours pours into hyper; when hyper drops it, the task ends.
#[derive(Debug)]
pub(super) struct Pour(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Pour {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(cx)
            .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

/// Starts to pour.
pub(super) fn pour(
    source: Source,
    spoiled: BodyFaults,
    released: Released,
    entry: Arc<Entry>,
) -> Pour {
    let (sender, receiver) = mpsc::channel(1);
    let pouring = Pouring {
        sender,
        spoiled,
        released,
        entry,
        sent: 0,
    };
    tokio::spawn(pouring.run(source));
    Pour(receiver)
}

struct Pouring {
    sender: mpsc::Sender<io::Result<Bytes>>,
    spoiled: BodyFaults,
    released: Released,
    entry: Arc<Entry>,
    sent: u64,
}

/// Why a body was not sent to its end: the client went away, or a fault cut the line.
struct Interrupted;

impl Pouring {
    async fn run(mut self, mut source: Source) {
        if self.stop_here().await.is_err() {
            return;
        }
        loop {
            let next = tokio::select! {
                next = source.next() => next,
                () = self.sender.closed() => return,
            };
            match next {
                Ok(Some(chunk)) => {
                    if self.send(chunk).await.is_err() {
                        return;
                    }
                }
                Ok(None) => return self.entry.finish(),
                Err(error) => {
                    let _ = self.sender.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    async fn send(&mut self, mut chunk: Bytes) -> Result<(), Interrupted> {
        while !chunk.is_empty() {
            let mut part = chunk.split_to(self.up_to_the_next_stop(chunk.len()));
            if let Some(flip) = self.spoiled.flip_at
                && let Some(at) = flip.checked_sub(self.sent)
                && at < part.len() as u64
            {
                let mut bytes = part.to_vec();
                bytes[usize::try_from(at).expect("it is inside the part")] ^= 1;
                part = bytes.into();
            }
            let length = part.len();
            self.sent += length as u64;
            // Before it is sent: a client that has it all finds it counted.
            self.entry.sent(length);
            self.sender.send(Ok(part)).await.map_err(|_| Interrupted)?;
            self.stop_here().await?;
            self.keep_to_the_rate(length).await;
        }
        Ok(())
    }

    /// Returns how much of a chunk may be sent in one go.
    fn up_to_the_next_stop(&self, length: usize) -> usize {
        let stops = [self.spoiled.hang_after, self.spoiled.cut_after];
        let to_stops = stops
            .into_iter()
            .flatten()
            .filter_map(|stop| stop.checked_sub(self.sent));
        let share = self
            .spoiled
            .bytes_per_second
            .map(|rate| rate / PIECES_PER_SECOND);
        to_stops
            .chain(share)
            .filter(|&part| part > 0)
            .filter_map(|part| usize::try_from(part).ok())
            .fold(length, usize::min)
    }

    /// Hangs or cuts if this is the place for it.
    async fn stop_here(&mut self) -> Result<(), Interrupted> {
        if self.spoiled.hang_after == Some(self.sent) {
            self.spoiled.hang_after = None;
            tokio::select! {
                () = self.released.clone().wait() => {}
                () = self.sender.closed() => return Err(Interrupted),
            }
        }
        if self.spoiled.cut_after == Some(self.sent) {
            self.entry.cut();
            self.cut().await;
            return Err(Interrupted);
        }
        Ok(())
    }

    /// Closes the connection, but not before hyper has written what it was given: it flushes
    /// when it finds nothing more to take.
    async fn cut(&mut self) {
        let Ok(place) = self.sender.reserve().await else {
            return;
        };
        for _ in 0..8 {
            yield_now().await;
        }
        place.send(Err(io::Error::other("a fault cuts the line")));
    }

    async fn keep_to_the_rate(&self, length: usize) {
        if let Some(rate) = self.spoiled.bytes_per_second {
            sleep(Duration::from_secs(1).mul_f64(length as f64 / rate as f64)).await;
        }
    }
}

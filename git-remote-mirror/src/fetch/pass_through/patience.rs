//! For how long upstream may say nothing to what is passed through, where whoever is between would wait for ever.

use std::{
    io::{self, Read},
    process::ChildStdout,
    sync::Arc,
    time::{Duration, Instant},
};

use common::progress::span;
use parking_lot::Mutex;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};

/// Since when upstream is asked for something, where it is to be timed.
#[derive(Clone, Default)]
pub(super) struct Asked(Arc<Mutex<Option<Instant>>>);

impl Asked {
    /// It is asked from now on.
    pub(super) fn now(&self) {
        self.set(Some(Instant::now()));
    }

    /// It has answered.
    pub(super) fn no_more(&self) {
        self.set(None);
    }

    fn set(&self, since: Option<Instant>) {
        *self.0.lock() = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

/// What is heard of upstream. Reading fails as timed out when it is asked and says nothing for too long.
pub(super) struct Hearing {
    pub(super) pipe: ChildStdout,
    pub(super) asked: Asked,
    pub(super) limit: Duration,
}

impl Read for Hearing {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        loop {
            let until = self
                .asked
                .since()
                .map(|since| since.max(begun) + self.limit);
            let rest = until.map_or(self.limit, |until| {
                until.saturating_duration_since(Instant::now())
            });
            if rest.is_zero() {
                let silence = format!("no answer for {}", span(self.limit.as_secs()));
                return Err(io::Error::new(io::ErrorKind::TimedOut, silence));
            }
            let rest = Timespec::try_from(rest).map_err(io::Error::other)?;
            let mut ends = [PollFd::new(&self.pipe, PollFlags::IN)];
            if retry_on_intr(|| poll(&mut ends, Some(&rest)))? > 0 {
                return self.pipe.read(buf);
            }
        }
    }
}

//! A pipe from upstream, read with a limit for how long upstream may send nothing while it owes an answer.

use std::{
    io::{self, Read},
    process::ChildStdout,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{no_progress::NoProgress, text::time_span};
use parking_lot::{Mutex, MutexGuard};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
};

/// The clock of one upstream, shared by all that set it. The clock runs while upstream owes an answer.
#[derive(Clone)]
pub(super) struct Clock(Arc<Mutex<NoProgress>>);

impl Clock {
    /// A clock that does not run yet.
    pub(super) fn new(limit: Duration) -> Self {
        Self(Arc::new(Mutex::new(NoProgress::new(limit))))
    }

    /// Starts anew: upstream has the limit and `extra` for its answer.
    pub(super) fn restart(&self, extra: Duration) {
        self.lock().restart(Instant::now(), extra);
    }

    /// Starts, unless the clock runs.
    pub(super) fn resume(&self) {
        self.lock().resume(Instant::now());
    }

    /// Stops: upstream has answered.
    pub(super) fn stop(&self) {
        self.lock().stop();
    }

    fn lock(&self) -> MutexGuard<'_, NoProgress> {
        self.0.lock()
    }
}

/// A pipe from upstream. Reading fails with [`io::ErrorKind::TimedOut`] when the time is up.
pub(super) struct TimedPipe {
    pub(super) pipe: ChildStdout,
    pub(super) clock: Clock,
}

impl Read for TimedPipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // What was read before is progress, and the time that it took to pass it on is not upstream's.
        self.clock.lock().progress(Instant::now());
        loop {
            let (deadline, limit) = {
                let clock = self.clock.lock();
                (clock.deadline(), clock.limit())
            };
            let left = deadline.map_or(limit, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                let cause = format!("no answer for {}", time_span(limit.as_secs()));
                return Err(io::Error::new(io::ErrorKind::TimedOut, cause));
            }
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut pipe = [PollFd::new(&self.pipe, PollFlags::IN)];
            if retry_on_intr(|| poll(&mut pipe, Some(&left)))? > 0 {
                return self.pipe.read(buf);
            }
        }
    }
}

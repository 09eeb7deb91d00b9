//! What upstream says, read with a limit for how long it may say nothing while it is asked.

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

/// The clock of one upstream, for all who move it. It runs while upstream is asked for something.
#[derive(Clone)]
pub(super) struct Clock(Arc<Mutex<NoProgress>>);

impl Clock {
    pub(super) fn new(limit: Duration) -> Self {
        Self(Arc::new(Mutex::new(NoProgress::new(limit))))
    }

    /// Upstream is asked from now on, and has the limit and `extra` for its answer.
    pub(super) fn restart(&self, extra: Duration) {
        self.lock().restart(Instant::now(), extra);
    }

    /// Upstream is waited for, if it was not before.
    pub(super) fn resume(&self) {
        self.lock().resume(Instant::now());
    }

    /// Upstream has answered.
    pub(super) fn stop(&self) {
        self.lock().stop();
    }

    fn lock(&self) -> MutexGuard<'_, NoProgress> {
        self.0.lock()
    }
}

/// A pipe from upstream. Reading fails as timed out when the clock says so.
pub(super) struct TimedPipe {
    pub(super) pipe: ChildStdout,
    pub(super) clock: Clock,
}

impl Read for TimedPipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        // What came before is progress; how long it took to pass it on is not upstream's fault.
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
            let mut ends = [PollFd::new(&self.pipe, PollFlags::IN)];
            if retry_on_intr(|| poll(&mut ends, Some(&left)))? > 0 {
                return self.pipe.read(buf);
            }
        }
    }
}

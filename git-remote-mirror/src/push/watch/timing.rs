//! Which of a push's steps are timed, and until when upstream has time for each. Only upstream's work is timed: not git's
//! own, and not the person who signs in.

use std::time::{Duration, Instant};

use common::no_progress::{NoProgress, SIGN_IN_TIMEOUT};

use super::{Event, Transport};
use crate::trace::TraceEvent;

/// What may still be in the buffers of pipes, ssh and sockets when git has sent all.
const MAX_BUFFERED_BYTES: u64 = 8 << 20;
/// The slowest connection for which the limit holds, in bytes per second.
const MIN_BYTES_PER_SECOND: u64 = 16 << 10;

/// The clock of one push, and how far the push is.
pub(super) struct Timing {
    clock: NoProgress,
    /// Whether a pack follows the commands.
    has_pack: bool,
    /// Whether upstream has advertised its refs.
    is_advertised: bool,
    sent_bytes: u64,
}

impl Timing {
    pub(super) fn new(transport: Transport, limit: Duration, has_pack: bool, now: Instant) -> Self {
        let mut clock = NoProgress::new(limit);
        match transport {
            Transport::Http => {}
            Transport::Ssh => clock.restart(now, SIGN_IN_TIMEOUT),
            Transport::Path => clock.resume(now),
        }
        Self {
            clock,
            has_pack,
            is_advertised: false,
            sent_bytes: MAX_BUFFERED_BYTES,
        }
    }

    /// When the push is given up; None while git, or a person, is at work.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.clock.deadline()
    }

    pub(super) fn apply(&mut self, event: &Event, now: Instant) {
        use TraceEvent::{CommandsSent, Connected, Connecting, Flush, Packet};

        match event {
            Event::Traced(Connecting) => self.clock.resume(now),
            Event::Traced(Connected) => self.clock.stop(),
            // The first packet ends the time for signing in.
            Event::Traced(Packet) if !self.is_advertised => self.clock.restart(now, Duration::ZERO),
            Event::Traced(Flush) if !self.is_advertised => {
                self.is_advertised = true;
                self.clock.stop();
            }
            Event::Traced(Packet | Flush) => self.clock.progress(now),
            Event::Traced(CommandsSent) if !self.has_pack => {
                self.clock.restart(now, Duration::ZERO);
            }
            Event::SendingPack(size) => {
                self.sent_bytes = size.unwrap_or(self.sent_bytes);
                self.clock.restart(now, Duration::ZERO);
            }
            Event::PackSent => {
                let buffered = self.sent_bytes.min(MAX_BUFFERED_BYTES);
                let sending = Duration::from_secs(buffered / MIN_BYTES_PER_SECOND);
                self.clock.restart(now, sending);
            }
            Event::Traced(CommandsSent) | Event::GitEnded => {}
        }
    }
}

//! The requests of git and the answers of upstream, counted by the flush packets that end them.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::timed_pipe::Clock;

/// How far git and upstream are with each other.
pub(super) struct Exchange {
    clock: Option<Clock>,
    state: Mutex<State>,
}

struct State {
    /// How many answers upstream owes.
    open_answers: usize,
    /// Whether git is in the middle of a request.
    in_request: bool,
    /// Whether git has sent all its requests.
    is_git_done: bool,
}

impl Exchange {
    /// The beginning: upstream owes the advertisement, which nobody requests. `clock` runs while an answer is owed.
    pub(super) fn new(clock: Option<Clock>) -> Self {
        let state = State {
            open_answers: 1,
            in_request: false,
            is_git_done: false,
        };
        Self {
            clock,
            state: Mutex::new(state),
        }
    }

    /// Counts a packet of git's, or (None) a flush packet. Returns whether it is passed on. A flush packet without a request
    /// is not: by it git says that it has no request, and over HTTP it would become one.
    pub(super) fn add_from_git(&self, packet: Option<&[u8]>) -> bool {
        let mut state = self.lock();
        let is_passed_on = packet.is_some() || state.in_request;
        state.in_request = packet.is_some();
        if is_passed_on {
            state.open_answers += usize::from(packet.is_none());
            // Upstream must also read while git sends.
            self.restart_clock();
        }
        is_passed_on
    }

    /// git has closed its end: upstream is to send the answers that it owes, and to close its own.
    pub(super) fn end_requests(&self) {
        let mut state = self.lock();
        state.is_git_done = true;
        self.restart_clock();
    }

    /// Counts a packet of upstream's, or (None) a flush packet.
    pub(super) fn add_from_upstream(&self, packet: Option<&[u8]>) {
        if packet.is_some() {
            return;
        }
        let mut state = self.lock();
        state.open_answers = state.open_answers.saturating_sub(1);
        if state.open_answers > 0 || state.is_git_done {
            self.restart_clock();
        } else {
            self.clock.iter().for_each(Clock::stop);
        }
    }

    /// Whether git has sent all its requests and has all answers.
    pub(super) fn is_complete(&self) -> bool {
        let state = self.lock();
        state.is_git_done && state.open_answers == 0
    }

    fn restart_clock(&self) {
        let clock = self.clock.iter();
        clock.for_each(|clock| clock.restart(Duration::ZERO));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_is_complete_when_git_is_done_and_has_all_answers() {
        let exchange = Exchange::new(None);
        exchange.add_from_upstream(Some(b"version 2"));
        exchange.add_from_upstream(None);
        assert!(exchange.add_from_git(Some(b"command=fetch")));
        assert!(exchange.add_from_git(None));
        assert!(!exchange.add_from_git(None), "there is no request");
        // git closes its end before it has the answer.
        exchange.end_requests();
        assert!(!exchange.is_complete());
        exchange.add_from_upstream(Some(b"packfile"));
        assert!(!exchange.is_complete());
        exchange.add_from_upstream(None);
        assert!(exchange.is_complete());
    }
}

//! How far git and upstream are with each other, as the ends of the sections tell that pass by.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::timed_pipe::Clock;

/// What is said between git and upstream, and by when it is to be answered.
pub(super) struct Talk {
    clock: Option<Clock>,
    state: Mutex<State>,
}

struct State {
    /// What upstream has still to answer.
    open: usize,
    /// Whether git is in the middle of a request.
    is_asking: bool,
    /// Whether git has asked for all that it wants.
    is_done: bool,
}

impl Talk {
    /// Nothing has been said. Upstream begins, unasked.
    pub(super) fn timed_by(clock: Option<Clock>) -> Self {
        let state = State {
            open: 1,
            is_asking: false,
            is_done: false,
        };
        Self {
            clock,
            state: Mutex::new(state),
        }
    }

    /// git says a line, or ends a request. Returns whether upstream is to hear of it: not of an end without a request, by
    /// which git says that it has none, because over http that would be one.
    pub(super) fn git_says(&self, line: Option<&[u8]>) -> bool {
        let mut state = self.lock();
        let is_heard = line.is_some() || state.is_asking;
        state.is_asking = line.is_some();
        if is_heard {
            state.open += usize::from(line.is_none());
            // For as long as it sends, too, upstream is to listen.
            self.restart_clock();
        }
        is_heard
    }

    /// git asks no more, and closes its end; upstream is to answer what is open, and to close its own.
    pub(super) fn git_is_done(&self) {
        let mut state = self.lock();
        state.is_done = true;
        self.restart_clock();
    }

    /// Upstream says a line, or ends an answer.
    pub(super) fn upstream_says(&self, line: Option<&[u8]>) {
        if line.is_some() {
            return;
        }
        let mut state = self.lock();
        state.open = state.open.saturating_sub(1);
        if state.open > 0 || state.is_done {
            self.restart_clock();
        } else {
            self.clock.iter().for_each(Clock::stop);
        }
    }

    /// Whether git has been told all that it wants.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_done && state.open == 0
    }

    fn restart_clock(&self) {
        self.clock
            .iter()
            .for_each(|clock| clock.restart(Duration::ZERO));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_git_asks_no_more_and_all_is_answered() {
        let talk = Talk::timed_by(None);
        talk.upstream_says(Some(b"version 2"));
        talk.upstream_says(None);
        assert!(talk.git_says(Some(b"command=fetch")));
        assert!(talk.git_says(None));
        assert!(!talk.git_says(None), "nothing has been asked");
        // git closes its end before it has the answer.
        talk.git_is_done();
        assert!(!talk.is_over());
        talk.upstream_says(Some(b"packfile"));
        assert!(!talk.is_over());
        talk.upstream_says(None);
        assert!(talk.is_over());
    }
}

//! Pauses of chosen requests, during which a test does something else.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::{faults::On, log::Request};

/// How long a test waits for a request to be paused.
const DEADLINE: Duration = Duration::from_secs(30);

/// The moment at which a request is paused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    /// The request was received, nothing was done.
    Asked,
    /// The answer is complete, nothing was sent.
    Answered,
}

/// The pauses that wait for their request.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<Vec<(On, Moment, Arc<Gate>)>>);

impl Pauses {
    pub(super) fn add(&self, on: On, moment: Moment) -> Paused {
        let gate = Arc::new(Gate::default());
        self.0.lock().push((on, moment, Arc::clone(&gate)));
        Paused { gate, on }
    }

    /// Takes the first pause for this request, which must then wait there.
    pub(super) fn take(&self, request: &Request, moment: Moment) -> Option<Arc<Gate>> {
        let mut pauses = self.0.lock();
        pauses.retain(|(_, _, gate)| !*gate.open.borrow());
        let at = pauses
            .iter()
            .position(|(on, when, _)| *when == moment && on.fits(request))?;
        Some(pauses.remove(at).2)
    }
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    reached: Mutex<bool>,
    bell: Condvar,
    open: watch::Sender<bool>,
}

impl Gate {
    pub(super) async fn wait(&self) {
        *self.reached.lock() = true;
        self.bell.notify_all();
        // An error would mean that the gate was dropped, and `self` still has it.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

/// A pause of one request. Dropping it releases the request.
#[must_use = "dropping it lets the request go"]
#[derive(Debug)]
pub struct Paused {
    gate: Arc<Gate>,
    on: On,
}

impl Paused {
    /// Waits until a request is paused; panics after 30 s.
    #[track_caller]
    pub fn reached(&self) {
        let mut reached = self.gate.reached.lock();
        self.gate
            .bell
            .wait_while_for(&mut reached, |reached| !*reached, DEADLINE);
        let reached = *reached;
        assert!(reached, "no request on {:?} came in {DEADLINE:?}", self.on);
    }

    /// Releases the request; if none has come, none will be paused.
    pub fn release(&self) {
        self.gate.open.send_replace(true);
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.release();
    }
}

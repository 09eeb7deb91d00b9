//! The pushes that are open: each from when the mirror was made fresh for it until its client has gone.

use std::{collections::HashMap, sync::Arc};

use common::protocol::Failure;
use parking_lot::{Mutex, MutexGuard};

use crate::{
    mirrors::{gate::ReadGuard, registry::Mirror},
    repository::quarantine::Quarantine,
};

/// The pushes of all mirrors, by their ids.
#[derive(Default)]
pub(crate) struct Pushes(Mutex<HashMap<String, Arc<Opened>>>);

/// A push that is open.
pub(crate) struct Opened {
    /// The mirror that it goes through.
    pub mirror: Mirror,
    /// Where what the client sends is kept until upstream has accepted it.
    pub quarantine: Quarantine,
    /// Why nothing can go to upstream, when it could not be asked.
    pub trouble: Option<Failure>,
    /// Keeps the mirror where it is.
    pub _reading: ReadGuard,
}

impl Pushes {
    /// Opens a push under an id.
    pub(crate) fn open(&self, id: &str, opened: Opened) {
        self.opened_by_id().insert(id.to_owned(), Arc::new(opened));
    }

    /// The push that is open under an id.
    pub(crate) fn opened(&self, id: &str) -> Option<Arc<Opened>> {
        self.opened_by_id().get(id).cloned()
    }

    /// Closes a push. What it has brought goes with it, unless it is being carried out.
    pub(crate) fn close(&self, id: &str) {
        self.opened_by_id().remove(id);
    }

    fn opened_by_id(&self) -> MutexGuard<'_, HashMap<String, Arc<Opened>>> {
        self.0.lock()
    }
}

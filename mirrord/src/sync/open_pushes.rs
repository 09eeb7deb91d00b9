//! The open pushes: a push is open from the sync before it until its client has disconnected.

use std::{collections::HashMap, sync::Arc};

use common::protocol::{Failure, SignIn};
use parking_lot::Mutex;

use crate::{
    mirrors::{gate::ReadGuard, registry::Mirror},
    repository::quarantine::Quarantine,
    upstream::ReceivePack,
};

/// The open pushes of all mirrors, by id.
#[derive(Default)]
pub(crate) struct OpenPushes(Mutex<HashMap<String, Arc<OpenPush>>>);

/// An open push.
pub(crate) struct OpenPush {
    /// The mirror that it goes through.
    pub mirror: Mirror,
    /// Where the client's objects are until upstream has accepted them.
    pub quarantine: Quarantine,
    /// Why upstream could not be asked, if so. Then nothing can be pushed to it.
    pub trouble: Option<Failure>,
    /// Whether the mirror's records are what upstream has.
    pub is_in_step: bool,
    /// What the client was given to sign in with.
    pub login: SignIn,
    /// Upstream's `git receive-pack`, where the daemon itself can send to it.
    pub receive_pack: Option<ReceivePack>,
    /// Keeps the mirror from being moved or removed.
    pub _reading: ReadGuard,
}

impl OpenPushes {
    /// Opens a push.
    pub(crate) fn open(&self, id: &str, push: OpenPush) {
        self.0.lock().insert(id.to_owned(), Arc::new(push));
    }

    /// The open push with this id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<OpenPush>> {
        self.0.lock().get(id).cloned()
    }

    /// Closes a push. Its quarantine is removed, unless its commands are being carried out.
    pub(crate) fn close(&self, id: &str) {
        self.0.lock().remove(id);
    }
}

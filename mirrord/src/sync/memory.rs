//! What a mirror's task remembers from one sync to the next. Losing it costs a request, never data.

use common::{address::upstream_url::UpstreamUrl, protocol::Failure};

use crate::{
    mirrors::registry::Mirror,
    repository::{plan::Advertisement, refs},
    upstream::{Access, Session},
};

/// How many sessions one mirror keeps open, one per login.
const MAX_SESSIONS: usize = 4;

/// What a mirror's task remembers.
#[derive(Default)]
pub(super) struct Memory {
    sessions: Vec<Session>,
    /// The advertisement that the wipe guard refused last.
    pub refused: Option<Refused>,
    /// Whether the objects that the refs name have been looked for in this daemon's life.
    pub has_checked_objects: bool,
    /// The advertisement that was applied last.
    pub applied: Option<Applied>,
}

/// An advertisement that the wipe guard refused.
pub(super) struct Refused {
    /// What upstream advertised.
    pub advertisement: Advertisement,
    /// The mirror, with the settings that it had.
    pub mirror: Mirror,
    /// How the sync failed.
    pub failure: Failure,
}

/// An advertisement that was applied in full: no ref was withheld.
#[derive(PartialEq, Eq)]
pub(super) struct Applied {
    /// What upstream advertised.
    pub advertisement: Advertisement,
    /// The mirror, with the settings that it had.
    pub mirror: Mirror,
    /// The refs afterwards.
    pub refs: refs::Stamp,
}

impl Memory {
    /// Takes the open session with this upstream and access, if there is one.
    pub(super) fn take_session(&mut self, url: &UpstreamUrl, access: &Access) -> Option<Session> {
        let index = self
            .sessions
            .iter()
            .position(|session| session.is_for(url, access))?;
        Some(self.sessions.remove(index))
    }

    /// Keeps a session open for the next sync, if it can go on.
    pub(super) fn keep_session(&mut self, session: Session) {
        if session.can_be_kept() {
            self.sessions.push(session);
            let surplus = self.sessions.len().saturating_sub(MAX_SESSIONS);
            self.sessions.drain(..surplus);
        }
    }

    /// Closes the open sessions, and forgets the logins that they know.
    pub(super) fn close_sessions(&mut self) {
        self.sessions.clear();
    }
}

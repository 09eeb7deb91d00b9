//! The limits on connections that are open at once.
//!
//! A client beyond the limit waits to be accepted. Long conversations have three quarters of the connections. The rest is
//! for short requests, which come also from the children of long conversations: without an answer to them a long one would
//! never end.

use common::protocol::{Failure, Request};
use rustix::process::{Resource, getrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Connections at most; each takes about two descriptors with the sync that it waits for.
const MAX_CONNECTIONS: usize = 2048;

/// Connections at least, however low the limit of descriptors is.
const MIN_CONNECTIONS: usize = 32;

/// The limits, and how many long conversations may still begin.
pub(crate) struct Connections {
    /// How many connections may be open.
    pub max: usize,
    max_long: usize,
    long: Semaphore,
}

impl Connections {
    /// Sets the limits by the descriptors of this process, half of which are left for its syncs.
    pub(crate) fn new() -> Self {
        let descriptors = getrlimit(Resource::Nofile).current;
        let descriptors = descriptors.and_then(|count| usize::try_from(count).ok());
        let max = (descriptors.unwrap_or(usize::MAX) / 2).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS);
        let max_long = max / 4 * 3;
        Self {
            max,
            max_long,
            long: Semaphore::new(max_long),
        }
    }

    /// Admits a request. The permit is to be kept for as long as its conversation lasts.
    ///
    /// # Errors
    /// Fails where there are as many long conversations as there may be.
    pub(crate) fn admit(&self, request: &Request) -> Result<Option<SemaphorePermit<'_>>, Failure> {
        if !takes_long(request) {
            return Ok(None);
        }
        self.long.try_acquire().map(Some).map_err(|_| {
            Failure::here(format!("mirrord serves {} clients already", self.max_long))
                .hinted("try again when some of them have ended")
        })
    }
}

/// Whether a conversation may last long: its client waits for a sync, reads a mirror, pushes, or follows the log.
fn takes_long(request: &Request) -> bool {
    matches!(
        request,
        Request::Fetch(_)
            | Request::Push(_)
            | Request::Add(_)
            | Request::Test(_)
            | Request::Sync(_)
            | Request::Accept(_)
            | Request::Log(_)
    )
}

#[cfg(test)]
mod tests {
    use common::protocol::Log;

    use super::*;

    #[test]
    fn long_conversations_leave_connections_for_short_ones() {
        let connections = Connections {
            max: 4,
            max_long: 3,
            long: Semaphore::new(3),
        };
        let follow = Request::Log(Log {
            mirror: None,
            count: None,
            follow: true,
        });
        let mut admitted: Vec<_> = (0..3).map(|_| connections.admit(&follow)).collect();
        assert!(admitted.iter().all(Result::is_ok));
        let refused = connections.admit(&follow).expect_err("it is one too many");
        assert_eq!(refused.message, "mirrord serves 3 clients already");
        assert!(connections.admit(&Request::Stop).is_ok());
        admitted.pop();
        assert!(connections.admit(&follow).is_ok(), "one has ended");
    }
}

//! How many connections are open at once.
//!
//! Whoever comes when there are too many waits to be accepted. Conversations that take long have a part of them: the rest
//! is for what the children of those conversations ask, without which they would never end.

use common::protocol::{Failure, Request};
use rustix::process::{Resource, getrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};

/// So many, where there are twice as many descriptors.
const MAX: usize = 2048;

/// Even with few descriptors.
const MIN: usize = 32;

/// The limits, and what is left of them.
pub(crate) struct Connections {
    /// How many may be open.
    pub max: usize,
    max_long: usize,
    long: Semaphore,
}

impl Connections {
    /// As many as this process has descriptors for, beside those of its syncs.
    pub(crate) fn new() -> Self {
        let descriptors = getrlimit(Resource::Nofile).current;
        let descriptors = descriptors.and_then(|count| usize::try_from(count).ok());
        let max = (descriptors.unwrap_or(usize::MAX) / 2).clamp(MIN, MAX);
        let max_long = max / 4 * 3;
        Self {
            max,
            max_long,
            long: Semaphore::new(max_long),
        }
    }

    /// Admits a request. What is returned is to live as long as its conversation.
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

/// Whether a client may stay for long: it waits for a sync, reads a mirror, pushes, or follows the log.
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
    fn those_who_stay_leave_room_for_what_is_short() {
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

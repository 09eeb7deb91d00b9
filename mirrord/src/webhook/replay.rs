//! The deliveries of the last minutes. A delivery that is sent again is answered like the first one and starts no sync.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::auth::DeliveryKey;

/// The number of deliveries that are remembered. One that is forgotten early costs one more sync.
const MAX_IDS: usize = 1 << 16;

/// Up to this number expired entries are not removed.
const MIN_IDS: usize = 1 << 10;

/// The deliveries that have been received, and until when each is remembered.
#[derive(Debug, Default)]
pub(super) struct ReplayCache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When each entry expires.
    expiry: HashMap<[u8; 32], Instant>,
    /// The number of entries at which the expired ones are removed.
    prune_at: usize,
}

impl ReplayCache {
    /// Records a delivery. Returns whether the same one has not been recorded before.
    pub(super) fn insert(&self, key: DeliveryKey, now: Instant) -> bool {
        let mut state = self.0.lock();
        if state
            .expiry
            .get(&key.digest)
            .is_some_and(|expiry| *expiry > now)
        {
            return false;
        }
        if state.expiry.len() >= state.prune_at {
            state.expiry.retain(|_, expiry| *expiry > now);
            if state.expiry.len() >= MAX_IDS {
                state.expiry.clear();
            }
            state.prune_at = (2 * state.expiry.len()).clamp(MIN_IDS, MAX_IDS);
        }
        state.expiry.insert(key.digest, now + key.lifetime);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(number: usize) -> DeliveryKey {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        let lifetime = Duration::from_secs(60);
        DeliveryKey { digest, lifetime }
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_that_is_replayed_a_thousand_times_is_new_once() {
        let cache = ReplayCache::default();
        let new = (0..1000).filter(|_| cache.insert(key(1), Instant::now()));
        assert_eq!(new.count(), 1);
        assert!(cache.insert(key(2), Instant::now()));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!cache.insert(key(1), Instant::now()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cache.insert(key(1), Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_remembered_deliveries_has_a_limit() {
        let cache = ReplayCache::default();
        for number in 0..3 * MAX_IDS {
            assert!(cache.insert(key(number), Instant::now()));
        }
        let remembered = cache.0.lock().expiry.len();
        assert!(remembered <= MAX_IDS, "{remembered}");
    }
}

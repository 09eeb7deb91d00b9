//! Which deliveries have come before: a replay of one is answered like it, and costs nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::time::Instant;

use super::auth::Mark;

/// More are not remembered: what is forgotten early costs one check more.
const MAX_IDS: usize = 1 << 16;

/// Below this nothing is tidied up.
const MIN_IDS: usize = 1 << 10;

/// Deliveries that have come, and until when each is remembered.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    until: HashMap<[u8; 32], Instant>,
    /// How many there may be before it is tidied up.
    room: usize,
}

impl Seen {
    /// Whether this is the first of its kind, as far as is remembered; from now on it is not.
    pub(super) fn is_news(&self, mark: Mark, now: Instant) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.until.get(&mark.of).is_some_and(|until| *until > now) {
            return false;
        }
        if seen.until.len() >= seen.room {
            seen.until.retain(|_, until| *until > now);
            if seen.until.len() >= MAX_IDS {
                seen.until.clear();
            }
            seen.room = (2 * seen.until.len()).clamp(MIN_IDS, MAX_IDS);
        }
        seen.until.insert(mark.of, now + mark.keep);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn mark(number: usize) -> Mark {
        let mut of = [0; 32];
        of[..8].copy_from_slice(&number.to_be_bytes());
        let keep = Duration::from_secs(60);
        Mark { of, keep }
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_replays_are_one_delivery() {
        let seen = Seen::default();
        let news = (0..1000).filter(|_| seen.is_news(mark(1), Instant::now()));
        assert_eq!(news.count(), 1);
        assert!(seen.is_news(mark(2), Instant::now()));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!seen.is_news(mark(1), Instant::now()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(seen.is_news(mark(1), Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_has_a_limit() {
        let seen = Seen::default();
        for number in 0..3 * MAX_IDS {
            assert!(seen.is_news(mark(number), Instant::now()));
        }
        let remembered = seen.0.lock().expect("nobody panicked").until.len();
        assert!(remembered <= MAX_IDS, "{remembered}");
    }
}

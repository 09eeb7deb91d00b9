//! How long a client waits for a sync without progress before it gets the copy: `stale-after`.

use std::time::Duration;

use tokio::{
    sync::watch::Receiver,
    time::{Instant, sleep_until},
};

/// A limit on the time without progress. The time begins anew with each progress, and stands still while a person is
/// asked something: how long a person takes says nothing of upstream.
pub(crate) struct WaitLimit<A> {
    limit: Duration,
    since: Instant,
    moves: Receiver<()>,
    asking: Receiver<Option<A>>,
}

impl<A> WaitLimit<A> {
    /// Makes the limit of a client that begins to wait now.
    pub(crate) fn new(limit: Duration, moves: Receiver<()>, asking: Receiver<Option<A>>) -> Self {
        Self {
            limit,
            since: Instant::now(),
            moves,
            asking,
        }
    }

    /// Resolves when there was no progress for as long as the limit.
    pub(crate) async fn reached(&mut self) {
        loop {
            // The other ends of both channels are dropped when the sync ends, and then the wait ends soon.
            tokio::select! {
                biased;
                Ok(()) = self.asking.changed() => {
                    let _ = self.asking.wait_for(Option::is_none).await;
                }
                Ok(()) = self.moves.changed() => {}
                () = sleep_until(self.since + self.limit) => {
                    if self.asking.borrow().is_none() {
                        return;
                    }
                    let _ = self.asking.wait_for(Option::is_none).await;
                }
            }
            self.since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        sync::watch::Sender,
        time::{advance, timeout},
    };

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A limit, what tells it of progress, and what tells it that a person is asked.
    fn waiting() -> (WaitLimit<u8>, Sender<()>, Sender<Option<u8>>) {
        let (moves, asking) = (Sender::default(), Sender::default());
        let limit = WaitLimit::new(LIMIT, moves.subscribe(), asking.subscribe());
        (limit, moves, asking)
    }

    async fn is_reached_within(limit: &mut WaitLimit<u8>, seconds: u64) -> bool {
        let reached = timeout(Duration::from_secs(seconds), limit.reached());
        reached.await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_lasts_as_long_as_it_is_set_and_no_longer() {
        let (mut limit, _moves, _asking) = waiting();
        assert!(!is_reached_within(&mut limit, 9).await);
        assert!(is_reached_within(&mut limit, 2).await);
        let begun = Instant::now();
        let (mut none, ..) = waiting();
        none.limit = Duration::ZERO;
        none.reached().await;
        assert!(begun.elapsed() < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn progress_renews_the_limit() {
        let (mut limit, moves, _asking) = waiting();
        for _ in 0..20 {
            assert!(!is_reached_within(&mut limit, 9).await);
            moves.send_replace(());
        }
        assert!(!is_reached_within(&mut limit, 9).await);
        assert!(is_reached_within(&mut limit, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_stands_still_while_a_person_is_asked() {
        let (mut limit, _moves, asking) = waiting();
        assert!(!is_reached_within(&mut limit, 5).await);
        asking.send_replace(Some(1));
        assert!(!is_reached_within(&mut limit, 1000).await);
        asking.send_replace(None);
        assert!(!is_reached_within(&mut limit, 9).await, "it begins anew");
        assert!(is_reached_within(&mut limit, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_between_two_waits_renews_the_limit() {
        let (mut limit, _moves, asking) = waiting();
        asking.send_replace(Some(1));
        advance(Duration::from_secs(100)).await;
        asking.send_replace(None);
        assert!(!is_reached_within(&mut limit, 9).await);
        assert!(is_reached_within(&mut limit, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_is_reached_also_when_no_progress_can_come_any_more() {
        let (mut limit, moves, asking) = waiting();
        drop((moves, asking));
        assert!(!is_reached_within(&mut limit, 9).await);
        assert!(is_reached_within(&mut limit, 2).await);
    }
}

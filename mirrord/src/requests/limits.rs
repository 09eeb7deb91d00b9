//! How long somebody who waits for a sync does so without seeing it move, where there is a copy to give them.

use std::time::Duration;

use tokio::{
    sync::watch::Receiver,
    time::{Instant, sleep_until},
};

/// The patience of one who waits. It begins anew whenever something moves, and rests while somebody is being asked
/// something: how long a person takes says nothing of upstream.
pub(crate) struct WaitLimit<A> {
    limit: Duration,
    since: Instant,
    moves: Receiver<()>,
    asking: Receiver<Option<A>>,
}

impl<A> WaitLimit<A> {
    /// The patience of somebody who has just begun to wait.
    pub(crate) fn new(limit: Duration, moves: Receiver<()>, asking: Receiver<Option<A>>) -> Self {
        Self {
            limit,
            since: Instant::now(),
            moves,
            asking,
        }
    }

    /// Resolves when it is at its end.
    pub(crate) async fn ends(&mut self) {
        loop {
            // Where nobody is left who could move or ask anything, the end of the wait is near.
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

    /// Somebody who waits, what moves, and who is asked.
    fn waiting() -> (WaitLimit<u8>, Sender<()>, Sender<Option<u8>>) {
        let (moves, asking) = (Sender::default(), Sender::default());
        let patience = WaitLimit::new(LIMIT, moves.subscribe(), asking.subscribe());
        (patience, moves, asking)
    }

    async fn ends_within(patience: &mut WaitLimit<u8>, seconds: u64) -> bool {
        let ends = timeout(Duration::from_secs(seconds), patience.ends());
        ends.await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn it_lasts_as_long_as_it_is_set_and_no_longer() {
        let (mut patience, _moves, _asking) = waiting();
        assert!(!ends_within(&mut patience, 9).await);
        assert!(ends_within(&mut patience, 2).await);
        let begun = Instant::now();
        let (mut none, ..) = waiting();
        none.limit = Duration::ZERO;
        none.ends().await;
        assert!(begun.elapsed() < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_moves_renews_it() {
        let (mut patience, moves, _asking) = waiting();
        for _ in 0..20 {
            assert!(!ends_within(&mut patience, 9).await);
            moves.send_replace(());
        }
        assert!(!ends_within(&mut patience, 9).await);
        assert!(ends_within(&mut patience, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn it_rests_while_somebody_is_asked() {
        let (mut patience, _moves, asking) = waiting();
        assert!(!ends_within(&mut patience, 5).await);
        asking.send_replace(Some(1));
        assert!(!ends_within(&mut patience, 1000).await);
        asking.send_replace(None);
        assert!(!ends_within(&mut patience, 9).await, "it begins anew");
        assert!(ends_within(&mut patience, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_was_given_while_nobody_looked_renews_it() {
        let (mut patience, _moves, asking) = waiting();
        asking.send_replace(Some(1));
        advance(Duration::from_secs(100)).await;
        asking.send_replace(None);
        assert!(!ends_within(&mut patience, 9).await);
        assert!(ends_within(&mut patience, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_also_when_those_who_could_move_something_are_gone() {
        let (mut patience, moves, asking) = waiting();
        drop((moves, asking));
        assert!(!ends_within(&mut patience, 9).await);
        assert!(ends_within(&mut patience, 2).await);
    }
}

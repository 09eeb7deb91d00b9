//! Waiting for a sync: to its end, or until there is no patience left and a copy to be given instead.

use crate::{
    process::watch::cancelled,
    requests::limits::WaitLimit,
    sync::{Outcome, Pending},
    upstream::Trouble,
};
use std::time::Duration;

use common::{
    protocol::{Cause, Failure, FailureKind, Stale, wire::WireError},
    text::time_span,
};

use super::{Purpose, Request, Source, login::elsewhere};

/// What waiting came to.
pub(super) enum Waited {
    /// The sync has ended so.
    Ended(Box<Result<Outcome, Trouble>>),
    /// It goes on without this request; this is to be said with the copy.
    OutOfPatience(Failure),
}

impl Request<'_> {
    /// Waits for a sync to its end, or as long as patience lasts. Whoever has no copy to be given has all the patience that
    /// there is.
    pub(super) async fn wait(
        &mut self,
        mut pending: Pending,
        purpose: &Purpose,
    ) -> Result<Waited, WireError> {
        let limit = self.stale_after(purpose);
        let mut ended = self.wait_for(&mut pending, limit).await?;
        if ended.is_none() {
            if let Some(limit) = limit
                && let Some(failure) = self.out_of_patience(limit).await?
            {
                self.engine.record_hang(&self.target, limit);
                pending.leave();
                return Ok(Waited::OutOfPatience(failure));
            }
            ended = self.wait_for(&mut pending, None).await?;
        }
        let ended = ended.unwrap_or_else(|| Err(cancelled().into()));
        Ok(Waited::Ended(Box::new(ended)))
    }

    /// What is said with the copy, where it is known that upstream gives no answer: whoever fetches then need not wait for
    /// that again. One sync goes on behind, for whoever comes next.
    pub(super) async fn hanging(
        &mut self,
        purpose: &Purpose,
    ) -> Result<Option<Failure>, WireError> {
        let limit = self.stale_after(purpose);
        let lasts = limit.and_then(|limit| self.engine.hangs(&self.target, limit));
        let Some(lasts) = lasts else {
            return Ok(None);
        };
        let failure = self.out_of_patience(lasts).await?;
        if failure.is_some() && self.engine.is_to_be_tried(&self.target) {
            let (access, wish) = (self.access(), self.wish(Cause::Fetch));
            self.engine.sync(&self.target, access, wish, false).leave();
        }
        Ok(failure)
    }

    /// Waits for a sync; `None` when that did not move for so long.
    async fn wait_for(
        &mut self,
        pending: &mut Pending,
        limit: Option<Duration>,
    ) -> Result<Option<Result<Outcome, Trouble>>, WireError> {
        let Pending {
            progress,
            outcome,
            questions,
            asking,
            moves,
        } = pending;
        let mut patience = limit.map(|limit| WaitLimit::new(limit, moves.clone(), asking.clone()));
        let (host, url, can_ask) = (self.host(), self.target.url.clone(), self.fetch.can_ask);
        let fingerprint = self.access().fingerprint();
        let outcome = async move {
            let out_of_patience = async {
                match &mut patience {
                    Some(patience) => patience.ends().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                outcome = outcome => Some(outcome.unwrap_or_else(|_| Err(cancelled().into()))),
                // Alone it would fail at once for want of that answer; and how long a person takes, nobody knows.
                Ok(_) = asking.wait_for(|asked| *asked == Some(fingerprint)), if !can_ask => {
                    Some(Err(elsewhere(&url).into()))
                }
                () = out_of_patience => None,
            }
        };
        let waited = self
            .conversation
            .wait_asked(&host, progress, questions, outcome);
        waited.await
    }

    /// How long this request waits for a sync that does not move before it gets the copy, where it would at all.
    fn stale_after(&self, purpose: &Purpose) -> Option<Duration> {
        if !matches!(purpose, Purpose::Read) {
            return None;
        }
        let mirror = self.engine.registry.at(&self.target.git_dir).ok()??;
        let rules = &mirror.settings.rules;
        let stale = self.fetch.stale.unwrap_or(rules.stale);
        (stale == Stale::Serve).then_some(rules.stale_after)
    }

    /// What is said when a sync has `waited` for too long; `None` when this request has no copy to be given.
    async fn out_of_patience(&mut self, waited: Duration) -> Result<Option<Failure>, WireError> {
        let found = self.engine.registry.at(&self.target.git_dir).ok().flatten();
        let Some(mirror) = found.filter(|found| self.engine.state(found).synced.is_some()) else {
            return Ok(None);
        };
        let mut known = self.has_read(&mirror).await;
        // The sync began with none, as git does, and upstream has had no chance to ask for one.
        if !known && self.login.is_none() && self.may_ask() && self.ask(Vec::new()).await? {
            known = self.has_read(&mirror).await;
            if !known {
                (self.login, self.source) = (None, Source::Nowhere);
            }
        }
        let after = time_span(waited.as_secs());
        let message = format!("no answer from '{}' for {after} so far", self.target.url);
        Ok(known.then(|| Failure::new(FailureKind::Unreachable, message)))
    }
}

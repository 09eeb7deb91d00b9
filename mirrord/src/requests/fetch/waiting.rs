//! Waits for a sync: to its end, or for `stale-after` where the client can have the copy instead.

use crate::{
    process::watch::cancelled,
    sync::{Outcome, Pending},
    upstream::Trouble,
};
use std::time::Duration;

use common::{
    protocol::{Failure, FailureKind, Stale, wire::WireError},
    text::time_span,
};

use super::{MirrorRequest, Purpose, login::asked_at_another_terminal, wait_limit::WaitLimit};

/// How waiting for a sync ends.
pub(super) enum Waited {
    /// The sync has ended, with this result.
    Ended(Box<Result<Outcome, Trouble>>),
    /// The sync goes on without this request, which gets the copy; the failure says so with it.
    TooLong(Failure),
}

impl MirrorRequest<'_> {
    /// Waits for a sync to its end, or for `stale-after` without progress. A client that can have no copy waits to the end.
    pub(super) async fn wait_for_sync(
        &mut self,
        mut pending: Pending,
        purpose: &Purpose,
    ) -> Result<Waited, WireError> {
        let limit = self.stale_after(purpose);
        let mut ended = self.wait_within(&mut pending, limit).await?;
        if ended.is_none() {
            if let Some(limit) = limit
                && let Some(failure) = self.no_answer_for(limit).await?
            {
                self.engine.record_hang(&self.target, limit);
                pending.detach();
                return Ok(Waited::TooLong(failure));
            }
            ended = self.wait_within(&mut pending, None).await?;
        }
        let ended = ended.unwrap_or_else(|| Err(cancelled().into()));
        Ok(Waited::Ended(Box::new(ended)))
    }

    /// The failure to serve the copy with, where upstream is known to give no answer: not every fetch waits for that again.
    /// One sync is started in the background, so that the next fetch knows whether upstream answers by then.
    pub(super) async fn known_to_hang(
        &mut self,
        purpose: &Purpose,
    ) -> Result<Option<Failure>, WireError> {
        let limit = self.stale_after(purpose);
        let hanging_for = limit.and_then(|limit| self.engine.hang_duration(&self.target, limit));
        let Some(hanging_for) = hanging_for else {
            return Ok(None);
        };
        let failure = self.no_answer_for(hanging_for).await?;
        if failure.is_some() && self.engine.claim_retry(&self.target) {
            let (access, options) = (self.access(), self.sync_options(purpose));
            self.engine
                .request_sync(&self.target, access, options, false)
                .detach();
        }
        Ok(failure)
    }

    /// Waits for a sync; `None` when it has made no progress for as long as the limit.
    async fn wait_within(
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
        let mut limit = limit.map(|limit| WaitLimit::new(limit, moves.clone(), asking.clone()));
        let (host, url, can_ask) = (self.host(), self.target.url.clone(), self.fetch.can_ask);
        let fingerprint = self.access().fingerprint();
        let outcome = async move {
            let too_long = async {
                match &mut limit {
                    Some(limit) => limit.reached().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                outcome = outcome => Some(outcome.unwrap_or_else(|_| Err(cancelled().into()))),
                // Somebody else is being asked for this login. This client cannot be asked, so it fails now.
                Ok(_) = asking.wait_for(|asked| *asked == Some(fingerprint)), if !can_ask => {
                    Some(Err(asked_at_another_terminal(&url).into()))
                }
                () = too_long => None,
            }
        };
        let waited = self
            .conversation
            .wait_with_questions(&host, progress, questions, outcome);
        waited.await
    }

    /// How long this request waits for a sync without progress before it gets the copy; `None` where it gets none.
    fn stale_after(&self, purpose: &Purpose) -> Option<Duration> {
        if !matches!(purpose, Purpose::Read) {
            return None;
        }
        let mirror = self
            .engine
            .registry
            .mirror_at(&self.target.git_dir)
            .ok()??;
        let rules = &mirror.settings.rules;
        let stale = self.fetch.stale.unwrap_or(rules.stale);
        (stale == Stale::Serve).then_some(rules.stale_after)
    }

    /// The failure of an upstream that has given no answer for so long; `None` when this request can have no copy.
    async fn no_answer_for(&mut self, waited: Duration) -> Result<Option<Failure>, WireError> {
        let found = self
            .engine
            .registry
            .mirror_at(&self.target.git_dir)
            .ok()
            .flatten();
        let Some(mirror) = found.filter(|found| self.engine.state(found).synced.is_some()) else {
            return Ok(None);
        };
        let mut may_read = self.has_read(&mirror).await;
        // The sync began without a login, as git does, and upstream has had no chance to ask for one.
        if !may_read
            && self.login.is_none()
            && self.login_may_help()
            && self.ask_for_login(Vec::new()).await?
        {
            may_read = self.has_read(&mirror).await;
            if !may_read {
                self.forget_login();
            }
        }
        let after = time_span(waited.as_secs());
        let message = format!("no answer from '{}' for {after} so far", self.target.url);
        Ok(may_read.then(|| Failure::new(FailureKind::Unreachable, message)))
    }
}

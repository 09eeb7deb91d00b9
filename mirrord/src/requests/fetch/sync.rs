//! Asks the engine for a sync, and follows what comes of it: another login, a redirect, the copy instead.

use common::protocol::{Failure, FailureKind};

use super::{MAX_REDIRECTS, MirrorRequest, Purpose, ReadableMirror, stale, waiting::Waited};
use crate::{
    mirrors::{registry::Mirror, repairs},
    requests::error::RequestError,
    sync::Outcome,
};

impl MirrorRequest<'_> {
    /// Has the mirror synced, with one login after the other, until the sync succeeds or nothing is left to try. Then the
    /// copy is served, where the purpose allows that.
    ///
    /// # Errors
    /// Fails where upstream gives no answer and the copy is not served.
    pub(crate) async fn sync_with_logins(
        &mut self,
        purpose: &Purpose,
    ) -> Result<ReadableMirror, RequestError> {
        let mut redirects = 0;
        loop {
            if let Some(failure) = self.reason_not_to_sync(purpose).await? {
                return Box::pin(self.serve_copy(failure, purpose)).await;
            }
            let (access, options) = (self.access(), self.sync_options(purpose));
            let can_ask = self.fetch.can_ask;
            let pending = self
                .engine
                .request_sync(&self.target, access.clone(), options, can_ask);
            let ended = match self.wait_for_sync(pending, purpose).await? {
                Waited::Ended(ended) => *ended,
                Waited::TooLong(failure) => {
                    return Box::pin(self.serve_copy(failure, purpose)).await;
                }
            };
            match ended {
                Ok(Outcome::InStep {
                    mirror,
                    warnings,
                    changed_refs,
                    changed,
                    signed_in_by_git,
                    download,
                    reached,
                    ..
                }) => {
                    let synced = Box::pin(self.read_synced(*mirror, warnings, purpose)).await;
                    // Somebody has removed or moved it just now.
                    let Some(mut synced) = synced else {
                        continue;
                    };
                    self.record_reader(&synced.mirror, &access, changed, signed_in_by_git)
                        .await?;
                    self.record_spelling(&synced.mirror);
                    (synced.changed_refs, synced.download) = (changed_refs, download);
                    synced.reached = reached;
                    return Ok(synced);
                }
                // Somebody has moved or removed it since it was resolved.
                Ok(Outcome::Gone) if redirects < MAX_REDIRECTS => {
                    redirects += 1;
                    self.resolve_again()?;
                }
                Ok(Outcome::Moved(to)) if redirects < MAX_REDIRECTS => {
                    redirects += 1;
                    self.follow_redirect(&to)?;
                }
                Ok(outcome) => return Err(self.not_found(&outcome).into()),
                Err(trouble) => {
                    if trouble.failure.kind == FailureKind::Wiped {
                        self.record_reader_of_wiped(&access).await?;
                    }
                    if self.try_another_login(&trouble).await? {
                        continue;
                    }
                    let failure = self.explain_to_git(trouble);
                    return Box::pin(self.serve_copy(failure, purpose)).await;
                }
            }
        }
    }

    /// Why no sync is asked for: the mirror's own credential cannot be had, the host wants no requests for a while, or
    /// upstream is known to give no answer.
    async fn reason_not_to_sync(
        &mut self,
        purpose: &Purpose,
    ) -> Result<Option<Failure>, RequestError> {
        // In a box: what a sync does not need while it runs is not kept for each of a thousand waiting clients.
        match Box::pin(self.load_own_credential()).await {
            Ok(()) => {}
            Err(RequestError::Failed(failure)) => {
                let options = self.sync_options(purpose);
                self.engine
                    .journal_failure(&self.target, &options, &failure);
                return Ok(Some(failure));
            }
            Err(disconnected) => return Err(disconnected),
        }
        if let Some(failure) = self.host_wants_no_requests(purpose) {
            return Ok(Some(failure));
        }
        if let Some(failure) = Box::pin(self.find_proxy_login()).await? {
            let options = self.sync_options(purpose);
            self.engine
                .journal_failure(&self.target, &options, &failure);
            return Ok(Some(failure));
        }
        Box::pin(self.sign_in_proactively()).await?;
        Ok(Box::pin(self.known_to_hang(purpose)).await?)
    }

    /// Opens the mirror of a sync that has succeeded; `None` when it is no longer there.
    async fn read_synced(
        &mut self,
        mirror: Mirror,
        mut warnings: Vec<String>,
        purpose: &Purpose,
    ) -> Option<ReadableMirror> {
        if matches!(purpose, Purpose::Read) {
            warnings.extend(stale::recovered(&mirror));
            warnings.extend(repairs::take(&mirror.git_dir));
        }
        self.open_for_reading(mirror, warnings, None, purpose).await
    }
}

//! Serves the copy without asking upstream: because it is fresh enough, or because upstream gives no answer. Then the
//! client is told how old the copy is.

use std::time::SystemTime;

use common::{
    protocol::{Aged, Failure, FailureKind, Lack, OrFailure, Stale},
    refspec::OnDemand,
    text::time_span,
};
use gix::{ObjectId, bstr::ByteSlice};

use super::{MirrorRequest, Purpose, ReadableMirror};
use crate::{
    mirrors::{registry::Mirror, repairs},
    process::blocking::blocking,
    repository::{damage, local_refs, on_demand, refs, unserved},
    requests::{
        error::RequestError,
        freshness::{self, Freshness},
    },
    sync::{Failed, take_mended},
};

impl MirrorRequest<'_> {
    /// The mirror as it is, where its settings say that upstream need not be asked, and this login has read it before.
    pub(super) async fn fresh_copy(&mut self, purpose: &Purpose) -> Option<ReadableMirror> {
        if !matches!(purpose, Purpose::Read) {
            return None;
        }
        let mirror = self
            .engine
            .registry
            .mirror_at(&self.target.git_dir)
            .ok()??;
        // A pack that was laid aside is fetched again from upstream.
        if damage::needs_full_fetch(&mirror.git_dir).unwrap_or(true) {
            return None;
        }
        // A sync repairs refs that cannot be read without upstream, or says why it cannot.
        if verify_refs(&mirror).await.is_err() || refs::lost_reason(&mirror.git_dir).is_some() {
            return None;
        }
        // Objects that a partial clone has left out do not change.
        if self.fetch.lacks == Lack::LeftOut && self.has_read(&mirror).await {
            return self
                .open_for_reading(mirror, Vec::new(), None, purpose)
                .await;
        }
        // After a push that was not settled, or a change of the refspecs, only upstream knows.
        if self.engine.gates.gate(&mirror.git_dir).is_in_doubt() {
            return None;
        }
        let mut warnings = self.judge_freshness(&mirror)?;
        if !self.has_read(&mirror).await {
            tracing::debug!("decision: upstream is asked, this login has not read the copy yet");
            return None;
        }
        if !self.is_all_tracked(&mirror) {
            tracing::debug!("decision: upstream is asked, for what is not tracked");
            return None;
        }
        tracing::debug!("decision: served from the copy, it is fresh by its settings");
        warnings.extend(recovered(&mirror));
        warnings.extend(repairs::take(&mirror.git_dir));
        warnings.extend(withheld(&mirror));
        self.open_for_reading(mirror, warnings, None, purpose).await
    }

    /// Whether the copy has all that the client may want, because it is tracked or does not change.
    fn is_all_tracked(&self, mirror: &Mirror) -> bool {
        let wanted = self.untracked(mirror);
        if wanted.is_empty() {
            return true;
        }
        let (Ok(refs), Ok(repo)) = (refs::read(&mirror.git_dir), refs::open(&mirror.git_dir))
        else {
            return false;
        };
        let is_shown = |name: &[u8]| refs.contains_key(name.as_bstr());
        let has_object = |object: &str| {
            let oid = ObjectId::from_hex(object.as_bytes());
            oid.is_ok_and(|oid| repo.has_object(oid))
        };
        wanted.without(is_shown, has_object).is_empty()
    }

    /// What the client may want beside what the mirror tracks.
    fn untracked(&self, mirror: &Mirror) -> OnDemand {
        self.on_demand().untracked(&mirror.settings.rules.track)
    }

    /// The warnings to serve the copy with; `None` when upstream must be asked.
    fn judge_freshness(&self, mirror: &Mirror) -> Option<Vec<String>> {
        let state = self.engine.state(mirror);
        let failing = state.failing_for(&self.access()).cloned();
        let freshness = freshness::judge(
            &mirror.settings.rules,
            state.synced,
            failing.is_some(),
            SystemTime::now(),
            self.engine.config().remind_after,
        );
        match freshness {
            Freshness::AskUpstream => {
                tracing::debug!(
                    "decision: upstream is asked, the copy is older than its settings allow"
                );
                None
            }
            Freshness::Fresh => Some(Vec::new()),
            Freshness::Aged(age) => {
                let age = age.map_or("of unknown age".to_owned(), |age| {
                    format!("synced {} ago", time_span(age.as_secs()))
                });
                let reason = failing.map(|reason| format!(": {reason}"));
                let reason = reason.unwrap_or_default();
                Some(vec![format!("serving the copy {age}{reason}")])
            }
        }
    }

    /// Why upstream is not asked now, where its host has sent `Retry-After`. A client without a copy asks all the same,
    /// and so does `mirrord sync`.
    pub(super) fn host_wants_no_requests(&self, purpose: &Purpose) -> Option<Failure> {
        let rest = self.engine.schedule.backoff(&self.target.url)?;
        let has_copy = self.target.git_dir.exists();
        let takes_copy = !matches!(purpose, Purpose::Sync(_)) && has_copy;
        (rest.has_retry_after && takes_copy).then(|| *rest.refusal(&self.target.url).failure)
    }

    /// Serves the copy with its age, where the purpose, the settings and the client's login allow that.
    ///
    /// # Errors
    /// Fails with the `failure` for which upstream could not be asked, where the copy is not served.
    pub(super) async fn serve_copy(
        &mut self,
        mut failure: Failure,
        purpose: &Purpose,
    ) -> Result<ReadableMirror, RequestError> {
        let Ok(Some(mirror)) = self.engine.registry.mirror_at(&self.target.git_dir) else {
            return Err(failure.into());
        };
        if failure.kind == FailureKind::CannotMirror {
            // There is a mirror: nobody goes past what it has.
            failure.kind = FailureKind::Refused;
        }
        verify_refs(&mirror).await?;
        if let Some(reason) = refs::lost_reason(&mirror.git_dir) {
            // The refs that are left are not all that upstream had.
            return Err(failure.hinted(reason).into());
        }
        let synced = self.engine.state(&mirror).synced;
        // An empty mirror that was never in step is not what upstream has.
        let is_empty = || refs::read(&mirror.git_dir).is_ok_and(|refs| refs.is_empty());
        let is_unfilled = synced.is_none() && is_empty();
        if !self.may_serve_stale(&mirror, &failure, purpose)
            || failure.kind == FailureKind::Cancelled
            || is_unfilled
        {
            return Err(failure.into());
        }
        // The copy would show a part of what is wanted as if it were all, and `--prune` would delete the rest.
        let never_asked = match purpose {
            Purpose::Read => {
                let wanted = self.untracked(&mirror);
                on_demand::never_asked(&mirror.git_dir, &wanted, SystemTime::now())
            }
            Purpose::Push | Purpose::Sync(_) => None,
        };
        if let Some(pattern) = never_asked {
            let hint = format!("there is a copy here, but without '{pattern}'");
            return Err(failure.hinted(hint).into());
        }
        let mut may_read = self.has_read || self.has_read(&mirror).await;
        // Upstream had no chance to ask for a login; one that has read it before is as good today.
        if !may_read
            && self.login.is_none()
            && self.login_may_help()
            && self.ask_for_login(Vec::new()).await?
        {
            may_read = self.has_read(&mirror).await;
        }
        if matches!(purpose, Purpose::Push) {
            let key = self.credential_key();
            may_read |= self.engine.credentials.has_read_from(&mirror.git_dir, &key);
        }
        if !may_read {
            let hint = "there is a copy here, but this login has never read it from upstream";
            return Err(failure.hinted(hint).into());
        }
        // With a clock that was set back, the age is unknown.
        let age = synced.and_then(|synced| SystemTime::now().duration_since(synced).ok());
        let aged = Aged {
            seconds: age.map(|age| age.as_secs()),
            reason: failure.message.clone(),
            // A reader is served and has nothing to do. Somebody who pushes, or whose upstream looks wiped, has.
            hint: failure
                .hint
                .clone()
                .filter(|_| failure.kind == FailureKind::Wiped || matches!(purpose, Purpose::Push)),
        };
        tracing::debug!("decision: stale, {}", failure.message);
        let mut warnings = withheld(&mirror);
        if matches!(purpose, Purpose::Read) {
            warnings.extend(repairs::take(&mirror.git_dir));
        }
        let copy = self.open_for_reading(mirror, warnings, Some(aged), purpose);
        let Some(mut copy) = copy.await else {
            return Err(failure.into());
        };
        copy.trouble = Some(failure);
        Ok(copy)
    }

    /// Whether a stale copy is an answer, for this purpose and by the settings of the mirror and of the client.
    fn may_serve_stale(&self, mirror: &Mirror, failure: &Failure, purpose: &Purpose) -> bool {
        let is_refused = matches!(
            failure.kind,
            FailureKind::Refused | FailureKind::LoginNeeded
        );
        match (purpose, self.fetch.stale) {
            (Purpose::Sync(_), _) => false,
            // Tracked refs of the push will fail with the reason; local ones need no upstream.
            (Purpose::Push, _) | (Purpose::Read, Some(Stale::Serve)) => true,
            (Purpose::Read, Some(Stale::Fail)) => false,
            (Purpose::Read, None) => !is_refused && mirror.settings.rules.stale == Stale::Serve,
        }
    }
}

/// Checks that the refs of a mirror can be read, and repairs them where that needs no upstream.
async fn verify_refs(mirror: &Mirror) -> Result<(), Failure> {
    let git_dir = mirror.git_dir.clone();
    let verifying = move || refs::verify(&git_dir).or_failure("cannot read the mirror's refs");
    blocking(verifying).await
}

/// The warning that syncs have failed and do so no longer; the first client that fetches afterwards gets it.
pub(super) fn recovered(mirror: &Mirror) -> Option<String> {
    let Failed {
        message,
        since,
        synced,
        ..
    } = take_mended(&mirror.git_dir)?;
    // An older daemon has not recorded when the mirror was last in step.
    let since = synced.or(since);
    let time = since.and_then(|since| SystemTime::now().duration_since(since).ok());
    let time = time.map(|time| format!(" after {}", time_span(time.as_secs())));
    Some(format!(
        "in step again{}: {message}",
        time.unwrap_or_default()
    ))
}

/// Names the refs of upstream that the mirror does not show. Each fetch that does not sync gets these warnings; a sync
/// finds them itself.
fn withheld(mirror: &Mirror) -> Vec<String> {
    let refs = refs::read(&mirror.git_dir).unwrap_or_default();
    let track = &mirror.settings.rules.track;
    let withheld = local_refs::withheld(&refs, track).into_iter();
    let unserved = unserved::read(&mirror.git_dir).into_iter();
    let unserved = unserved.filter_map(|unserved| unserved.line(&refs, track));
    local_refs::shortened(
        withheld
            .map(|withheld| withheld.line)
            .chain(unserved)
            .collect(),
    )
}

//! What is said of an answer that upstream was not asked for, or could not be.

use std::time::SystemTime;

use common::{
    protocol::{Aged, Failure, FailureKind, Lack, OrFailure, Ready, Stale, wire::WireError},
    text::time_span,
};

use super::{Fetched, Purpose, Request};
use crate::{
    mirrors::{registry::Mirror, repairs},
    process::blocking::blocking,
    repository::{changed, damage, local_refs, refs, unserved},
    requests::freshness::{self, Freshness},
    sync::{Download, Failed, take_mended},
};

impl Request<'_> {
    /// The mirror as it is, where its settings say that upstream need not be asked, and this login has read it before.
    pub(super) async fn as_fresh_as_wanted(&mut self, purpose: &Purpose) -> Option<Fetched> {
        if !matches!(purpose, Purpose::Read) {
            return None;
        }
        let mirror = self.engine.registry.at(&self.target.git_dir).ok()??;
        // What was laid aside, upstream is asked for.
        if damage::needs_full_fetch(&mirror.git_dir).unwrap_or(true) {
            return None;
        }
        // What cannot be repaired without upstream, a sync repairs, or it says why it cannot.
        if verify(&mirror).await.is_err() || refs::lost_reason(&mirror.git_dir).is_some() {
            return None;
        }
        // What was left out of what was read here does not change.
        if self.fetch.lacks == Lack::LeftOut && self.has_read(&mirror).await {
            return self.ready(mirror, Vec::new(), None, None).await;
        }
        // After a push that nobody has settled, or a change of what is tracked, only upstream knows.
        if self.engine.gates.of(&mirror.git_dir).is_in_doubt() {
            return None;
        }
        let state = self.engine.state(&mirror);
        let failing = state.failing_for(&self.access()).cloned();
        let now = SystemTime::now();
        let remind_after = self.engine.config().remind_after;
        let mut warnings = match freshness::judge(
            &mirror.settings.rules,
            state.synced,
            failing.is_some(),
            now,
            remind_after,
        ) {
            Freshness::Ask => {
                tracing::debug!(
                    "decision: upstream is asked, the copy is older than its settings allow"
                );
                return None;
            }
            Freshness::Fresh => Vec::new(),
            Freshness::Aged(age) => {
                let age = age.map_or("of unknown age".to_owned(), |age| {
                    format!("synced {} ago", time_span(age.as_secs()))
                });
                let why = failing.map(|reason| format!(": {reason}"));
                vec![format!("serving the copy {age}{}", why.unwrap_or_default())]
            }
        };
        if !self.has_read(&mirror).await {
            tracing::debug!("decision: upstream is asked, this login has not read the copy yet");
            return None;
        }
        tracing::debug!("decision: served from the copy, it is fresh by its settings");
        warnings.extend(over(&mirror));
        warnings.extend(repairs::take(&mirror.git_dir));
        warnings.extend(held(&mirror));
        self.ready(mirror, warnings, None, None).await
    }

    /// Why upstream is not asked now, where it has said for how long it wants to be left alone. Whoever has no copy to be
    /// content with asks all the same, and so does whoever says that it is to be.
    pub(super) fn left_alone(&self, purpose: &Purpose) -> Option<Failure> {
        let rest = self.engine.schedule.rest(&self.target.url)?;
        let is_content = !matches!(purpose, Purpose::Sync(_)) && self.target.git_dir.exists();
        (rest.asked_for && is_content).then(|| rest.refusal(&self.target.url).failure)
    }

    /// What is said when upstream could not be asked: the copy that is here with its age, or the failure.
    pub(super) async fn without_upstream(
        &mut self,
        failure: Failure,
        purpose: &Purpose,
    ) -> Result<Result<Fetched, Failure>, WireError> {
        let Ok(Some(mirror)) = self.engine.registry.at(&self.target.git_dir) else {
            return Ok(Err(failure));
        };
        if let Err(failure) = verify(&mirror).await {
            return Ok(Err(failure));
        }
        if let Some(why) = refs::lost_reason(&mirror.git_dir) {
            // What is left is not all that upstream had.
            return Ok(Err(failure.hinted(why)));
        }
        let refused = matches!(
            failure.kind,
            FailureKind::Refused | FailureKind::LoginNeeded
        );
        let serve = match (purpose, self.fetch.stale) {
            (Purpose::Sync(_), _) => false,
            // What goes upstream will fail with the reason; what stays here needs nobody.
            (Purpose::Push, _) | (Purpose::Read, Some(Stale::Serve)) => true,
            (Purpose::Read, Some(Stale::Fail)) => false,
            (Purpose::Read, None) => !refused && mirror.settings.rules.stale == Stale::Serve,
        };
        let synced = self.engine.state(&mirror).synced;
        // What has never been in step is nobody's answer.
        let is_empty = || refs::read(&mirror.git_dir).is_ok_and(|refs| refs.is_empty());
        let never = synced.is_none() && is_empty();
        if !serve || failure.kind == FailureKind::Cancelled || never {
            return Ok(Err(failure));
        }
        let mut known = self.has_read || self.has_read(&mirror).await;
        // Upstream had no chance to ask for a login; one that has read it before is as good today.
        if !known && self.login.is_none() && self.may_ask() && self.ask(Vec::new()).await? {
            known = self.has_read(&mirror).await;
        }
        if matches!(purpose, Purpose::Push) {
            known |= self
                .engine
                .credentials
                .knows(&mirror.git_dir, &self.place());
        }
        if !known {
            let hint = "there is a copy here, but this login has never read it from upstream";
            return Ok(Err(failure.hinted(hint)));
        }
        // By a clock that was set back, nobody knows how long ago it was.
        let age = synced.and_then(|synced| SystemTime::now().duration_since(synced).ok());
        let aged = Aged {
            seconds: age.map(|age| age.as_secs()),
            reason: failure.message.clone(),
            // Whoever reads is served; whoever pushes, or is asked whether upstream is meant so, has something to do.
            hint: failure
                .hint
                .clone()
                .filter(|_| failure.kind == FailureKind::Wiped || matches!(purpose, Purpose::Push)),
        };
        tracing::debug!("decision: stale, {}", failure.message);
        let mut warnings = held(&mirror);
        if matches!(purpose, Purpose::Read) {
            warnings.extend(repairs::take(&mirror.git_dir));
        }
        let Some(mut fetched) = self.ready(mirror, warnings, Some(aged), None).await else {
            return Ok(Err(failure));
        };
        fetched.trouble = Some(failure);
        Ok(Ok(fetched))
    }

    /// The mirror, to be read from now on; when it is no longer there `gone`, if anything.
    pub(super) async fn ready(
        &self,
        mirror: Mirror,
        mut warnings: Vec<String>,
        stale: Option<Aged>,
        gone: Option<Mirror>,
    ) -> Option<Fetched> {
        let reading = self.engine.gates.of(&mirror.git_dir).read().await;
        let mirror = match self.engine.registry.at(&mirror.git_dir) {
            Ok(Some(now)) if now.settings.url == mirror.settings.url && self.means(&now) => now,
            _ => gone?,
        };
        self.engine.upkeep.after_read(&self.engine.gates, &mirror);
        match changed::take_unreported(&mirror.git_dir) {
            Ok(untold) => warnings.extend(untold),
            Err(err) => tracing::warn!("cannot note what was told: {err}"),
        }
        let ready = Ready {
            git_dir: mirror.git_dir.clone(),
            // Two that are alike today may be two projects all the same.
            url: if self.alike {
                self.typed.to_string()
            } else {
                mirror.settings.url.to_string()
            },
            link: mirror.settings.rules.link,
            stale,
            warnings,
        };
        Some(Fetched {
            ready,
            mirror,
            moved: 0,
            download: Download::default(),
            access: self.access(),
            typed: self.login.is_some() && self.login == self.fetch.login,
            trouble: None,
            reading,
        })
    }
}

/// Sees to it that the refs of a mirror can be read.
async fn verify(mirror: &Mirror) -> Result<(), Failure> {
    let git_dir = mirror.git_dir.clone();
    let verified = move || refs::verify(&git_dir).or_failure("cannot read the mirror's refs");
    blocking(verified).await
}

/// That syncs which have failed do so no longer, for the first who fetches then.
pub(super) fn over(mirror: &Mirror) -> Option<String> {
    let Failed {
        words,
        since,
        synced,
        ..
    } = take_mended(&mirror.git_dir)?;
    // A daemon before this has not recorded when it was last in step.
    let since = synced.or(since);
    let time = since.and_then(|since| SystemTime::now().duration_since(since).ok());
    let time = time.map(|time| format!(" after {}", time_span(time.as_secs())));
    Some(format!(
        "in step again{}: {words}",
        time.unwrap_or_default()
    ))
}

/// What the mirror does not show of upstream, which is said at each fetch, also when upstream is not asked.
fn held(mirror: &Mirror) -> Vec<String> {
    let refs = refs::read(&mirror.git_dir).unwrap_or_default();
    let held = local_refs::withheld(&refs, &mirror.settings.rules.track).into_iter();
    let unserved = unserved::read(&mirror.git_dir).into_iter();
    let unserved = unserved.filter_map(|it| it.line(&refs, &mirror.settings.rules.track));
    local_refs::shortened(held.map(|held| held.line).chain(unserved).collect())
}

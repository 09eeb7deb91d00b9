//! Two spellings of one project: with and without `.git`, over http and https.

use common::{address::upstream_url::UpstreamUrl, protocol::wire::WireError, refspec::Refspecs};

use super::{
    Extent, MirrorRequest,
    probe::{ProbeError, Probed},
};
use crate::mirrors::{
    registry::{Mirror, Target},
    spelling::other_spelling,
};

/// A push may change upstream's refs between the two probes; then both are made once more.
const MAX_TRIES: usize = 2;

impl MirrorRequest<'_> {
    /// Records that upstream has redirected the typed URL to that of this mirror, where the two are spellings of one
    /// URL. No other redirect is recorded: another project may have the old address tomorrow.
    pub(super) fn record_spelling(&self, mirror: &Mirror) {
        let (typed, real) = (&self.typed, &mirror.settings.url);
        let stem = |url: &UpstreamUrl| url.path().trim_end_matches(".git").to_owned();
        let is_spelling = typed != real && typed.host() == real.host() && stem(typed) == stem(real);
        if is_spelling
            && self.was_redirected
            && let Err(err) = self.engine.registry.add_alias(typed, mirror)
        {
            tracing::warn!("cannot remember that '{typed}' is '{real}': {err}");
        }
    }

    /// Means the mirror of the other spelling, where the typed URL has no mirror and upstream answers both spellings with
    /// the same refs. Upstream is asked at each request, because the answers may differ tomorrow. A push goes to the
    /// typed URL, because the two may be two projects today.
    pub(super) async fn find_other_spelling(&mut self) -> Result<(), WireError> {
        let registry = &self.engine.registry;
        let (typed, own) = (self.typed.clone(), self.target.clone());
        if own.url != typed || !matches!(registry.mirror_at(&own.git_dir), Ok(None)) {
            return Ok(());
        }
        let Some(Ok(Some(other))) = other_spelling(&typed).map(|url| registry.find(&url)) else {
            return Ok(());
        };
        for _ in 0..MAX_TRIES {
            let Some(of_other) = self.probe_refs(other.target()).await? else {
                break;
            };
            let Some(of_typed) = self.probe_refs(own.clone()).await? else {
                break;
            };
            // A redirect says more than equal refs do, and the sync follows it.
            if of_typed.url != typed || of_other.url != other.settings.url {
                break;
            }
            let refs = &of_typed.advertised.advertisement;
            if *refs == of_other.advertised.advertisement && !refs.refs.is_empty() {
                self.retarget(other.target());
                self.is_other_spelling = true;
                return Ok(());
            }
        }
        self.retarget(own);
        Ok(())
    }

    /// Asks the upstream of a target for all its refs; `None` where it does not answer.
    async fn probe_refs(&mut self, target: Target) -> Result<Option<Probed>, WireError> {
        self.retarget(target);
        match self.probe(&Refspecs::everything(), Extent::Refs).await {
            Ok(probed) => Ok(Some(probed)),
            Err(ProbeError::Unusable { .. }) => Ok(None),
            Err(ProbeError::Disconnected(err)) => Err(err),
        }
    }
}

//! Two spellings of one project: with and without `.git`, over http and https.

use common::{address::upstream_url::UpstreamUrl, protocol::wire::WireError, refspec::Refspecs};

use super::{Extent, Request};
use crate::mirrors::{registry::Mirror, spelling::other_spelling};

/// A push may move upstream between two questions; then they are asked once more.
const MAX_TRIES: usize = 2;

impl Request<'_> {
    /// Remembers that upstream redirected what was typed to the upstream of this mirror, where that is but another
    /// spelling. Any other redirect is upstream's word of today; tomorrow another project may have the old address.
    pub(super) fn remember_spelling(&self, mirror: &Mirror) {
        let (typed, real) = (&self.typed, &mirror.settings.url);
        let stem = |url: &UpstreamUrl| url.path().trim_end_matches(".git").to_owned();
        let is_spelling = typed != real && typed.host() == real.host() && stem(typed) == stem(real);
        if is_spelling
            && self.redirected
            && let Err(err) = self.engine.registry.alias(typed, mirror)
        {
            tracing::warn!("cannot remember that '{typed}' is '{real}': {err}");
        }
    }

    /// Where nothing mirrors what was typed, and something mirrors the same with or without `.git`: asks upstream for
    /// both, and takes that mirror if it answers both alike, to the last branch and tag. It is asked each time, because
    /// tomorrow the answers may differ; and a push goes to the spelling that was typed, because they may today.
    pub(super) async fn look_for_the_same_elsewhere(&mut self) -> Result<(), WireError> {
        let registry = &self.engine.registry;
        let (typed, here) = (self.typed.clone(), self.target.clone());
        if here.url != typed || !matches!(registry.at(&here.git_dir), Ok(None)) {
            return Ok(());
        }
        let Some(Ok(Some(other))) = other_spelling(&typed).map(|url| registry.find(&url)) else {
            return Ok(());
        };
        let everything = Refspecs::everything();
        for _ in 0..MAX_TRIES {
            self.retarget(other.target());
            let Ok((there, one)) = self.test(&everything, Extent::Answer).await? else {
                break;
            };
            self.retarget(here.clone());
            let Ok((url, two)) = self.test(&everything, Extent::Answer).await? else {
                break;
            };
            // A redirect tells more than a comparison.
            if url != typed || there != other.settings.url {
                break;
            }
            if one.advertisement == two.advertisement && !one.advertisement.refs.is_empty() {
                self.retarget(other.target());
                self.alike = true;
                return Ok(());
            }
        }
        self.retarget(here);
        Ok(())
    }
}

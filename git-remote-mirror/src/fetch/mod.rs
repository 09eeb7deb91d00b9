//! A fetch. [`Fetch::begin`] has the daemon sync the mirror and chooses how its objects get into the client's repository:
//! [`listed`] links or writes packs there, and [`upload_pack`] streams them.

mod catch_up;
mod fetch_pack;
mod lazy;
pub(crate) mod leased_mirror;
mod link;
mod listed;
pub(crate) mod new_remote;
mod pack_index;
mod pack_objects;
mod part;
mod refs;
mod submodules;
mod unpack;
pub(crate) mod upload_pack;

use common::{
    packs::link::Link,
    protocol::{Failure, Lack},
    refspec::OnDemand,
    text::masked,
};

pub(crate) use self::listed::Listed;
use self::{leased_mirror::LeasedMirror, listed::Kind};
use crate::{invocation::Invocation, local_repo, on_demand};

/// A fetch from a mirror that the daemon has synced.
pub(crate) enum Fetch {
    /// The helper answers git's `list` and `fetch`.
    Listed(Box<Listed>),
    /// git's own server program answers git.
    Streamed(Box<LeasedMirror>, OnDemand),
}

impl Fetch {
    /// Has the daemon sync the mirror, and chooses how to go on.
    ///
    /// # Errors
    /// Fails with what the person should read.
    pub(crate) fn begin(invocation: Invocation) -> Result<Self, Failure> {
        let config = &invocation.config;
        let configured = match config.get("mirror.link") {
            Some(text) => Some(text.parse().map_err(|_| bad_link(text))?),
            None => None,
        };
        let caller = invocation.caller.as_ref();
        let kind = Kind::of(&invocation);
        let is_new = invocation.has_no_objects();
        let needs_server = invocation.options.is_relative
            || configured == Some(Link::Off)
            || local_repo::wants_fsck(config)
            || local_repo::negotiates_pushes(config)
            // In its own protocol git asks what both sides have; it tells a helper neither this nor the tips.
            || caller.is_some_and(|caller| {
                caller.has("--negotiate-only") || caller.has("--negotiation-tip")
            })
            || local_repo::wants_bundle_uris(config) && caller.is_none_or(|caller| caller.command == "clone")
            || match kind {
                // Only git knows what the other repositories have.
                Kind::Whole => invocation.is_partial() || invocation.borrows(),
                // git tells only a server what the repository has.
                Kind::Part => !is_new,
                Kind::Lazy => false,
            };
        let lacks = match kind {
            Kind::Lazy if !needs_server => Lack::LeftOut,
            Kind::Whole if is_new => Lack::Everything,
            _ => Lack::News,
        };
        let wanted = on_demand::of_fetch(&invocation);
        let mirror = LeasedMirror::sync(&invocation, lacks)?;
        let link = configured.unwrap_or(mirror.ready.link);
        let refs = match needs_server || link == Link::Off {
            true => None,
            false => listed::read_refs(&mirror, &wanted)?,
        };
        // Where the objects are named in another way, git says it when it hears that of a server. A clone takes over the way.
        let is_clone = is_new && invocation.is_unfinished_clone();
        let refs = refs.filter(|refs| is_clone || refs.is_sha256() == invocation.is_sha256());
        let Some(refs) = refs else {
            let why = match (needs_server, link) {
                (true, _) => "the options of this fetch want git's own server",
                (false, Link::Off) => "link is off",
                _ => "the refs cannot be listed",
            };
            tracing::debug!("decision: streamed, {why}");
            let mirror = match lacks {
                // A stale mirror may lack an object, and a server finds that too late to sync.
                Lack::LeftOut => LeasedMirror::sync(&invocation, Lack::News)?,
                _ => mirror,
            };
            return Ok(Self::Streamed(Box::new(mirror), wanted));
        };
        let is_fresh = lacks != Lack::LeftOut;
        let listed = Listed::new(invocation, mirror, (refs, wanted), link, kind, is_fresh);
        Ok(Self::Listed(Box::new(listed)))
    }
}

fn bad_link(text: &str) -> Failure {
    let text = masked(text.as_bytes());
    let failure = Failure::here(format!("'mirror.link' is '{text}'"));
    failure.hinted("it may be 'auto', 'reflink', 'hardlink', 'copy' or 'off'")
}

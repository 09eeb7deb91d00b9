//! The daemon's side of a client's fetch: a mirror as fresh as the client wants it, or its copy with its age. Syncs that no
//! client waits for begin in `background`.
//!
//! [`make_fresh`] asks in turn: is the copy fresh enough (`stale`); does another spelling of the URL have a mirror
//! (`spelling`); does upstream have something new (`sync`, with a login from `login`, waited for in `waiting`); and,
//! where upstream gives no answer, may the client have the copy all the same (`stale`). What it gets is opened in `open`.

mod ask;
mod background;
mod login;
mod open;
mod probe;
mod request;
mod spelling;
mod stale;
mod sync;
mod wait_limit;
mod waiting;

use std::sync::Arc;

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, Fetch, Lack, Ready, Reply},
};

use super::{conversation::Conversation, error::RequestError, resolve::resolve};
use crate::{
    mirrors::{gate::ReadGuard, registry::Mirror},
    sync::{Download, Engine, SyncOptions},
    upstream::Access,
};

pub(crate) use self::{
    background::{make_mirror, sync_mirror},
    probe::{Extent, ProbeError},
    request::MirrorRequest,
};

/// A redirect to a redirect is followed by the http layer; from mirror to mirror one step is enough.
const MAX_REDIRECTS: usize = 1;

/// What a mirror is wanted for.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// To be read, as fresh as its settings say.
    Read,
    /// To be pushed to. Local refs can be pushed even when upstream cannot be asked.
    Push,
    /// To be synced, whatever its settings say.
    Sync(SyncOptions),
}

/// A mirror that may be read.
pub(crate) struct ReadableMirror {
    /// What the client is told of the mirror.
    pub ready: Ready,
    /// The mirror.
    pub mirror: Mirror,
    /// How many of its refs the sync has changed.
    pub changed_refs: usize,
    /// What the sync has downloaded.
    pub download: Download,
    /// With what upstream was asked, or would be.
    pub access: Access,
    /// Whether the login stood in the URL, and is for this request alone.
    pub is_login_of_url: bool,
    /// Why upstream could not be asked, when it could not.
    pub trouble: Option<Failure>,
    /// Where upstream has redirected to, if the user's settings follow it: a push goes there.
    pub reached: Option<UpstreamUrl>,
    /// Keeps the mirror where it is.
    pub reading: ReadGuard,
}

/// Makes a mirror as fresh as the client wants it.
///
/// # Errors
/// Fails where upstream gives no answer and the client may not have the copy, or there is none.
pub(crate) async fn make_fresh(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    fetch: Fetch,
    purpose: Purpose,
) -> Result<ReadableMirror, RequestError> {
    let resolved = resolve(engine, &fetch.mirror)?;
    let mut request = MirrorRequest::new(engine, conversation, fetch, resolved)?;
    // Before anything is waited for: a mirror that somebody wants is not removed as unused.
    engine.usage.record_use(&request.target.git_dir);
    if matches!(purpose, Purpose::Read) {
        request.compare_packs().await?;
    }
    if let Some(fresh) = request.fresh_copy(&purpose).await {
        return Ok(fresh);
    }
    Box::pin(request.find_other_spelling()).await?;
    let synced = request.sync_with_logins(&purpose).await?;
    // It may be a new mirror, or another one than was resolved.
    engine.usage.record_use(&synced.mirror.git_dir);
    Ok(synced)
}

/// Serves the request of a fetch: sends where the mirror is, and keeps it there until the client has read it.
///
/// # Errors
/// Fails as [`make_fresh`] does.
pub(crate) async fn serve(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    fetch: Fetch,
) -> Result<(), RequestError> {
    let is_clone = fetch.lacks == Lack::Everything;
    let fresh = make_fresh(engine, conversation, fetch, Purpose::Read).await?;
    conversation.send(&Reply::Ready(fresh.ready)).await?;
    engine
        .usage
        .record_answer(&fresh.mirror.git_dir, is_clone, fresh.download);
    // The open connection is the lease: the client reads the mirror until it closes it.
    conversation.wait_until_closed().await;
    drop(fresh.reading);
    Ok(())
}

//! The requests of `mirrord sync` and `mirrord accept`: sync a mirror now, however fresh it is.

use std::sync::Arc;

use common::protocol::{Fetch, Reply};

use crate::{
    requests::{
        conversation::Conversation,
        error::RequestError,
        fetch::{Purpose, make_fresh},
        resolve::existing_mirror,
    },
    sync::{Engine, SyncOptions},
};

/// Syncs a mirror that is there.
///
/// # Errors
/// Fails where there is no such mirror, and where it is not in step afterwards.
pub(crate) async fn sync(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    request: Fetch,
    options: SyncOptions,
) -> Result<Reply, RequestError> {
    existing_mirror(engine, &request.mirror)?;
    let synced = make_fresh(engine, conversation, request, Purpose::Sync(options)).await?;
    Ok(Reply::Synced {
        name: synced.mirror.settings.name.to_string(),
        changed: synced.changed_refs as u64,
        warnings: synced.ready.warnings,
    })
}

//! What is done when a client's git complains of the objects of a mirror.

use std::{path::Path, sync::Arc};

use crate::{repository::checked, sync::Engine};

/// Has the objects of the mirror in a directory checked before anybody reads it again, and begins with that.
pub(crate) fn check_objects(engine: &Arc<Engine>, git_dir: &Path) {
    let mirrors = engine.registry.mirrors().unwrap_or_default();
    let Some(mirror) = mirrors.iter().find(|mirror| mirror.git_dir == git_dir) else {
        return;
    };
    let name = &mirror.settings.name;
    tracing::warn!("git complains of the objects of '{name}'; they are looked through");
    match checked::request_check(git_dir) {
        Ok(()) => engine.upkeep.after_change(&engine.gates, mirror),
        Err(err) => tracing::warn!("cannot have '{name}' looked through: {err}"),
    }
}

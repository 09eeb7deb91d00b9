//! When the token that a mirror has of its own expires, where upstream tells: GitLab does, and a token that has expired
//! is one that stops working overnight.
//!
//! It is asked once a day, beside the syncs and never before one. A host that does not tell is not asked again.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    mirrors::{
        registry::Mirror,
        settings::{Auth, SecretId},
    },
    process::durable,
    sync::Engine,
    upstream::{Access, TokenExpiry},
};

use common::text::unix_seconds;

/// The file in a mirror: the name of the secret, when upstream was asked about it, and what it said.
const FILE: &str = "token";

/// The answer of a host that does not tell.
const UNTOLD: &str = "untold";

/// The answer of one that says that it does not expire.
const NEVER: &str = "never";

/// The answer of a host that could not be asked.
const UNKNOWN: &str = "unknown";

/// How often it is asked.
const RECHECK_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// What is known of a token.
struct Known {
    asked: u64,
    said: String,
}

/// When the token of a mirror expires, in seconds since 1970, when that is known.
pub(crate) fn known(mirror: &Mirror) -> Option<u64> {
    let Auth::Password { secret, .. } = &mirror.settings.auth else {
        return None;
    };
    read(&mirror.git_dir, secret.as_ref()?)?.said.parse().ok()
}

/// Asks upstream, if it is time to, while others go on. Nothing depends on the answer.
pub(crate) fn ask(engine: &Arc<Engine>, mirror: &Mirror, access: &Access) {
    let Auth::Password {
        secret: Some(secret),
        ..
    } = access.auth.clone()
    else {
        return;
    };
    let now = unix_seconds(SystemTime::now());
    let known = read(&mirror.git_dir, &secret);
    let is_due = known.as_ref().is_none_or(|known| {
        let age = now.checked_sub(known.asked);
        known.said != UNTOLD && age.is_none_or(|age| age >= RECHECK_INTERVAL.as_secs())
    });
    if !is_due {
        return;
    }
    let (engine, mirror, access) = (engine.clone(), mirror.clone(), access.clone());
    tokio::spawn(async move {
        let url = &mirror.settings.url;
        let said = match engine.upstreams.token_expiry(url, &access).await {
            TokenExpiry::Expires(at) => at.to_string(),
            TokenExpiry::Never => NEVER.to_owned(),
            TokenExpiry::Unknown => UNTOLD.to_owned(),
            // It may tell tomorrow; until then what it said before is true.
            TokenExpiry::Unreachable => known.map_or(UNKNOWN.to_owned(), |known| known.said),
        };
        let git_dir = mirror.git_dir.clone();
        let writing = tokio::task::spawn_blocking(move || write(&git_dir, &secret, now, &said));
        if let Ok(Err(err)) = writing.await {
            tracing::warn!("cannot note when the token for '{url}' expires: {err}");
        }
    });
}

/// What was said of this secret; of another, nothing is known.
fn read(git_dir: &Path, secret: &SecretId) -> Option<Known> {
    let text = fs::read_to_string(git_dir.join(FILE)).ok()?;
    let mut lines = text.lines();
    if lines.next()? != secret.to_string() {
        return None;
    }
    Some(Known {
        asked: lines.next()?.parse().ok()?,
        said: lines.next()?.to_owned(),
    })
}

fn write(git_dir: &Path, secret: &SecretId, asked: u64, said: &str) -> io::Result<()> {
    // The mirror may have gone meanwhile.
    if !git_dir.exists() {
        return Ok(());
    }
    let text = format!("{secret}\n{asked}\n{said}\n");
    durable::replace(&git_dir.join(FILE), text.as_bytes())
}

//! When a mirror's own token expires. GitLab tells that; `mirrord list` and `status` warn of it, because an expired token
//! stops all syncs overnight.
//!
//! Upstream is asked at most once a day, after a sync that has succeeded. A host that does not tell is not asked again.

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

/// The file in a mirror, three lines: the id of the secret, when upstream was asked about it, and the answer.
const FILE: &str = "token";

/// The answer of a host that does not tell, as it is written in the file.
const UNTOLD: &str = "untold";

/// The answer that the token never expires.
const NEVER: &str = "never";

/// Written in place of an answer when the host could not be asked.
const UNKNOWN: &str = "unknown";

/// A host is asked again after this time.
const RECHECK_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// What the file has of a token.
struct KnownExpiry {
    /// When upstream was asked, in seconds since 1970.
    asked_at: u64,
    /// The time of expiry in seconds since 1970, or one of the words above.
    answer: String,
}

/// When the token of a mirror expires, in seconds since 1970; `None` where that is unknown.
pub(crate) fn expires_at(mirror: &Mirror) -> Option<u64> {
    let Auth::Password { secret, .. } = &mirror.settings.auth else {
        return None;
    };
    read(&mirror.git_dir, secret.as_ref()?)?.answer.parse().ok()
}

/// Asks upstream in the background when the mirror's token expires, if that was not asked for a day.
pub(crate) fn ask_if_due(engine: &Arc<Engine>, mirror: &Mirror, access: &Access) {
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
        let age = now.checked_sub(known.asked_at);
        known.answer != UNTOLD && age.is_none_or(|age| age >= RECHECK_INTERVAL.as_secs())
    });
    if !is_due {
        return;
    }
    let (engine, mirror, access) = (engine.clone(), mirror.clone(), access.clone());
    tokio::spawn(async move {
        let url = &mirror.settings.url;
        let answer = match engine.upstreams.token_expiry(url, &access).await {
            TokenExpiry::Expires(at) => at.to_string(),
            TokenExpiry::Never => NEVER.to_owned(),
            TokenExpiry::Unknown => UNTOLD.to_owned(),
            // The last answer is still true; tomorrow the host is asked again.
            TokenExpiry::Unreachable => known.map_or(UNKNOWN.to_owned(), |known| known.answer),
        };
        let git_dir = mirror.git_dir.clone();
        let writing = tokio::task::spawn_blocking(move || write(&git_dir, &secret, now, &answer));
        if let Ok(Err(err)) = writing.await {
            tracing::warn!("cannot record when the token for '{url}' expires: {err}");
        }
    });
}

/// Reads what is known of this secret; `None` where the file is about another one.
fn read(git_dir: &Path, secret: &SecretId) -> Option<KnownExpiry> {
    let text = fs::read_to_string(git_dir.join(FILE)).ok()?;
    let mut lines = text.lines();
    if lines.next()? != secret.to_string() {
        return None;
    }
    Some(KnownExpiry {
        asked_at: lines.next()?.parse().ok()?,
        answer: lines.next()?.to_owned(),
    })
}

fn write(git_dir: &Path, secret: &SecretId, asked_at: u64, answer: &str) -> io::Result<()> {
    // The mirror may have been removed meanwhile.
    if !git_dir.exists() {
        return Ok(());
    }
    let text = format!("{secret}\n{asked_at}\n{answer}\n");
    durable::replace(&git_dir.join(FILE), text.as_bytes())
}

//! The request of `mirrord set`.

use std::sync::Arc;

use common::{
    address::upstream_url::UpstreamUrl,
    protocol::{Failure, FailureKind, Reply, Set},
};

use super::{ChangeOptions, apply, change, reply};
use crate::{
    mirrors::settings::{Auth, Settings},
    requests::{
        credential::{SuppliedCredential, UnnamedSecrets},
        resolve::{existing_mirror, parse_url},
    },
    sync::Engine,
};

/// Changes settings of a mirror, its URL or its credential.
///
/// # Errors
/// Fails for settings that there are not or that do not fit together, and while the mirror is in use.
pub(crate) async fn set(engine: &Arc<Engine>, set: Set) -> Result<Reply, Failure> {
    let mirror = existing_mirror(engine, &set.mirror)?;
    // Fails at once for settings that are not valid, without waiting for the mirror.
    apply(&mut mirror.settings.clone(), &set.settings)?;
    let url = set.url.as_deref().map(parse_url).transpose()?;
    let new_url = url.as_ref().unwrap_or(&mirror.settings.url);
    let supplied = set
        .credential
        .map(|credential| SuppliedCredential::new(credential, new_url));
    let supplied = supplied.transpose()?;
    let new_auth = supplied.as_ref().map(|supplied| &supplied.auth);
    require_fit(&mirror.settings, new_url, new_auth)?;
    let mut unnamed = UnnamedSecrets::new(engine, new_url, Some(&mirror.git_dir));
    let supplied = match supplied {
        Some(supplied) => Some(supplied.store(engine).await?),
        None => None,
    };
    let warning = supplied.as_ref().and_then(SuppliedCredential::warning);
    let auth = supplied.map(|supplied| supplied.auth);
    auth.iter().for_each(|auth| unnamed.add(auth));
    unnamed.add(&mirror.settings.auth);
    let (changes_url, typed, new_url) = (url.is_some(), set.settings, new_url.clone());
    let options = ChangeOptions {
        excludes_readers: changes_url,
        keeps_untracked: set.keep,
    };
    let changed = change(engine, &mirror, options, move |settings| {
        // Another request may have changed the URL or the credential meanwhile.
        if !changes_url && settings.url != new_url {
            return Err(Failure::here("somebody else has just changed its address"));
        }
        require_fit(settings, &new_url, auth.as_ref())?;
        settings.url = new_url;
        if let Some(auth) = auth {
            settings.auth = auth;
        }
        apply(settings, &typed)
    });
    let changed = changed.await;
    if let Ok(changed) = &changed {
        unnamed.add(&changed.old_auth);
    }
    let left_over = unnamed.remove().await;
    let mut changed = changed?;
    changed
        .warnings
        .extend(warning.into_iter().chain(left_over));
    Ok(reply(changed))
}

/// Fails where a mirror cannot have this URL with its new credential, or with the one that it has: that is not sent to
/// another host.
fn require_fit(settings: &Settings, url: &UpstreamUrl, new: Option<&Auth>) -> Result<(), Failure> {
    let Settings { url: old, auth, .. } = settings;
    new.unwrap_or(auth).check(url)?;
    if new.is_none() && auth.is_for_one_origin() && url.origin() != old.origin() {
        let message = format!(
            "what '{}' signs in with is for '{}', and not for '{}'",
            settings.name,
            old.origin(),
            url.origin()
        );
        return Err(Failure::new(FailureKind::Usage, message).hinted(
            "say with it what signs in there: --username NAME, --anonymous or --forget-credential",
        ));
    }
    Ok(())
}

//! The request of `mirrord add`: makes a mirror with a name and settings of its own, only if its upstream can be read.

use std::sync::Arc;

use common::{
    address::name::Name,
    protocol::{Add, Cause, Failure, FailureKind, OrFailure, Reply},
};

use crate::{
    mirrors::{
        config::Config,
        registry::Mirror,
        settings::{Auth, Settings},
    },
    requests::{
        conversation::Conversation,
        credential::{SuppliedCredential, UnnamedSecrets},
        edit,
        error::RequestError,
        fetch::{Extent, MirrorRequest, Purpose},
        resolve::{Resolved, new_target, parse_url},
    },
    sync::{Create, Engine, SyncOptions},
};

const CANNOT_MAKE: &str = "cannot make the mirror";

/// Another mirror of the same upstream may get the directory that was free; then the next one is tried.
const MAX_DIRS: usize = 5;

/// What is known of a mirror that is to be made.
struct MirrorToAdd {
    settings: Settings,
    /// The hash by which upstream names objects; SHA-1 where that was not asked.
    format: gix::hash::Kind,
    /// Whether the upstream has been probed. A mirror that was not is made whether its upstream answers or not.
    is_tested: bool,
    /// Whether the mirror is synced at once.
    syncs: bool,
}

/// Makes a mirror, beside those of the same upstream that are there.
///
/// # Errors
/// Fails where its upstream cannot be read, and where its name is taken.
pub(crate) async fn add(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    add: Add,
) -> Result<Reply, RequestError> {
    let mut settings = new_settings(engine, &add)?;
    let resolved = Resolved {
        typed: settings.url.clone(),
        target: new_target(engine, &settings.url)?,
    };
    let mut request = MirrorRequest::new(engine, conversation, add.fetch, resolved)?;
    request.make_new();
    let mut supplied = SuppliedCredential::new(add.credential, &settings.url)?;
    if supplied.auth != Auth::AsGit {
        request.use_credential(supplied.clone());
    }
    let mut format = gix::hash::Kind::Sha1;
    if add.test {
        let extent = match add.watched {
            true => Extent::Full,
            false => Extent::Needed,
        };
        let probed = request.probe(&settings.rules.track, extent).await?;
        (settings.url, format) = (probed.url, probed.advertised.format);
        supplied.correct(request.passphrase());
    }
    let mut unnamed = UnnamedSecrets::new(engine, &settings.url, None);
    let supplied = supplied.store(engine).await?;
    unnamed.add(&supplied.auth);
    settings.auth = supplied.auth.clone();
    if supplied.auth != Auth::AsGit {
        request.use_credential(supplied.clone());
    }
    let new = MirrorToAdd {
        settings,
        format,
        is_tested: add.test,
        syncs: add.sync,
    };
    let added = match make(engine, &mut request, new).await {
        // The sync may go on for a while; dropping what is unnamed waits for its end.
        Err(RequestError::Disconnected(err)) => return Err(err.into()),
        added => added,
    };
    let left_over = unnamed.remove().await;
    let mut added = added?;
    if let Reply::Added { warnings, .. } = &mut added {
        warnings.extend(supplied.warning().into_iter().chain(left_over));
    }
    Ok(added)
}

/// Makes the mirror in a free directory. Where it is to be synced, and upstream has answered the probe, the sync makes
/// it: a first sync that fails leaves no mirror.
async fn make(
    engine: &Arc<Engine>,
    request: &mut MirrorRequest<'_>,
    new: MirrorToAdd,
) -> Result<Reply, RequestError> {
    let MirrorToAdd {
        settings,
        format,
        is_tested,
        syncs,
    } = new;
    for _ in 0..MAX_DIRS {
        let target = new_target(engine, &settings.url)?;
        request.retarget(target.clone());
        if !(is_tested && syncs) {
            let made = engine
                .registry
                .begin_mirror(settings.clone(), format)
                .and_then(|new| engine.registry.finish_mirror(new, &target.git_dir));
            match made {
                Ok(mirror) => {
                    engine.schedule.add(&mirror, None, false);
                    return finish(request, &mirror, syncs).await;
                }
                // Somebody has just made one there.
                Err(_) if target.git_dir.exists() => continue,
                Err(err) => return Err(Failure::io(CANNOT_MAKE, &err).into()),
            }
        }
        let options = SyncOptions {
            create: Create::With(Box::new(settings.clone())),
            ..SyncOptions::new(Cause::Command)
        };
        let synced = request.sync_with_logins(&Purpose::Sync(options)).await?;
        if synced.mirror.settings == settings {
            return Ok(added(&synced.mirror, synced.ready.warnings));
        }
        // Somebody else has made a mirror in this directory; with the same name there is no next one to try.
        if synced.mirror.settings.name == settings.name {
            return Err(name_is_taken(&synced.mirror).into());
        }
    }
    Err(Failure::here("mirrors of the same upstream are made faster than this one").into())
}

/// The settings of the new mirror: the defaults, and what was typed.
fn new_settings(engine: &Engine, add: &Add) -> Result<Settings, Failure> {
    let name = Name::parse_new(&add.name)
        .map_err(|err| Failure::new(FailureKind::Usage, err.to_string()))?;
    let found = engine.registry.find_name(&name);
    if let Some(other) = found.or_failure(CANNOT_MAKE)? {
        return Err(name_is_taken(&other));
    }
    let common::protocol::Mirror::Url(url) = &add.fetch.mirror else {
        return Err(Failure::new(FailureKind::Usage, "an upstream has a URL")
            .hinted("mirrord add NAME https://HOST/GROUP/PROJECT.git"));
    };
    let defaults = Config::read(&engine.config)?.defaults;
    let mut settings = Settings::new(name, parse_url(url)?, defaults);
    edit::apply(&mut settings, &add.settings)?;
    Ok(settings)
}

/// Syncs a mirror that has been made, where that is wanted. The mirror stays when the sync fails, with a warning.
async fn finish(
    request: &mut MirrorRequest<'_>,
    mirror: &Mirror,
    syncs: bool,
) -> Result<Reply, RequestError> {
    if !syncs {
        return Ok(added(mirror, Vec::new()));
    }
    let purpose = Purpose::Sync(SyncOptions::new(Cause::Command));
    match request.sync_with_logins(&purpose).await {
        Ok(synced) => Ok(added(&synced.mirror, synced.ready.warnings)),
        Err(RequestError::Failed(failure)) => {
            let mut warnings = vec![format!("it is not in step: {}", failure.message)];
            warnings.extend(failure.hint);
            Ok(added(mirror, warnings))
        }
        Err(disconnected) => Err(disconnected),
    }
}

fn added(mirror: &Mirror, warnings: Vec<String>) -> Reply {
    Reply::Added {
        name: mirror.settings.name.to_string(),
        url: mirror.settings.url.to_string(),
        warnings,
    }
}

fn name_is_taken(other: &Mirror) -> Failure {
    let Settings { name, url, .. } = &other.settings;
    Failure::here(format!("a mirror is called '{name}' already, of '{url}'")).hinted(format!(
        "'mirrord set {name}' changes it, 'mirrord rename {name} OTHER' renames it"
    ))
}

//! The requests of `mirrord set`, `rename` and `remove`: changes of a mirror itself. A change waits for the requests that
//! use the mirror, and reads the mirror again when its turn has come.

mod remove;
mod serves_url;
mod set;

use std::{
    fs::File,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    address::name::Name,
    packs::lease,
    protocol::{Failure, FailureKind, Mirror as Wanted, OrFailure, Reply},
};
use tokio::time::timeout;

use self::serves_url::serves_url_after;
pub(crate) use self::{
    remove::{delete, remove},
    set::set,
};
use crate::{
    mirrors::{
        gate::ChangeGuard,
        registry::Mirror,
        settings::{Auth, ServesUrl, Settings},
    },
    process::blocking::blocking,
    repository::{local_refs, refs, retrack},
    requests::resolve::existing_mirror,
    sync::Engine,
};

/// What has failed wherever a change cannot read or write the mirror.
const CANNOT_CHANGE: &str = "cannot change the mirror";

/// A change waits no longer for the requests that use the mirror.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// A change waits no longer for a client of a daemon that died, which may still read the mirror.
const LEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// No event tells when a file lock becomes free, except a wait for it that has no limit.
const LEASE_RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// What a change needs of a mirror beside its settings.
#[derive(Debug, Clone, Copy, Default)]
struct ChangeOptions {
    /// Nobody may read the mirror meanwhile: it may get another URL.
    excludes_readers: bool,
    /// Branches that are no longer tracked stay, as local ones.
    keeps_untracked: bool,
}

/// A mirror that was changed.
struct Changed {
    /// The mirror as it is now.
    mirror: Mirror,
    /// What the mirror signed in with before.
    old_auth: Auth,
    /// What the person should know, one line each.
    warnings: Vec<String>,
}

/// Applies settings that were typed.
///
/// # Errors
/// Fails for a key or a value that there is not.
pub(crate) fn apply(settings: &mut Settings, typed: &[(String, String)]) -> Result<(), Failure> {
    for (key, value) in typed {
        settings.set(key, value).map_err(Failure::from)?;
    }
    Ok(())
}

/// Gives a mirror another name.
///
/// # Errors
/// Fails for a name that is taken or not valid, and while the mirror is in use.
pub(crate) async fn rename(
    engine: &Arc<Engine>,
    wanted: &Wanted,
    name: &str,
) -> Result<Reply, Failure> {
    let mirror = existing_mirror(engine, wanted)?;
    let name =
        Name::parse_new(name).map_err(|err| Failure::new(FailureKind::Usage, err.to_string()))?;
    let options = ChangeOptions::default();
    let changed = change(engine, &mirror, options, |settings| {
        settings.name = name;
        Ok(())
    });
    let mut changed = changed.await?;
    let Settings {
        name,
        url,
        serves_url,
        ..
    } = &changed.mirror.settings;
    if *serves_url == ServesUrl::Formerly && mirror.settings.serves_url == ServesUrl::Yes {
        changed.warnings.push(format!(
            "'{name}' is used by its name from now on: the next use of '{url}' makes a mirror of its own, which takes the \
             packs of this one; what is local stays in '{name}'"
        ));
    }
    Ok(reply(changed))
}

fn reply(changed: Changed) -> Reply {
    Reply::Changed {
        name: changed.mirror.settings.name.to_string(),
        warnings: changed.warnings,
    }
}

/// Changes the settings of a mirror as `edit` does, when no other request is in the way.
///
/// # Errors
/// Fails as `edit` does, while the mirror is in use, and where it cannot be read or written.
async fn change(
    engine: &Arc<Engine>,
    mirror: &Mirror,
    options: ChangeOptions,
    edit: impl FnOnce(&mut Settings) -> Result<(), Failure> + Send + 'static,
) -> Result<Changed, Failure> {
    let changing = begin_change(engine, mirror, options.excludes_readers).await?;
    let (engine, git_dir) = (engine.clone(), mirror.git_dir.clone());
    blocking(move || {
        let mut mirror = read_again(&engine, &git_dir)?;
        let mut settings = mirror.settings.clone();
        let old_auth = settings.auth.clone();
        edit(&mut settings)?;
        // A mirror that somebody changes is wanted, and is no longer removed as unused.
        settings.automatic = false;
        settings.serves_url = serves_url_after(&engine, &mirror.settings, &settings)?;
        let url_changes = settings.url != mirror.settings.url;
        // Before anything is written: a change that cannot be done whole is not begun.
        let _lease = if url_changes {
            Some(lock_lease(&mirror)?)
        } else {
            None
        };
        let mut warnings = Vec::new();
        if settings.rules.track != mirror.settings.rules.track {
            let refs = refs::read(&git_dir).or_failure(CANNOT_CHANGE)?;
            warnings = local_refs::newly_tracked(
                &refs,
                &mirror.settings.rules.track,
                &settings.rules.track,
            );
            // The refs that are tracked from now on were not fetched yet, however fresh the others are.
            changing.mark_in_doubt().or_failure(CANNOT_CHANGE)?;
            let track = settings.rules.track.clone();
            mirror =
                retrack::change_refspecs(&engine.registry, &mirror, track, options.keeps_untracked)
                    .or_failure(CANNOT_CHANGE)?;
        }
        if url_changes {
            // The readers and the state of the old upstream say nothing of the new one.
            engine
                .credentials
                .forget_readers(&git_dir)
                .or_failure(CANNOT_CHANGE)?;
            engine.forget(&mirror).or_failure(CANNOT_CHANGE)?;
        }
        let mirror = engine
            .registry
            .change_settings(&mirror, settings)
            .or_failure(CANNOT_CHANGE)?;
        if url_changes {
            engine.schedule.add(&mirror, None, false);
        } else {
            engine.schedule.update(&mirror);
        }
        if mirror.settings.auth != old_auth {
            engine.clear_failure(&mirror);
        }
        Ok(Changed {
            mirror,
            old_auth,
            warnings,
        })
    })
    .await
}

/// Waits for the syncs and pushes of a mirror, and, where nobody may read it either, for its readers.
async fn begin_change(
    engine: &Engine,
    mirror: &Mirror,
    excludes_readers: bool,
) -> Result<ChangeGuard, Failure> {
    let gate = engine.gates.gate(&mirror.git_dir);
    let change = timeout(BUSY_TIMEOUT, gate.begin_change(excludes_readers)).await;
    change.map_err(|_| {
        let message = format!("the mirror '{}' is in use", mirror.settings.name);
        Failure::here(message).hinted("try again when its clones, fetches and pushes have ended")
    })
}

/// Reads the mirror as it is now that nobody else changes it, and finishes what a killed daemon has begun.
fn read_again(engine: &Engine, git_dir: &Path) -> Result<Mirror, Failure> {
    let found = engine
        .registry
        .mirror_at(git_dir)
        .or_failure(CANNOT_CHANGE)?;
    let mut mirror =
        found.ok_or_else(|| Failure::here("the mirror has just been removed, or moved"))?;
    let gate = engine.gates.gate(git_dir);
    let repaired = gate.sweep_once(|| retrack::sweep(git_dir));
    repaired
        .and_then(|()| retrack::finish_change(&mut mirror))
        .or_failure(CANNOT_CHANGE)?;
    Ok(mirror)
}

/// Takes the exclusive lock of a mirror's lease: waits for the clients of a daemon that has died.
fn lock_lease(mirror: &Mirror) -> Result<File, Failure> {
    let deadline = Instant::now() + LEASE_TIMEOUT;
    loop {
        match lease::try_exclusive(&mirror.git_dir).or_failure(CANNOT_CHANGE)? {
            Some(lease) => return Ok(lease),
            None if Instant::now() < deadline => std::thread::sleep(LEASE_RETRY_INTERVAL),
            None => {
                let message = format!("the mirror '{}' is being read", mirror.settings.name);
                return Err(Failure::here(message));
            }
        }
    }
}

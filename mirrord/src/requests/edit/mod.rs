//! The daemon's side of `mirrord set`, `rename` and `remove`: changes of a mirror itself, for which everybody who uses
//! it is waited for. What is changed is read again when its turn has come.

mod remove;
mod serves_url;

use std::{
    fs::File,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{
    address::{name::Name, upstream_url::UpstreamUrl},
    packs::lease,
    protocol::{Failure, FailureKind, Mirror as Wanted, OrFailure, Reply, Set},
};
use tokio::time::timeout;

pub(crate) use self::remove::{carry_out_remove, end};
use crate::{
    mirrors::{
        gate::Changing,
        registry::Mirror,
        settings::{Auth, ServesUrl, Settings},
    },
    process::blocking::blocking,
    repository::{local_refs, refs, retrack},
    requests::{
        credential::{Loose, SuppliedCredential},
        fetch::{existing, parse},
    },
    sync::Engine,
};

/// What failed, wherever a change cannot read or write the mirror.
const CANNOT_CHANGE: &str = "cannot change the mirror";

/// Whoever uses the mirror is waited for, and not for ever.
const BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// A client of a daemon that died may still read.
const LEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// A mirror that was changed.
pub(crate) struct Changed {
    /// As it is now.
    pub mirror: Mirror,
    /// What it signed in with before.
    pub before: Auth,
    /// What the person should know, one line each.
    pub warnings: Vec<String>,
}

/// Puts what was typed into settings.
pub(crate) fn apply(settings: &mut Settings, typed: &[(String, String)]) -> Result<(), Failure> {
    for (key, value) in typed {
        settings.set(key, value).map_err(Failure::from)?;
    }
    Ok(())
}

/// Carries out `mirrord set`.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn set(engine: &Arc<Engine>, set: Set) -> Result<Reply, Failure> {
    let mirror = existing(engine, &set.mirror)?;
    // What makes no sense is told at once.
    apply(&mut mirror.settings.clone(), &set.settings)?;
    let url = set.url.as_deref().map(parse).transpose()?;
    let new_url = url.as_ref().unwrap_or(&mirror.settings.url);
    let given = set
        .credential
        .map(|credential| SuppliedCredential::new(credential, new_url));
    let given = given.transpose()?;
    fits(
        &mirror.settings,
        new_url,
        given.as_ref().map(|given| &given.auth),
    )?;
    let mut loose = Loose::new(engine, new_url, Some(&mirror.git_dir));
    let given = match given {
        Some(given) => Some(given.store(engine).await?),
        None => None,
    };
    let warning = given.as_ref().and_then(SuppliedCredential::warning);
    let auth = given.map(|given| given.auth);
    auth.iter().for_each(|auth| loose.add(auth));
    loose.add(&mirror.settings.auth);
    let (alone, typed, new_url) = (url.is_some(), set.settings, new_url.clone());
    let changed = change(engine, &mirror, alone, set.keep, move |settings| {
        // By now it may have been given another address, or another credential.
        if !alone && settings.url != new_url {
            return Err(Failure::here("somebody else has just changed its address"));
        }
        fits(settings, &new_url, auth.as_ref())?;
        settings.url = new_url;
        if let Some(auth) = auth {
            settings.auth = auth;
        }
        apply(settings, &typed)
    });
    let changed = changed.await;
    if let Ok(changed) = &changed {
        loose.add(&changed.before);
    }
    let left = loose.settle().await;
    let mut changed = changed?;
    changed.warnings.extend(warning.into_iter().chain(left));
    Ok(reply(changed))
}

/// Whether a mirror can have this URL with what it will sign in with: something new, or what it has now, which must not be
/// told to another host.
fn fits(settings: &Settings, url: &UpstreamUrl, new: Option<&Auth>) -> Result<(), Failure> {
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

/// Carries out `mirrord rename`.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn rename(
    engine: &Arc<Engine>,
    wanted: &Wanted,
    name: &str,
) -> Result<Reply, Failure> {
    let mirror = existing(engine, wanted)?;
    let name =
        Name::parse_new(name).map_err(|err| Failure::new(FailureKind::Usage, err.to_string()))?;
    let changed = change(engine, &mirror, false, false, |settings| {
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

/// Changes the settings of a mirror, when nobody is in the way; `alone` says whether it may get another URL, for which
/// nobody may read it either. Branches that are no longer tracked stay if they are to be kept (`keep`).
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn change(
    engine: &Arc<Engine>,
    mirror: &Mirror,
    alone: bool,
    keep: bool,
    edit: impl FnOnce(&mut Settings) -> Result<(), Failure> + Send + 'static,
) -> Result<Changed, Failure> {
    let changing = begin(engine, mirror, alone).await?;
    let (engine, git_dir) = (engine.clone(), mirror.git_dir.clone());
    blocking(move || {
        let mut mirror = its_turn(&engine, &git_dir)?;
        let mut settings = mirror.settings.clone();
        let before = settings.auth.clone();
        edit(&mut settings)?;
        // Whoever changes something of it wants it.
        settings.automatic = false;
        settings.serves_url = serves_url::after(&engine, &mirror.settings, &settings)?;
        // Before anything changes: what cannot be done whole is not begun.
        let moves = settings.url != mirror.settings.url;
        let _lease = if moves {
            Some(self::alone(&mirror)?)
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
            // What is tracked from now on is not here yet, however fresh the rest is.
            changing.doubt().or_failure(CANNOT_CHANGE)?;
            let track = settings.rules.track.clone();
            mirror = retrack::change_refspecs(&engine.registry, &mirror, track, keep)
                .or_failure(CANNOT_CHANGE)?;
        }
        if moves {
            // Who could read the old upstream, and when it was asked, says nothing of the new one.
            engine
                .credentials
                .forget_readers(&git_dir)
                .or_failure(CANNOT_CHANGE)?;
            engine.forget(&mirror).or_failure(CANNOT_CHANGE)?;
        }
        let mirror = engine
            .registry
            .change(&mirror, settings)
            .or_failure(CANNOT_CHANGE)?;
        if moves {
            engine.schedule.add(&mirror, None, false);
        } else {
            engine.schedule.change(&mirror);
        }
        if mirror.settings.auth != before {
            engine.needs_nobody(&mirror);
        }
        Ok(Changed {
            mirror,
            before,
            warnings,
        })
    })
    .await
}

/// Waits until nobody is in the way of a change.
async fn begin(engine: &Engine, mirror: &Mirror, alone: bool) -> Result<Changing, Failure> {
    let gate = engine.gates.of(&mirror.git_dir);
    let change = timeout(BUSY_TIMEOUT, gate.change(alone)).await;
    change.map_err(|_| {
        let message = format!("the mirror '{}' is in use", mirror.settings.name);
        Failure::here(message).hinted("try again when its clones, fetches and pushes have ended")
    })
}

/// The mirror as it is now that nobody else changes it, repaired where a dead daemon left something undone.
fn its_turn(engine: &Engine, git_dir: &Path) -> Result<Mirror, Failure> {
    let found = engine.registry.at(git_dir).or_failure(CANNOT_CHANGE)?;
    let mut mirror =
        found.ok_or_else(|| Failure::here("the mirror has just been removed, or moved"))?;
    let gate = engine.gates.of(git_dir);
    let repaired = gate.sweep_once(|| retrack::sweep(git_dir));
    repaired
        .and_then(|()| retrack::finish_change(&mut mirror))
        .or_failure(CANNOT_CHANGE)?;
    Ok(mirror)
}

/// Waits until nobody reads a mirror who was told of it by a daemon that is dead by now.
fn alone(mirror: &Mirror) -> Result<File, Failure> {
    let deadline = Instant::now() + LEASE_TIMEOUT;
    loop {
        match lease::try_exclusive(&mirror.git_dir).or_failure(CANNOT_CHANGE)? {
            Some(lease) => return Ok(lease),
            // Nothing tells when a lock becomes free, save waiting for it without an end.
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            None => {
                let message = format!("the mirror '{}' is being read", mirror.settings.name);
                return Err(Failure::here(message));
            }
        }
    }
}

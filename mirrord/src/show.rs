//! What is said of mirrors, and of the daemon's own settings.

use std::{
    fs, io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use common::protocol::{
    self, Failure, Health, LocalRef, Mirror as Wanted, MirrorInfo, Setting, Shown,
};

use crate::{
    changed, config::Config, damage, expiry, fetch::existing, local, refs, registry::Mirror,
    sync::Engine, usage,
};

/// All mirrors.
///
/// # Errors
/// Fails when they cannot be read.
pub(crate) fn list(engine: &Engine) -> Result<Vec<MirrorInfo>, Failure> {
    let mirrors = engine.registry.all();
    let mirrors = mirrors.map_err(|err| Failure::io("cannot list the mirrors", &err))?;
    Ok(mirrors.iter().map(|mirror| info(engine, mirror)).collect())
}

/// How all mirrors are.
pub(crate) fn healths(engine: &Engine) -> Vec<Health> {
    let mirrors = engine.registry.all().unwrap_or_else(|err| {
        tracing::warn!("cannot list the mirrors: {err}");
        Vec::new()
    });
    let health = |mirror: &Mirror| {
        let refs = refs::read(&mirror.git_dir).unwrap_or_default();
        let locals = local::refs(&refs, &mirror.settings.rules.track);
        health(engine, mirror, locals.len() as u64)
    };
    mirrors.iter().map(health).collect()
}

/// All of one mirror, and what is in it alone.
///
/// # Errors
/// Fails when there is none, or it cannot be read.
pub(crate) fn show(engine: &Engine, wanted: &Wanted) -> Result<(Shown, Vec<LocalRef>), Failure> {
    let mirror = existing(engine, wanted)?;
    let cannot = |err: io::Error| Failure::io("cannot read the mirror's refs", &err);
    let refs = refs::read(&mirror.git_dir).map_err(cannot)?;
    let track = &mirror.settings.rules.track;
    let entries = mirror.settings.entries().into_iter();
    let locals = local::refs(&refs, track);
    let shown = Shown {
        health: health(engine, &mirror, locals.len() as u64),
        in_doubt: engine.gates.of(&mirror.git_dir).is_in_doubt(),
        settings: entries
            .chain(mirror.settings.signing_in())
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        held: local::some_of(
            local::held(&refs, track)
                .into_iter()
                .flat_map(|held| held.shown)
                .collect(),
        ),
        tracked: local::count_tracked(&refs, track) as u64,
        keep_unused: engine.config().keep_unused,
    };
    Ok((shown, local::listed(locals)))
}

/// The daemon's own settings, after a change of one of them if one is asked for.
///
/// # Errors
/// Fails when there is no such setting or value, and when the file cannot be read or written.
pub(crate) fn config(path: &Path, config: protocol::Config) -> Result<Vec<Setting>, Failure> {
    let wanted = match config {
        protocol::Config::List => None,
        protocol::Config::Get(key) => Some(key),
        protocol::Config::Set(key, value) => {
            Config::set(path, &key, &value)?;
            Some(key)
        }
        protocol::Config::Unset(key) => {
            Config::unset(path, &key)?;
            Some(key)
        }
    };
    if let Some(key) = &wanted {
        // One that there is not is refused with the nearest that there is.
        Config::get(path, key)?;
    }
    let entries = Config::entries(path)?.into_iter();
    let is_wanted = |key: &str| {
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(key))
    };
    Ok(entries
        .filter(|(key, _, _)| is_wanted(key))
        .map(|(key, value, is_default)| Setting {
            key: key.to_owned(),
            value,
            is_default,
        })
        .collect())
}

fn health(engine: &Engine, mirror: &Mirror, locals: u64) -> Health {
    Health {
        info: info(engine, mirror),
        behind: engine.state(mirror).behind.map(seconds),
        next: engine.schedule.next(&mirror.git_dir),
        progress: engine.progress(mirror),
        size: size(&mirror.git_dir),
        locals,
        used: usage::last(&mirror.git_dir).map(seconds),
        automatic: mirror.settings.automatic,
        saved: engine.usage.saved(&mirror.git_dir),
        damage: damage::read(&mirror.git_dir).unwrap_or_default(),
        changed_files: changed::of_late(&mirror.git_dir, SystemTime::now()),
    }
}

/// What the objects of a mirror take on disk, in bytes.
pub(crate) fn size(git_dir: &Path) -> u64 {
    let packs = fs::read_dir(git_dir.join("objects/pack"));
    let files = packs.into_iter().flatten().flatten();
    let sizes = files.filter_map(|file| Some(file.metadata().ok()?.len()));
    sizes.sum()
}

fn info(engine: &Engine, mirror: &Mirror) -> MirrorInfo {
    let state = engine.state(mirror);
    MirrorInfo {
        name: mirror.settings.name.to_string(),
        url: mirror.settings.url.to_string(),
        description: mirror.settings.description.clone(),
        git_dir: mirror.git_dir.clone(),
        synced: state.synced.map(seconds),
        needs_you: state.needs_you,
        expires: expiry::known(mirror),
        failing: state.failing,
        syncing: state.syncing,
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

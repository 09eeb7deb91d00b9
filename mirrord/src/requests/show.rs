//! What is said of mirrors, and of the daemon's own settings.

use std::{fs, path::Path, time::SystemTime};

use common::{
    protocol::{
        self, Damage, Failure, Health, LocalRef, Mirror as Wanted, MirrorInfo, OrFailure, Saved,
        Setting, Shown,
    },
    text::unix_seconds,
};

use crate::{
    mirrors::{
        config::Config,
        registry::{Mirror, Unreadable},
    },
    repository::{changed, damage, local_refs, refs, unserved},
    requests::{expiry, fetch::existing},
    sync::{Engine, usage},
};

/// All mirrors.
pub(crate) fn list(engine: &Engine) -> Result<Vec<MirrorInfo>, Failure> {
    let survey = engine
        .registry
        .survey()
        .or_failure("cannot list the mirrors")?;
    let infos = survey.mirrors.iter().map(|mirror| info(engine, mirror));
    Ok(infos
        .chain(survey.unreadable.iter().map(unreadable))
        .collect())
}

/// How all mirrors are.
pub(crate) fn healths(engine: &Engine) -> Vec<Health> {
    let survey = match engine.registry.survey() {
        Ok(survey) => survey,
        Err(err) => {
            tracing::warn!("cannot list the mirrors: {err}");
            return Vec::new();
        }
    };
    let health = |mirror: &Mirror| {
        let refs = refs::read(&mirror.git_dir);
        let track = &mirror.settings.rules.track;
        let locals = refs
            .as_ref()
            .map_or(0, |refs| local_refs::list(refs, track).len());
        let mut health = health(engine, mirror, locals as u64);
        if let Err(err) = refs {
            health.damage = Some(needs_a_person(err.to_string()));
        }
        health
    };
    let of_unreadable = |found: &Unreadable| {
        let info = unreadable(found);
        Health {
            damage: info.failing.clone().map(needs_a_person),
            info,
            behind: None,
            next: None,
            progress: None,
            size: size(&found.git_dir),
            locals: 0,
            used: None,
            automatic: false,
            saved: Saved::default(),
            changed_files: changed::recent(&found.git_dir, SystemTime::now()),
        }
    };
    let healths = survey.mirrors.iter().map(health);
    healths
        .chain(survey.unreadable.iter().map(of_unreadable))
        .collect()
}

/// Damage of which upstream mends nothing.
fn needs_a_person(what: String) -> Damage {
    Damage {
        what,
        asked: true,
        lost: Vec::new(),
    }
}

/// A mirror of which no more is known than where it is.
fn unreadable(found: &Unreadable) -> MirrorInfo {
    MirrorInfo {
        name: found.name(),
        url: String::new(),
        git_dir: found.git_dir.clone(),
        synced: None,
        failing: Some(format!(
            "its configuration cannot be read: {}",
            found.reason
        )),
        needs_you: true,
        expires: None,
        description: String::new(),
        syncing: false,
    }
}

/// All of one mirror, and what is in it alone.
pub(crate) fn show(engine: &Engine, wanted: &Wanted) -> Result<(Shown, Vec<LocalRef>), Failure> {
    let mirror = existing(engine, wanted)?;
    let refs = refs::read(&mirror.git_dir).or_failure("cannot read the mirror's refs")?;
    let track = &mirror.settings.rules.track;
    let entries = mirror.settings.entries().into_iter();
    let locals = local_refs::list(&refs, track);
    let unserved = unserved::read(&mirror.git_dir).into_iter();
    let shown = Shown {
        health: health(engine, &mirror, locals.len() as u64),
        in_doubt: engine.gates.of(&mirror.git_dir).is_in_doubt(),
        settings: entries
            .chain(mirror.settings.signing_in())
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        held: local_refs::shortened(
            local_refs::withheld(&refs, track)
                .into_iter()
                .flat_map(|withheld| withheld.details)
                .chain(unserved.filter_map(|it| it.line(&refs, track)))
                .collect(),
        ),
        tracked: local_refs::count_tracked(&refs, track) as u64,
        keep_unused: engine.config().keep_unused,
    };
    Ok((shown, local_refs::to_protocol(locals)))
}

/// The daemon's own settings, after a change of one of them if one is asked for.
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
        behind: engine.state(mirror).behind.map(unix_seconds),
        next: engine.schedule.next(&mirror.git_dir),
        progress: engine.progress(mirror),
        size: size(&mirror.git_dir),
        locals,
        used: usage::last(&mirror.git_dir).map(unix_seconds),
        automatic: mirror.settings.automatic,
        saved: engine.usage.saved(&mirror.git_dir),
        damage: damage(&mirror.git_dir),
        changed_files: changed::recent(&mirror.git_dir, SystemTime::now()),
    }
}

/// What is broken in a mirror, in its packs or in its refs.
fn damage(git_dir: &Path) -> Option<Damage> {
    let of_refs = || {
        refs::lost_reason(git_dir).map(|what| Damage {
            what,
            ..Damage::default()
        })
    };
    damage::read(git_dir).unwrap_or_default().or_else(of_refs)
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
        synced: state.synced.map(unix_seconds),
        needs_you: state.needs_you,
        expires: expiry::known(mirror),
        failing: state.failing,
        syncing: state.syncing,
    }
}

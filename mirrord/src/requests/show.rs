//! The requests of `mirrord list`, `show` and `config`, and what `mirrord status` shows of each mirror.

use std::{fs, path::Path, sync::Arc, time::SystemTime};

use common::{
    packs::listing::pack_dir,
    protocol::{
        self, Damage, Failure, Health, LocalRef, Mirror as Wanted, MirrorInfo, OrFailure, Reply,
        Saved, Setting, Shown, wire::batches,
    },
    text::unix_seconds,
};

use crate::{
    mirrors::{
        config::Config,
        registry::{Mirror, Unreadable},
    },
    process::blocking::blocking,
    repository::{changed, damage, local_refs, refs, unserved},
    requests::{conversation::Conversation, error::RequestError, expiry, resolve::existing_mirror},
    sync::{Engine, usage},
};

/// The bytes of a mirror in a reply beside its description, at most; the size of a batch is reckoned with it.
const INFO_SIZE: usize = 5000;

/// All of one mirror, as it is shown.
struct ShownMirror {
    shown: Shown,
    local_refs: Vec<LocalRef>,
}

/// Sends all mirrors, and the first clones that are under way.
///
/// # Errors
/// Fails where the mirrors cannot be read.
pub(crate) async fn list(
    engine: &Engine,
    conversation: &mut Conversation,
) -> Result<Reply, RequestError> {
    let infos = infos(engine)?;
    for batch in batches(infos, |info| info.description.len() + INFO_SIZE) {
        conversation.send(&Reply::Mirrors(batch)).await?;
    }
    let first_clones = engine.first_clones();
    conversation.send(&Reply::FirstClones(first_clones)).await?;
    Ok(Reply::Done)
}

fn infos(engine: &Engine) -> Result<Vec<MirrorInfo>, Failure> {
    let survey = engine
        .registry
        .survey()
        .or_failure("cannot list the mirrors")?;
    let infos = survey.mirrors.iter().map(|mirror| info(engine, mirror));
    Ok(infos
        .chain(survey.unreadable.iter().map(unreadable))
        .collect())
}

/// How all mirrors are. Blocks.
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

/// Damage that a sync does not repair.
fn needs_a_person(what: String) -> Damage {
    Damage {
        what,
        asked: true,
        lost: Vec::new(),
    }
}

/// A mirror whose configuration cannot be read.
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

/// Sends all of one mirror: its settings, how it is, and its local refs.
///
/// # Errors
/// Fails where there is no such mirror, and where its refs cannot be read.
pub(crate) async fn show(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    wanted: Wanted,
) -> Result<Reply, RequestError> {
    let reading = engine.clone();
    // The refs may have to be rebuilt first.
    let showing = blocking(move || shown_mirror(&reading, &wanted));
    let ShownMirror { shown, local_refs } = conversation.wait_quietly(showing).await??;
    conversation.send(&Reply::Shown(Box::new(shown))).await?;
    conversation.send_local_refs(local_refs).await?;
    Ok(Reply::Done)
}

fn shown_mirror(engine: &Engine, wanted: &Wanted) -> Result<ShownMirror, Failure> {
    let mirror = existing_mirror(engine, wanted)?;
    let refs = refs::read(&mirror.git_dir).or_failure("cannot read the mirror's refs")?;
    let track = &mirror.settings.rules.track;
    let entries = mirror.settings.entries().into_iter();
    let locals = local_refs::list(&refs, track);
    let unserved = unserved::read(&mirror.git_dir).into_iter();
    let shown = Shown {
        health: health(engine, &mirror, locals.len() as u64),
        in_doubt: engine.gates.gate(&mirror.git_dir).is_in_doubt(),
        settings: entries
            .chain(mirror.settings.signing_in())
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        withheld: local_refs::shortened(
            local_refs::withheld(&refs, track)
                .into_iter()
                .flat_map(|withheld| withheld.details)
                .chain(unserved.filter_map(|unserved| unserved.line(&refs, track)))
                .collect(),
        ),
        tracked: local_refs::count_tracked(&refs, track) as u64,
        keep_unused: engine.config().keep_unused,
    };
    Ok(ShownMirror {
        shown,
        local_refs: local_refs::to_protocol(locals),
    })
}

/// Changes one of the daemon's own settings, if that is asked for, and returns the one that was named, or all.
///
/// # Errors
/// Fails for a setting that there is not, a value that it does not take, and a file that cannot be read or written.
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
        // Fails for an unknown key, and names the nearest known one.
        Config::get(path, key)?;
    }
    let entries = Config::entries(path)?.into_iter();
    let is_wanted = |key: &str| {
        wanted
            .as_ref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(key))
    };
    Ok(entries.filter(|setting| is_wanted(&setting.key)).collect())
}

fn health(engine: &Engine, mirror: &Mirror, locals: u64) -> Health {
    Health {
        info: info(engine, mirror),
        behind: engine.state(mirror).behind_since.map(unix_seconds),
        next: engine.schedule.next_sync(&mirror.git_dir),
        progress: engine.progress(mirror),
        size: size(&mirror.git_dir),
        locals,
        used: usage::last_used(&mirror.git_dir).map(unix_seconds),
        automatic: mirror.settings.automatic,
        saved: engine.usage.saved(&mirror.git_dir),
        damage: damage(&mirror.git_dir),
        changed_files: changed::recent(&mirror.git_dir, SystemTime::now()),
    }
}

/// The damage of a mirror, in its packs or in its refs.
fn damage(git_dir: &Path) -> Option<Damage> {
    let of_refs = || {
        refs::lost_reason(git_dir).map(|what| Damage {
            what,
            ..Damage::default()
        })
    };
    damage::read(git_dir).unwrap_or_default().or_else(of_refs)
}

/// The bytes that the objects of a mirror take on disk.
pub(crate) fn size(git_dir: &Path) -> u64 {
    let packs = fs::read_dir(pack_dir(git_dir));
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
        expires: expiry::expires_at(mirror),
        failing: state.failing,
        syncing: state.syncing,
    }
}

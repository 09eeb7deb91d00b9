//! Changes the refspecs of a mirror: which of its refs follow upstream, and under which names.
//!
//! The settings first name the new refspecs and the old ones, then one transaction changes the refs, and then the settings
//! drop the old refspecs. A daemon that dies in between leaves the rest to [`finish_change`], which runs before anybody is
//! served and before anything else changes.

use std::{io, path::Path, time::SystemTime};

use common::refspec::Refspecs;

use crate::{
    mirrors::{
        registry::{Mirror, Registry},
        settings::{Rules, TrackChange},
    },
    repository::{ancestry::Ancestry, history::Why, plan::Plan, publish, quarantine, refs},
};

/// Only somebody outside the daemon may write the refs meanwhile.
const MAX_TRIES: usize = 5;

/// Gives a mirror other refspecs. The caller sees to it that no sync and no push writes its refs.
pub(crate) fn change_refspecs(
    registry: &Registry,
    mirror: &Mirror,
    track: Refspecs,
    keep: bool,
) -> io::Result<Mirror> {
    let mut settings = mirror.settings.clone();
    let before = std::mem::replace(&mut settings.rules.track, track);
    settings.track_change = Some(TrackChange {
        before,
        keep_untracked: keep,
    });
    let mut changed = registry.change_settings(mirror, settings)?;
    finish_change(&mut changed)?;
    Ok(changed)
}

/// Finishes a change of the refspecs that was begun, if there is one.
pub(crate) fn finish_change(mirror: &mut Mirror) -> io::Result<()> {
    let Some(TrackChange {
        before,
        keep_untracked: keep,
    }) = mirror.settings.track_change.clone()
    else {
        return Ok(());
    };
    let Rules {
        track,
        keep_history,
        ..
    } = &mirror.settings.rules;
    let git_dir = &mirror.git_dir;
    let mut ancestry = Ancestry::new(&refs::open(git_dir)?);
    let mut retries = 0..MAX_TRIES;
    loop {
        let refs = refs::read(git_dir)?;
        let plan = Plan::of_refspecs(&refs, &before, track, keep).with_history(
            &refs,
            track,
            Why::Untracked,
            SystemTime::now(),
            *keep_history,
            |name, old, new| ancestry.is_fast_forward(name, old, new),
        );
        if !publish::publish(git_dir, &plan, None, track)?.again {
            break;
        }
        if retries.next().is_none() {
            return Err(io::Error::other("the mirror's refs change too fast"));
        }
    }
    mirror.settings.track_change = None;
    mirror.settings.write(git_dir)
}

/// Removes what a dead daemon left in a mirror.
pub(crate) fn sweep(git_dir: &Path) -> io::Result<()> {
    quarantine::sweep(git_dir)?;
    publish::sweep(git_dir)
}

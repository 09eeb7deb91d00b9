//! Changes the refspecs of a mirror: which of its refs follow upstream, and under which names.
//!
//! The new refspecs and the old ones are written down first, then the refs are changed in one piece, and then the old
//! refspecs are struck out. A daemon that dies in between leaves something that [`finish`] finishes, before anybody is
//! served or changes anything else.

use std::{io, path::Path, time::SystemTime};

use common::refspec::Refspecs;

use crate::{
    mirrors::{
        registry::{Mirror, Registry},
        settings::{Rules, TrackChange},
    },
    repository::{ancestry::Ancestry, history::Why, plan::Plan, publish, quarantine, refs},
};

/// Nobody else writes the refs meanwhile but a hand from outside.
const MAX_TRIES: usize = 5;

/// Gives a mirror other refspecs. Nobody may be writing its refs.
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

/// Finishes a change of the refspecs that was begun, if one was.
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
    let mut looks = 0..MAX_TRIES;
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
        if looks.next().is_none() {
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

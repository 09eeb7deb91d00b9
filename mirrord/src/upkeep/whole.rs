//! Sees to it that a mirror is whole: looks into what is not known to be, mends what it can, and has upstream asked for
//! the rest.

use std::{io, path::Path, sync::Arc, time::SystemTime};

use common::protocol::Damage;

use super::{Upkeep, blocking, check, lost::Lost, mend, packs};
use crate::{
    damage, durable,
    gate::Gate,
    registry::Mirror,
    verified::{self, Found},
    watch::Watch,
};

/// What was mended is looked into once more, and what that finds is mended; but not for ever.
const MOST_LOOKS: usize = 3;

impl Upkeep {
    /// Looks whether a mirror's packs are still what was written, when it is time for that and this mirror's turn.
    pub(super) async fn check(&self, mirror: &Mirror) -> io::Result<()> {
        let git_dir = mirror.git_dir.clone();
        if !blocking(move || check::is_due(&git_dir, SystemTime::now())).await? {
            return Ok(());
        }
        let Some(_turn) = self.turn().await else {
            return Ok(());
        };
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        blocking(move || {
            let faults = check::faults(&git_dir, &watch)?;
            for path in &faults.derived {
                tracing::warn!("'{}' is not what was written; it goes", path.display());
                durable::remove(path)?;
            }
            if !faults.packs.is_empty() {
                // What is not known is looked into.
                verified::doubt(&git_dir, faults.packs.iter().map(String::as_str))?;
            }
            check::note(&git_dir, SystemTime::now())
        })
        .await
    }

    /// Looks into what is not known to be as it should, and mends it, when it is this mirror's turn. Says whether the
    /// mirror is whole.
    pub(super) async fn make_whole(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<bool> {
        let git_dir = mirror.git_dir.clone();
        if blocking(move || is_well(&git_dir)).await? {
            return Ok(true);
        }
        let Some(_turn) = self.turn().await else {
            return Ok(false);
        };
        for _ in 0..MOST_LOOKS {
            let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
            match blocking(move || look(&git_dir, &watch)).await? {
                Found::Whole => {
                    self.is_whole(mirror).await?;
                    return Ok(true);
                }
                Found::Bad(bad, words) => {
                    if !self.mend(gate, mirror, bad, words).await? {
                        return Ok(false);
                    }
                }
                Found::Lacking(words) => {
                    if !self.lacks(mirror, words).await? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Salvages what can be read of bad packs, and lays them aside. Says whether it could.
    async fn mend(
        &self,
        gate: &Arc<Gate>,
        mirror: &Mirror,
        bad: Vec<String>,
        words: String,
    ) -> io::Result<bool> {
        let name = &mirror.settings.name;
        tracing::warn!("'{name}' is damaged: {words}");
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        let (bad, is_all) = blocking(move || {
            let before = damage::read(&git_dir)?.unwrap_or_default();
            let (what, asked) = (words, false);
            damage::note(
                &git_dir,
                &Damage {
                    what,
                    asked,
                    ..before
                },
            )?;
            let (mut aside, mut is_all) = (Vec::new(), true);
            for pack in bad {
                if mend::salvage(&git_dir, &pack, &watch)? {
                    continue;
                }
                // Whatever git says of it for whatever reason, what is as it was written stays where it is.
                match check::is_pack_as_written(&git_dir, &pack, &watch)? {
                    true => is_all = false,
                    false => aside.push(pack),
                }
            }
            Ok((aside, is_all))
        })
        .await?;
        if bad.is_empty() {
            return Ok(is_all);
        }
        let Some(alone) = self.alone(gate, &mirror.git_dir).await? else {
            return Ok(false);
        };
        let git_dir = mirror.git_dir.clone();
        blocking(move || {
            let _alone = alone;
            mend::set_aside(&git_dir, &bad)
        })
        .await?;
        Ok(is_all)
    }

    /// A mirror lacks something: upstream is asked for all that it has; what is lost after that is named, and taken out of
    /// the way. Says whether it may be whole now.
    async fn lacks(&self, mirror: &Mirror, words: String) -> io::Result<bool> {
        let (found, watch) = (mirror.clone(), self.watch.clone());
        let (before, now, forgets) = blocking(move || {
            let git_dir = &found.git_dir;
            let before = damage::read(git_dir)?;
            let mut now = before.clone().unwrap_or_else(|| Damage {
                what: words,
                ..Damage::default()
            });
            let lost = Lost::of(git_dir, &watch)?;
            // As long as upstream may bring back what they are built upon, none of them is given up.
            let forgets = (now.asked || !lost.is_upstreams()) && lost.settle(&found)?;
            now.lost = lost.names(git_dir)?;
            damage::note(git_dir, &now)?;
            Ok((before, now, forgets))
        })
        .await?;
        let name = &mirror.settings.name;
        if !now.asked {
            tracing::warn!(
                "'{name}' is damaged: {}; what upstream has is fetched again",
                now.what
            );
            self.schedule.go_now(&mirror.git_dir);
        }
        if before.unwrap_or_default().lost != now.lost {
            tracing::warn!("'{name}' lacks something of {}", now.lost.join(", "));
        }
        Ok(forgets)
    }

    /// Forgets that a mirror was damaged, if it was.
    async fn is_whole(&self, mirror: &Mirror) -> io::Result<()> {
        let found = mirror.clone();
        let was_damaged = blocking(move || {
            let was_damaged = damage::read(&found.git_dir)?.is_some();
            if was_damaged {
                Lost::default().settle(&found)?;
                mend::forget_bad(&found.git_dir)?;
                damage::is_over(&found.git_dir)?;
            }
            Ok(was_damaged)
        })
        .await?;
        if was_damaged {
            tracing::info!("'{}' is whole again", mirror.settings.name);
        }
        Ok(())
    }
}

/// Whether all is known to be as it should.
///
/// # Errors
/// Fails when that cannot be told.
pub(super) fn is_well(git_dir: &Path) -> io::Result<bool> {
    Ok(verified::is_known(git_dir)
        && packs::without_index(git_dir, SystemTime::now())?.is_empty()
        && damage::read(git_dir)?.is_none())
}

fn look(git_dir: &Path, watch: &Watch) -> io::Result<Found> {
    let without_index = packs::without_index(git_dir, SystemTime::now())?;
    if without_index.is_empty() {
        return verified::verify(git_dir, watch);
    }
    let words = format!("no index of {} is there", without_index.join(", "));
    Ok(Found::Bad(without_index, words))
}

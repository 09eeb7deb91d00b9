//! Sees to it that a mirror is whole: looks into what is not known to be, mends what it can, and has upstream asked for
//! the rest.

use std::{io, path::Path, sync::Arc, time::SystemTime};

use common::protocol::{Cause, Damage};
use tokio::time::timeout;

use super::{
    Upkeep, check,
    compare::READERS_TIMEOUT,
    lost::Lost,
    mend::{self, Salvaged},
    packs,
};
use crate::{
    mirrors::{gate::Gate, registry::Mirror},
    process::{blocking::blocking_io, durable, watch::Watch},
    repository::{
        damage,
        verified::{self, Extent, Found},
    },
};

/// What was mended is looked into once more, and what that finds is mended; but not for ever.
const MAX_TRIES: usize = 3;

impl Upkeep {
    /// Compares what somebody has touched of a mirror's packs with what was verified, and all of it when it is time for
    /// that and this mirror's turn.
    pub(super) async fn check(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<()> {
        let git_dir = mirror.git_dir.clone();
        if !blocking_io(move || check::is_due(&git_dir, SystemTime::now())).await? {
            let (extent, cause) = (Extent::Touched, Cause::Schedule);
            return match self.compare(gate, mirror, extent, cause).await {
                // Somebody hands packs out, and may be stopped meanwhile.
                Err(err) if is_passing(&err) => Ok(()),
                compared => compared.map(drop),
            };
        }
        let Some(_turn) = self.turn().await else {
            return Ok(());
        };
        let (extent, cause) = (Extent::All, Cause::Schedule);
        self.compare(gate, mirror, extent, cause).await?;
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        blocking_io(move || {
            for path in check::faults(&git_dir, &watch)? {
                tracing::warn!("'{}' is not what was written; it goes", path.display());
                durable::remove(&path)?;
            }
            Ok(())
        })
        .await
    }

    /// Looks into what is not known to be as it should, and mends it, when it is this mirror's turn. Says whether the
    /// mirror is whole.
    pub(super) async fn make_whole(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<bool> {
        let git_dir = mirror.git_dir.clone();
        if blocking_io(move || is_well(&git_dir)).await? {
            return Ok(true);
        }
        let Some(_turn) = self.turn().await else {
            return Ok(false);
        };
        match self.look_and_mend(gate, mirror).await {
            Err(err) if !self.watch.is_cancelled() && !is_passing(&err) => {
                let (git_dir, what) = (mirror.git_dir.clone(), format!("cannot mend it: {err}"));
                let noted = blocking_io(move || {
                    let before = damage::read(&git_dir)?;
                    damage::record(
                        &git_dir,
                        &before.unwrap_or(Damage {
                            what,
                            asked: true,
                            lost: Vec::new(),
                        }),
                    )
                });
                if let Err(err) = noted.await {
                    tracing::warn!(
                        "cannot note that '{}' is damaged: {err}",
                        mirror.settings.name
                    );
                }
                Err(err)
            }
            mended => mended,
        }
    }

    async fn look_and_mend(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<bool> {
        for looks in 1..=MAX_TRIES {
            let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
            let found = match blocking_io(move || look(&git_dir, &watch)).await {
                // A pack was just laid aside, or is being linked.
                Err(err) if is_passing(&err) && looks < MAX_TRIES => continue,
                found => found?,
            };
            match found {
                Found::Whole => {
                    self.is_whole(mirror).await?;
                    return Ok(true);
                }
                Found::Bad { packs, message } => {
                    if !self.mend(gate, mirror, packs, message, false).await? {
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

    /// Salvages what can be read of bad packs, and lays them aside; when they are `foreign`, who reads them is not waited
    /// for without end. Says whether it could.
    pub(super) async fn mend(
        &self,
        gate: &Arc<Gate>,
        mirror: &Mirror,
        bad: Vec<String>,
        words: String,
        foreign: bool,
    ) -> io::Result<bool> {
        let name = &mirror.settings.name;
        tracing::warn!("'{name}' is damaged: {words}");
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        let (bad, is_all) = blocking_io(move || salvage(&git_dir, bad, words, &watch)).await?;
        if bad.is_empty() {
            return Ok(is_all);
        }
        let alone = match foreign {
            true => timeout(READERS_TIMEOUT, self.alone(gate, &mirror.git_dir)).await,
            false => Ok(self.alone(gate, &mirror.git_dir).await),
        };
        let alone = alone.unwrap_or(Ok(None))?;
        // Who reads on has what goes open, or finds that it is gone; neither is worse than what they would read.
        if alone.is_none() && !foreign {
            return Ok(false);
        }
        let git_dir = mirror.git_dir.clone();
        blocking_io(move || {
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
        let (before, now, forgets) = blocking_io(move || {
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
            damage::record(git_dir, &now)?;
            Ok((before, now, forgets))
        })
        .await?;
        let name = &mirror.settings.name;
        if !now.asked {
            tracing::warn!(
                "'{name}' is damaged: {}; what upstream has is fetched again",
                now.what
            );
            self.schedule.sync_now(&mirror.git_dir);
        }
        if before.unwrap_or_default().lost != now.lost {
            tracing::warn!("'{name}' lacks something of {}", now.lost.join(", "));
        }
        Ok(forgets)
    }

    /// Forgets that a mirror was damaged, if it was.
    async fn is_whole(&self, mirror: &Mirror) -> io::Result<()> {
        let found = mirror.clone();
        let was_damaged = blocking_io(move || {
            let was_damaged = damage::read(&found.git_dir)?.is_some();
            if was_damaged {
                Lost::default().settle(&found)?;
                mend::forget_bad(&found.git_dir)?;
                damage::clear(&found.git_dir)?;
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
pub(super) fn is_well(git_dir: &Path) -> io::Result<bool> {
    Ok(verified::are_all_verified(git_dir)
        && packs::without_index(git_dir, SystemTime::now())?.is_empty()
        && damage::read(git_dir)?.is_none())
}

/// Notes that packs are bad, and lets in what can be read of them. Returns those that are to be laid aside, and whether
/// that is all that can be done.
fn salvage(
    git_dir: &Path,
    bad: Vec<String>,
    words: String,
    watch: &Watch,
) -> io::Result<(Vec<String>, bool)> {
    let before = damage::read(git_dir)?.unwrap_or_default();
    let (what, asked) = (words, false);
    let damage = Damage {
        what,
        asked,
        ..before
    };
    damage::record(git_dir, &damage)?;
    let (mut aside, mut is_all) = (Vec::new(), true);
    // Somebody else may have laid one aside just now.
    let is_there = |pack: &String| packs::folder(git_dir).join(format!("{pack}.pack")).exists();
    for pack in bad.into_iter().filter(is_there) {
        match mend::salvage(git_dir, &pack, watch) {
            Ok(Salvaged::Replaced) => continue,
            Ok(Salvaged::All) => {
                aside.push(pack);
                continue;
            }
            Ok(Salvaged::Some) => {}
            Err(err) if watch.is_cancelled() => return Err(err),
            Err(err) => tracing::warn!("nothing is salvaged of '{pack}': {err}"),
        }
        // Whatever git says of it for whatever reason, what is as it was written stays where it is.
        match check::is_pack_as_written(git_dir, &pack, watch) {
            Ok(true) => is_all = false,
            Ok(false) => aside.push(pack),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    Ok((aside, is_all))
}

/// Whether something was only in the way of somebody else just now.
fn is_passing(err: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, ResourceBusy, TimedOut};
    [NotFound, ResourceBusy, TimedOut].contains(&err.kind())
}

fn look(git_dir: &Path, watch: &Watch) -> io::Result<Found> {
    let without_index = packs::without_index(git_dir, SystemTime::now())?;
    if without_index.is_empty() {
        return verified::verify(git_dir, watch);
    }
    let message = format!("no index of {} is there", without_index.join(", "));
    Ok(Found::Bad {
        packs: without_index,
        message,
    })
}

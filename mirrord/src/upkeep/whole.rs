//! The mending of a mirror: packs that are not known to be as they should are verified, bad ones are mended or laid aside
//! (`mend.rs`), a sync asks upstream for all that it has, and local branches that have lost something are named (`lost.rs`).

use std::{io, path::Path, sync::Arc, time::SystemTime};

use common::protocol::{Cause, Damage};
use tokio::time::timeout;

use super::{Upkeep, check, compare::READERS_TIMEOUT, lost::Lost, mend, packs};
use crate::{
    mirrors::{gate::Gate, registry::Mirror},
    process::{blocking::blocking_io, durable, watch::Watch},
    repository::{
        damage,
        verified::{self, Extent, Found},
    },
};

/// How often a mirror is verified in a row, each time after what was found has been mended.
const MAX_ROUNDS: usize = 3;

impl Upkeep {
    /// Compares packs of a mirror with what was verified: the files that somebody has touched, and all of them when it is
    /// time for that and this mirror's turn.
    pub(super) async fn check(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<()> {
        let git_dir = mirror.git_dir.clone();
        if !blocking_io(move || check::is_due(&git_dir, SystemTime::now())).await? {
            let (extent, cause) = (Extent::Touched, Cause::Schedule);
            return match self.compare(gate, mirror, extent, cause).await {
                // A client may have been stopped while it links packs.
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
            for path in check::damaged_derived(&git_dir, &watch)? {
                tracing::warn!("'{}' is not what was written; removed", path.display());
                durable::remove(&path)?;
            }
            Ok(())
        })
        .await
    }

    /// Verifies packs that are not known to be as they should, and mends them, when it is this mirror's turn. Returns
    /// whether the mirror is whole.
    pub(super) async fn make_whole(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<bool> {
        let git_dir = mirror.git_dir.clone();
        if blocking_io(move || is_known_whole(&git_dir)).await? {
            return Ok(true);
        }
        let Some(_turn) = self.turn().await else {
            return Ok(false);
        };
        match self.verify_and_mend(gate, mirror).await {
            Err(err) if !self.watch.is_cancelled() && !is_passing(&err) => {
                let (git_dir, what) = (mirror.git_dir.clone(), format!("cannot mend it: {err}"));
                let recorded = blocking_io(move || {
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
                if let Err(err) = recorded.await {
                    tracing::warn!(
                        "cannot record that '{}' is damaged: {err}",
                        mirror.settings.name
                    );
                }
                Err(err)
            }
            mended => mended,
        }
    }

    async fn verify_and_mend(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<bool> {
        for round in 1..=MAX_ROUNDS {
            let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
            let found = match blocking_io(move || verify(&git_dir, &watch)).await {
                // A pack was just laid aside, or is being linked.
                Err(err) if is_passing(&err) && round < MAX_ROUNDS => continue,
                found => found?,
            };
            match found {
                Found::Whole => {
                    self.clear_damage(mirror).await?;
                    return Ok(true);
                }
                Found::Bad { packs, message } => {
                    if !self.mend(gate, mirror, packs, message, false).await? {
                        return Ok(false);
                    }
                }
                Found::Lacking(message) => {
                    if !self.refetch(mirror, message).await? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Mends bad packs or lays them aside. Packs that somebody else has changed (`foreign`) are laid aside after a while even
    /// if somebody reads them. Returns whether all could be mended or laid aside.
    pub(super) async fn mend(
        &self,
        gate: &Arc<Gate>,
        mirror: &Mirror,
        bad: Vec<String>,
        message: String,
        foreign: bool,
    ) -> io::Result<bool> {
        let name = &mirror.settings.name;
        tracing::warn!("'{name}' is damaged: {message}");
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        let (bad, is_all) = blocking_io(move || repair(&git_dir, bad, message, &watch)).await?;
        if bad.is_empty() {
            return Ok(is_all);
        }
        let lease = match foreign {
            true => timeout(READERS_TIMEOUT, self.exclusive_lease(gate, &mirror.git_dir)).await,
            false => Ok(self.exclusive_lease(gate, &mirror.git_dir).await),
        };
        let lease = lease.unwrap_or(Ok(None))?;
        // Readers go on with files that they have open, or find that a pack is gone: both are better than what was changed.
        if lease.is_none() && !foreign {
            return Ok(false);
        }
        let git_dir = mirror.git_dir.clone();
        blocking_io(move || {
            let _lease = lease;
            mend::set_aside(&git_dir, &bad)
        })
        .await?;
        Ok(is_all)
    }

    /// Asks upstream for all that it has, for a mirror that lacks something. What is still lost after that is named, and
    /// local branches that need it are moved out of the way. Returns whether the mirror may be whole now.
    async fn refetch(&self, mirror: &Mirror, message: String) -> io::Result<bool> {
        let (found, watch) = (mirror.clone(), self.watch.clone());
        let (before, now, has_forgotten) = blocking_io(move || {
            let git_dir = &found.git_dir;
            let before = damage::read(git_dir)?;
            let mut now = before.clone().unwrap_or_else(|| Damage {
                what: message,
                ..Damage::default()
            });
            let lost = Lost::find(git_dir, &watch)?;
            // Upstream may bring back what local branches are built upon: before it was asked, all of them stay.
            let has_forgotten = (now.asked || !lost.is_upstreams()) && lost.move_refs(&found)?;
            now.lost = lost.names(git_dir)?;
            damage::record(git_dir, &now)?;
            Ok((before, now, has_forgotten))
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
        Ok(has_forgotten)
    }

    /// Removes the record of damage from a mirror that is whole, with the packs that were laid aside, and brings back local
    /// branches that were out of the way.
    async fn clear_damage(&self, mirror: &Mirror) -> io::Result<()> {
        let found = mirror.clone();
        let was_damaged = blocking_io(move || {
            let was_damaged = damage::read(&found.git_dir)?.is_some();
            if was_damaged {
                Lost::default().move_refs(&found)?;
                mend::remove_aside(&found.git_dir)?;
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

/// Whether all packs of a mirror are known to be as they should, and none is missing.
pub(super) fn is_known_whole(git_dir: &Path) -> io::Result<bool> {
    Ok(verified::are_all_verified(git_dir)
        && packs::without_index(git_dir, SystemTime::now())?.is_empty()
        && damage::read(git_dir)?.is_none())
}

/// Records that packs are bad, has git index them anew, and copies what only the mirror has out of those for which that
/// fails. Returns those that are to be laid aside, and whether that is all that can be done.
fn repair(
    git_dir: &Path,
    bad: Vec<String>,
    what: String,
    watch: &Watch,
) -> io::Result<(Vec<String>, bool)> {
    let damage = Damage {
        what,
        asked: false,
        ..damage::read(git_dir)?.unwrap_or_default()
    };
    damage::record(git_dir, &damage)?;
    let (mut aside, mut unreadable, mut is_all) = (Vec::new(), Vec::new(), true);
    // A client's complaint may have had one laid aside just now.
    let is_there = |pack: &String| {
        packs::pack_dir(git_dir)
            .join(format!("{pack}.pack"))
            .exists()
    };
    for pack in bad.into_iter().filter(is_there) {
        match mend::reindex(git_dir, &pack, watch) {
            Ok(Some(name)) if name == pack => continue,
            Ok(Some(_)) => {
                aside.push(pack);
                continue;
            }
            Ok(None) => {}
            Err(err) if watch.is_cancelled() => return Err(err),
            Err(err) => tracing::warn!("cannot index '{pack}' anew: {err}"),
        }
        // git may refuse a pack for want of memory: one that is as it was written stays.
        match check::is_pack_as_written(git_dir, &pack, watch) {
            Ok(true) => is_all = false,
            Ok(false) => unreadable.push(pack),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(err),
        }
    }
    if !unreadable.is_empty() {
        mend::copy_unrecorded(git_dir, &unreadable, watch)?;
    }
    aside.append(&mut unreadable);
    Ok((aside, is_all))
}

/// Whether something failed only because somebody else was at the same files just then.
fn is_passing(err: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, ResourceBusy, TimedOut};
    [NotFound, ResourceBusy, TimedOut].contains(&err.kind())
}

/// Verifies packs that are not known to be as they should. A pack without an index counts as bad.
fn verify(git_dir: &Path, watch: &Watch) -> io::Result<Found> {
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

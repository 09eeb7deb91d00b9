//! The maintenance of one mirror, as far as it needs any: damage is mended (`whole.rs`), small packs are put together (`repack.rs`),
//! cruft goes (`cruft/`), and a large mirror gets an index over all of its packs (`indexes/`).
//!
//! Packs are written beside the old ones, and nobody waits for that. The old ones are dropped in a moment in which nobody
//! reads the mirror (`exclusive.rs`), and stay until there is one.

use std::{fs::File, io, path::Path, sync::Arc, time::SystemTime};

use common::packs::derived;
use tokio::time::{Instant, timeout};

use super::{
    Upkeep,
    cruft::{self, Expired, Todo},
    exclusive::LEASE_TIMEOUT,
    indexes, packs, repack,
};
use crate::{
    mirrors::{gate::Gate, registry::Mirror},
    process::blocking::blocking_io,
    repository::{checked, tips},
};

/// More packs than this make it slow to find an object.
const MAX_PACKS: usize = 50;

/// What a mirror needs.
struct Needs {
    /// How many packs there are.
    packs: usize,
    /// Whether files lie beside the packs that belong to none.
    has_leftovers: bool,
    /// Whether it is time to count objects that nothing reaches.
    may_have_cruft: bool,
    /// Whether an index over all packs would make the mirror quicker to read.
    wants_index: bool,
}

impl Needs {
    fn of(git_dir: &Path) -> io::Result<Self> {
        let now = SystemTime::now();
        Ok(Self {
            packs: packs::count(git_dir)?,
            has_leftovers: packs::has_leftovers(git_dir, now)?,
            may_have_cruft: cruft::is_due(git_dir, now)?,
            wants_index: indexes::are_wanted(git_dir)?,
        })
    }

    fn is_nothing(&self) -> bool {
        let is_tidy = self.packs <= MAX_PACKS && !self.has_leftovers;
        is_tidy && !self.may_have_cruft && !self.wants_index
    }
}

/// What was done to a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// How many packs there were.
    pub(super) before: usize,
    /// How many there are.
    pub(super) after: usize,
    /// How many bytes the new packs have.
    pub(super) bytes: u64,
    /// Whether packs that are not needed any more wait until nobody reads them.
    pub(super) waits: bool,
}

impl Upkeep {
    /// Does what a mirror needs. Returns what became of its packs if they were too many.
    pub(super) async fn maintain(
        &self,
        gate: &Arc<Gate>,
        mirror: &Mirror,
    ) -> io::Result<Option<Report>> {
        let read_needs = || {
            let git_dir = mirror.git_dir.clone();
            blocking_io(move || Needs::of(&git_dir))
        };
        self.check(gate, mirror).await?;
        if !self.make_whole(gate, mirror).await? {
            // Repacking needs all objects.
            return Ok(None);
        }
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        if let Err(err) = blocking_io(move || tips::renew(&git_dir, &watch)).await {
            // Clones do without, and make one of their own.
            checked::request_check_if_complained(&mirror.git_dir, &err.to_string());
            tracing::debug!("no pack of tips for '{}': {err}", mirror.settings.name);
        }
        let git_dir = mirror.git_dir.clone();
        if let Err(err) = blocking_io(move || derived::trim(&git_dir, SystemTime::now())).await {
            tracing::debug!("old parts of '{}' stay: {err}", mirror.settings.name);
        }
        let before = read_needs().await?;
        if before.is_nothing() {
            return Ok(None);
        }
        let Some(lock) = self.upkeep_lock(&mirror.git_dir).await? else {
            return Ok(None);
        };
        // Packs that the last repack replaced may have been read until now.
        let mut all_dropped = self.drop_replaced(gate, mirror).await?;
        let mut now = read_needs().await?;
        let mut bytes = 0;
        if all_dropped && (now.packs > MAX_PACKS || now.may_have_cruft) {
            let todo;
            (bytes, todo) = self.write_packs(mirror, &now).await?;
            // Cruft packs first: no pack may count as replaced by one that goes.
            all_dropped = match todo {
                Todo::Nothing => true,
                Todo::Write => self.write_cruft(gate, mirror).await?,
                Todo::Drop(expired) => self.drop_expired(gate, mirror, expired).await?,
            };
            all_dropped = all_dropped && self.drop_replaced(gate, mirror).await?;
            now = read_needs().await?;
        }
        // An index must not name packs that are to go.
        if now.wants_index && all_dropped {
            self.index(mirror, lock).await?;
        }
        let report = Report {
            before: before.packs,
            after: now.packs,
            bytes,
            waits: !all_dropped,
        };
        Ok((before.packs > MAX_PACKS).then_some(report))
    }

    /// Writes packs in place of others, and measures cruft, when it is this mirror's turn. Returns how many bytes the new
    /// packs have, and what is to be done about cruft.
    async fn write_packs(&self, mirror: &Mirror, needs: &Needs) -> io::Result<(u64, Todo)> {
        let Some(_turn) = self.turn().await else {
            return Ok((0, Todo::Nothing));
        };
        let (mirror, watch) = (mirror.clone(), self.watch.clone());
        let (has_many, may_have_cruft) = (needs.packs > MAX_PACKS, needs.may_have_cruft);
        blocking_io(move || {
            let bytes = match has_many {
                true => repack::repack(&mirror, &watch)?,
                false => 0,
            };
            let todo = match may_have_cruft {
                true => cruft::measure(&mirror, SystemTime::now(), &watch)?,
                false => Todo::Nothing,
            };
            Ok((bytes, todo))
        })
        .await
    }

    /// Writes cruft into a pack of its own when it is this mirror's turn. Returns false when there was always a sync or a
    /// push, or the daemon stops.
    async fn write_cruft(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<bool> {
        // Not within the turn, which syncs wait for.
        let changing = tokio::select! {
            changing = timeout(LEASE_TIMEOUT, gate.begin_change(false)) => changing.ok(),
            () = self.watch.cancelled() => None,
        };
        let Some(changing) = changing else {
            return Ok(false);
        };
        let git_dir = mirror.git_dir.clone();
        let packs = blocking_io(move || packs::all(&git_dir)).await?;
        drop(changing);
        let Some(_turn) = self.turn().await else {
            return Ok(false);
        };
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        blocking_io(move || cruft::write(&git_dir, &packs, &watch)).await?;
        Ok(true)
    }

    /// Drops packs that were replaced, and files that a killed git left, in a moment in which nobody reads the mirror.
    /// Returns false when there was no such moment.
    async fn drop_replaced(&self, gate: &Arc<Gate>, mirror: &Mirror) -> io::Result<bool> {
        let git_dir = mirror.git_dir.clone();
        let (replaced, has_leftovers) = blocking_io(move || {
            let has_leftovers = packs::has_leftovers(&git_dir, SystemTime::now())?;
            Ok((packs::replaced(&git_dir)?, has_leftovers))
        })
        .await?;
        if replaced.is_empty() && !has_leftovers {
            return Ok(true);
        }
        let Some(lease) = self.exclusive_lease(gate, &mirror.git_dir).await? else {
            return Ok(false);
        };
        let git_dir = mirror.git_dir.clone();
        blocking_io(move || {
            let _lease = lease;
            // Derived packs that stay are in nobody's way.
            let _ = derived::sweep(&git_dir);
            packs::drop_replaced(&git_dir, &replaced, SystemTime::now())
        })
        .await?;
        Ok(true)
    }

    /// Drops cruft packs, likewise.
    async fn drop_expired(
        &self,
        gate: &Arc<Gate>,
        mirror: &Mirror,
        expired: Expired,
    ) -> io::Result<bool> {
        let Some(lease) = self.exclusive_lease(gate, &mirror.git_dir).await? else {
            return Ok(false);
        };
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        blocking_io(move || {
            let _lease = lease;
            cruft::drop_expired(&git_dir, &expired, &watch)
        })
        .await?;
        Ok(true)
    }

    /// Writes an index over all packs of a mirror when it is this mirror's turn.
    async fn index(&self, mirror: &Mirror, lock: File) -> io::Result<()> {
        let Some(_turn) = self.turn().await else {
            return Ok(());
        };
        let began = Instant::now();
        let (git_dir, watch) = (mirror.git_dir.clone(), self.watch.clone());
        blocking_io(move || indexes::write(&git_dir, &lock, &watch)).await?;
        let (name, took) = (&mirror.settings.name, began.elapsed().as_millis());
        tracing::info!("'{name}' has an index over all of its packs after {took} ms");
        Ok(())
    }
}

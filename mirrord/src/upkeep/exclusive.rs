//! The locks of upkeep: one that keeps other maintenance from a mirror, and the exclusive lease, under which packs may
//! be dropped.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use common::packs::lease;
use tokio::time::{Instant, sleep, timeout_at};

use super::Upkeep;
use crate::mirrors::gate::{ChangeGuard, Gate};

/// How long a lock is waited for. Readers of a mirror keep its lease, and a child of a dead daemon may keep the upkeep
/// lock; after the next change of the mirror, both are tried again.
pub(super) const LEASE_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a lock is tried that clients or children of a dead daemon have.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl Upkeep {
    /// Locks a mirror's file `upkeep`, against other maintenance and against children of a dead daemon, which keep the lock
    /// as well. Returns None when somebody else has it for too long, or the daemon stops.
    pub(super) async fn upkeep_lock(&self, git_dir: &Path) -> io::Result<Option<File>> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(git_dir.join("upkeep"))?;
        let deadline = Instant::now() + LEASE_TIMEOUT;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(err)) => return Err(err),
            }
            tokio::select! {
                () = sleep(POLL_INTERVAL) => {}
                () = self.watch.cancelled() => return Ok(None),
            }
        }
    }

    /// Waits until nobody reads a mirror or changes it. While the result lives, nobody begins to. Returns None when that
    /// takes too long, or the daemon stops.
    pub(super) async fn exclusive_lease(
        &self,
        gate: &Arc<Gate>,
        git_dir: &Path,
    ) -> io::Result<Option<(ChangeGuard, File)>> {
        let deadline = Instant::now() + LEASE_TIMEOUT;
        let wait = async {
            loop {
                let changing = gate.begin_change(true).await;
                // Clients of a dead daemon are unknown to the gate, and keep the lease.
                if let Some(lease) = lease::try_exclusive(git_dir)? {
                    return Ok((changing, lease));
                }
                drop(changing);
                sleep(POLL_INTERVAL).await;
            }
        };
        tokio::select! {
            lease = timeout_at(deadline, wait) => lease.ok().transpose(),
            () = self.watch.cancelled() => Ok(None),
        }
    }
}

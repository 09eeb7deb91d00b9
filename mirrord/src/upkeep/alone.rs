//! Waits for a moment in which nobody else is at a mirror.

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

/// Whoever reads a mirror is waited for before packs are dropped, and a child of a dead daemon's that is still at work
/// before anything; but not for ever: the next change is another occasion.
pub(super) const LEASE_TIMEOUT: Duration = Duration::from_secs(60);

/// Nothing tells when what a dead daemon has left behind is done, clients or children: this often we look.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(500);

impl Upkeep {
    /// Sees to it that nobody else looks after a mirror for as long as the result lives, nor a child of a dead daemon's, by
    /// which it is held too.
    pub(super) async fn only_one(&self, git_dir: &Path) -> io::Result<Option<File>> {
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

    /// Waits until nobody reads a mirror or changes it. While the result lives, nobody begins to.
    pub(super) async fn alone(
        &self,
        gate: &Arc<Gate>,
        git_dir: &Path,
    ) -> io::Result<Option<(ChangeGuard, File)>> {
        let deadline = Instant::now() + LEASE_TIMEOUT;
        let wait = async {
            loop {
                let changing = gate.begin_change(true).await;
                // Also of those who were told of it by a daemon that is dead by now.
                if let Some(lease) = lease::try_exclusive(git_dir)? {
                    return Ok((changing, lease));
                }
                drop(changing);
                sleep(POLL_INTERVAL).await;
            }
        };
        tokio::select! {
            alone = timeout_at(deadline, wait) => alone.ok().transpose(),
            () = self.watch.cancelled() => Ok(None),
        }
    }
}

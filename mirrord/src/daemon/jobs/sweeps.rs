//! Sweeps all mirrors: soon after the daemon starts, for what a killed daemon has left, and then each hour, for the upkeep
//! that is due.
//!
//! A mirror that is in use is not swept here: its first request has swept it.

use std::{io, sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};

use crate::{mirrors::registry::Mirror, repository::retrack, sync::Engine, upkeep};

/// The request for which the daemon was started comes first.
const FIRST_DELAY: Duration = Duration::from_secs(2);

/// The time from one sweep to the next.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Sweeps all mirrors from time to time, until dropped.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut wait = FIRST_DELAY;
    loop {
        sleep(wait).await;
        let mirrors = {
            let Some(_turn) = engine.upkeep.turn().await else {
                return;
            };
            let working = engine.clone();
            spawn_blocking(move || sweep_all(&working)).await
        };
        match mirrors {
            Ok(Ok(mirrors)) => mirrors
                .iter()
                .for_each(|mirror| engine.upkeep.after_change(&engine.gates, mirror)),
            Ok(Err(err)) => tracing::warn!("cannot read the mirrors: {err}"),
            Err(panic) => tracing::error!("the sweep of the mirrors broke: {panic}"),
        }
        wait = SWEEP_INTERVAL;
    }
}

/// Sweeps what a killed daemon has left, and returns the mirrors whose upkeep is due. Blocks.
fn sweep_all(engine: &Engine) -> io::Result<Vec<Mirror>> {
    let mut due = Vec::new();
    for mirror in engine.registry.mirrors()? {
        let gate = engine.gates.gate(&mirror.git_dir);
        let swept = match gate.try_begin_change() {
            Some(_changing) => gate.sweep_once(|| retrack::sweep(&mirror.git_dir)),
            None => Ok(()),
        };
        let is_due = swept.and_then(|()| upkeep::is_wanted(&mirror.git_dir));
        match is_due {
            Ok(true) => due.push(mirror),
            Ok(false) => {}
            // The mirror has just been removed.
            Err(_) if !mirror.git_dir.exists() => {}
            Err(err) => tracing::warn!("cannot look at '{}': {err}", mirror.settings.name),
        }
    }
    Ok(due)
}

//! Comes by every mirror: when the daemon starts, for what a killed one has left, and then each hour, for those that it is
//! time to look at.
//!
//! A mirror that somebody uses is left alone; what they do first is the same.

use std::{io, sync::Arc, time::Duration};

use tokio::{task::spawn_blocking, time::sleep};

use crate::{mirrors::registry::Mirror, repository::retrack, sync::Engine, upkeep};

/// Whoever has started the daemon goes first.
const FIRST_DELAY: Duration = Duration::from_secs(2);

/// From one round to the next.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Goes its rounds until dropped.
pub(crate) async fn drive(engine: Arc<Engine>) {
    let mut wait = FIRST_DELAY;
    loop {
        sleep(wait).await;
        let mirrors = {
            let Some(_turn) = engine.upkeep.turn().await else {
                return;
            };
            let working = engine.clone();
            spawn_blocking(move || round(&working)).await
        };
        match mirrors {
            Ok(Ok(mirrors)) => mirrors
                .iter()
                .for_each(|mirror| engine.upkeep.after_change(&engine.gates, mirror)),
            Ok(Err(err)) => tracing::warn!("cannot read the mirrors: {err}"),
            Err(panic) => tracing::error!("coming by the mirrors broke: {panic}"),
        }
        wait = SWEEP_INTERVAL;
    }
}

/// Sweeps what a killed daemon has left, and says which mirrors are to be looked at. Blocks.
fn round(engine: &Engine) -> io::Result<Vec<Mirror>> {
    let mut wanted = Vec::new();
    for mirror in engine.registry.mirrors()? {
        let gate = engine.gates.gate(&mirror.git_dir);
        let swept = match gate.try_begin_change() {
            Some(_changing) => gate.sweep_once(|| retrack::sweep(&mirror.git_dir)),
            None => Ok(()),
        };
        let is_wanted = swept.and_then(|()| upkeep::is_wanted(&mirror.git_dir));
        match is_wanted {
            Ok(true) => wanted.push(mirror),
            Ok(false) => {}
            // It has just gone.
            Err(_) if !mirror.git_dir.exists() => {}
            Err(err) => tracing::warn!("cannot look at '{}': {err}", mirror.settings.name),
        }
    }
    Ok(wanted)
}

//! Removes mirrors that nobody uses (`keep-unused`), and, when all mirrors take more than the `disk-budget`, those that were
//! used longest ago.
//!
//! Only a mirror that a clone has made (`mirror.automatic`) is removed, and only where upstream will give all of it again:
//! its next use makes it anew. A mirror that is in use stays until the next check. No request waits for a removal.

mod rules;

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use common::{
    packs::lease,
    protocol::{Cause, Entry, Outcome, What},
    text::byte_size,
};
use tokio::{task::spawn_blocking, time::sleep};

use self::rules::{Limits, Reason};
use crate::{
    mirrors::{
        config::Config,
        journal::{self, Identity},
        registry::Mirror,
    },
    repository::{history, local_refs, quarantine, refs},
    requests::{edit, show},
    sync::{Engine, usage},
    webhook::has_hook,
};

/// The request for which the daemon was started comes first, so that its mirror counts as used.
const FIRST_DELAY: Duration = Duration::from_secs(2);

/// The time from one check to the next.
const CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A mirror that may be removed.
struct Candidate {
    mirror: Mirror,
    last_used: SystemTime,
    /// The bytes that it takes on disk.
    size: u64,
}

/// All mirrors, as far as budgets are concerned.
struct Inventory {
    /// The mirrors that may be removed, the one that was used longest ago first.
    candidates: Vec<Candidate>,
    /// The bytes that all mirrors take on disk.
    total_size: u64,
}

/// Checks all mirrors from time to time, until dropped.
pub(crate) async fn run(engine: Arc<Engine>) {
    let mut wait = FIRST_DELAY;
    // Whether it was logged that the budget cannot be kept.
    let mut has_warned = false;
    loop {
        sleep(wait).await;
        let Some(_turn) = engine.upkeep.turn().await else {
            return;
        };
        let working = engine.clone();
        match spawn_blocking(move || check_all(&working)).await {
            Ok(Ok(None)) => has_warned = false,
            Ok(Ok(Some(warning))) if !has_warned => {
                tracing::warn!("{warning}");
                has_warned = true;
            }
            Ok(Ok(Some(_))) => {}
            Ok(Err(err)) => tracing::warn!("cannot look which mirrors are unused: {err}"),
            Err(panic) => tracing::error!("the search for unused mirrors broke: {panic}"),
        }
        wait = CHECK_INTERVAL;
    }
}

/// Removes the mirrors that may not stay. Returns a warning when the others still take more than the budget. Blocks.
fn check_all(engine: &Engine) -> io::Result<Option<String>> {
    engine.usage.save();
    // A configuration that cannot be read may say that no mirror is removed.
    let config = Config::read(&engine.config);
    let config = config.map_err(|failure| io::Error::other(failure.to_string()))?;
    let limits = Limits {
        keep_unused: config.keep_unused,
        budget: config.disk_budget.0,
    };
    let Inventory {
        candidates,
        mut total_size,
    } = Inventory::read(engine)?;
    for candidate in candidates {
        let reason = limits.reason(candidate.last_used, SystemTime::now(), total_size);
        let Some(reason) = reason else {
            continue;
        };
        match remove(engine, &candidate, reason) {
            Ok(true) => total_size = total_size.saturating_sub(candidate.size),
            Ok(false) => {}
            Err(err) => {
                let name = &candidate.mirror.settings.name;
                tracing::warn!("cannot remove '{name}', which is {reason}: {err}");
            }
        }
    }
    let exceeded = limits.budget.filter(|budget| total_size > *budget);
    Ok(exceeded.map(|budget| {
        let (total, budget) = (byte_size(total_size as f64), byte_size(budget as f64));
        format!("mirrors take {total}, the disk budget is {budget}, and what is left is in use or somebody's own")
    }))
}

impl Inventory {
    fn read(engine: &Engine) -> io::Result<Self> {
        let mut inventory = Self {
            candidates: Vec::new(),
            total_size: 0,
        };
        for mirror in engine.registry.mirrors()? {
            let size = show::size(&mirror.git_dir);
            inventory.total_size += size;
            if mirror.settings.automatic {
                inventory.candidates.push(Candidate {
                    last_used: usage::last_used_or_now(&mirror.git_dir)?,
                    mirror,
                    size,
                });
            }
        }
        inventory
            .candidates
            .sort_by_key(|candidate| candidate.last_used);
        Ok(inventory)
    }
}

/// Removes a mirror, unless something is in the way. Returns whether it is removed.
fn remove(engine: &Engine, candidate: &Candidate, reason: Reason) -> io::Result<bool> {
    let began = Instant::now();
    let Mirror { git_dir, settings } = &candidate.mirror;
    // First without the gate, so that no request waits for this check.
    if must_stay(engine, &candidate.mirror)? {
        return Ok(false);
    }
    let Some(_changing) = engine.gates.gate(git_dir).try_begin_change() else {
        return Ok(false);
    };
    // Clients of a daemon that has died may read the mirror, too.
    let Some(_lease) = lease::try_exclusive(git_dir)? else {
        return Ok(false);
    };
    // From here on no request begins to use the mirror; until now one may have.
    let is_unchanged = engine.registry.mirror_at(git_dir)?.as_ref() == Some(&candidate.mirror)
        && usage::last_used_or_now(git_dir)? == candidate.last_used;
    if !is_unchanged || must_stay(engine, &candidate.mirror)? {
        return Ok(false);
    }
    let identity = Identity::read(git_dir);
    edit::delete(engine, &candidate.mirror)?;
    let name = settings.name.to_string();
    let freed = byte_size(candidate.size as f64);
    tracing::info!("'{name}' is removed, and its next use makes it anew: {reason}; it had {freed}");
    let took = u64::try_from(began.elapsed().as_millis());
    let entry = Entry {
        at: journal::now(),
        mirror: name,
        what: What::Removal,
        cause: Cause::Schedule,
        milliseconds: took.unwrap_or(u64::MAX),
        bytes: candidate.size,
        refs: 0,
        outcome: Outcome::Removed(reason.to_string()),
    };
    engine.journal.record_for(identity, entry);
    Ok(true)
}

/// Whether a mirror must stay: it has something that may be nowhere else, or a webhook at GitLab names it.
fn must_stay(engine: &Engine, mirror: &Mirror) -> io::Result<bool> {
    let Mirror { git_dir, settings } = mirror;
    let state = engine.state(mirror);
    // An upstream that does not answer, is gone or looks wiped may not give it again. One that only wants a login will.
    let may_be_lost = state.failing.is_some() && !state.needs_you;
    if may_be_lost
        || has_hook(git_dir)
        || engine.gates.gate(git_dir).is_in_doubt()
        || quarantine::is_in_use(git_dir)?
    {
        return Ok(true);
    }
    let refs = refs::read(git_dir)?;
    let (track, keep) = (&settings.rules.track, settings.rules.keep_history);
    Ok(!local_refs::list(&refs, track).is_empty()
        || history::has_unexpired(&refs, SystemTime::now(), keep))
}

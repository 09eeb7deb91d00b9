//! Lets mirrors go that nobody uses, and, when all together take too much room, those first that were used longest ago.
//!
//! Only what a clone has made by itself goes (`mirror.automatic`), and only what upstream will give again: its next use
//! makes it anew. Nobody waits for that, and that waits for nobody; whoever is in the way is left alone until the next
//! round.

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

/// Whoever has started the daemon uses a mirror, and says so first.
const FIRST_DELAY: Duration = Duration::from_secs(2);

/// From one round to the next.
const CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// A mirror that may go.
struct Found {
    mirror: Mirror,
    used: SystemTime,
    /// What it takes on disk, in bytes.
    size: u64,
}

/// What there is.
struct Stock {
    /// Mirrors that may go, the one first that was used longest ago.
    automatic: Vec<Found>,
    /// What all mirrors take on disk, in bytes.
    size: u64,
}

/// Goes its rounds until dropped.
pub(crate) async fn drive(engine: Arc<Engine>) {
    let mut wait = FIRST_DELAY;
    // Whether it was said that nothing can be done about it.
    let mut is_said = false;
    loop {
        sleep(wait).await;
        let Some(_turn) = engine.upkeep.turn().await else {
            return;
        };
        let working = engine.clone();
        match spawn_blocking(move || round(&working)).await {
            Ok(Ok(None)) => is_said = false,
            Ok(Ok(Some(words))) if !is_said => {
                tracing::warn!("{words}");
                is_said = true;
            }
            Ok(Ok(Some(_))) => {}
            Ok(Err(err)) => tracing::warn!("cannot look which mirrors are unused: {err}"),
            Err(panic) => tracing::error!("looking which mirrors are unused broke: {panic}"),
        }
        wait = CHECK_INTERVAL;
    }
}

/// Looks at all mirrors once. Says what is wrong when they still take more room than they may. Blocks.
fn round(engine: &Engine) -> io::Result<Option<String>> {
    engine.usage.save();
    // A file that cannot be read may say that nothing goes.
    let config = Config::read(&engine.config);
    let config = config.map_err(|failure| io::Error::other(failure.to_string()))?;
    let limits = Limits {
        keep_unused: config.keep_unused,
        budget: config.disk_budget.0,
    };
    let Stock {
        automatic,
        size: mut all,
    } = Stock::take(engine)?;
    for found in automatic {
        let Some(reason) = limits.reason(found.used, SystemTime::now(), all) else {
            continue;
        };
        match let_go(engine, &found, reason) {
            Ok(true) => all = all.saturating_sub(found.size),
            Ok(false) => {}
            Err(err) => {
                let name = &found.mirror.settings.name;
                tracing::warn!("cannot remove '{name}', which is {reason}: {err}");
            }
        }
    }
    let over = limits.budget.filter(|budget| all > *budget);
    Ok(over.map(|budget| {
        let (all, budget) = (byte_size(all as f64), byte_size(budget as f64));
        format!("mirrors take {all}, the disk budget is {budget}, and what is left is in use or somebody's own")
    }))
}

impl Stock {
    fn take(engine: &Engine) -> io::Result<Self> {
        let mut stock = Self {
            automatic: Vec::new(),
            size: 0,
        };
        for mirror in engine.registry.mirrors()? {
            let size = show::size(&mirror.git_dir);
            stock.size += size;
            if mirror.settings.automatic {
                stock.automatic.push(Found {
                    used: usage::last_or_now(&mirror.git_dir)?,
                    mirror,
                    size,
                });
            }
        }
        stock.automatic.sort_by_key(|found| found.used);
        Ok(stock)
    }
}

/// Removes a mirror, unless something is in the way. Says whether it has gone.
fn let_go(engine: &Engine, found: &Found, reason: Reason) -> io::Result<bool> {
    let began = Instant::now();
    let Mirror { git_dir, settings } = &found.mirror;
    // Without holding up anybody.
    if stays(engine, &found.mirror)? {
        return Ok(false);
    }
    let Some(_changing) = engine.gates.gate(git_dir).try_begin_change() else {
        return Ok(false);
    };
    // Those who were told of it by a daemon that is dead by now read it, too.
    let Some(_lease) = lease::try_exclusive(git_dir)? else {
        return Ok(false);
    };
    // From here on nobody begins anything with it; until now somebody may have.
    let is_as_found = engine.registry.mirror_at(git_dir)?.as_ref() == Some(&found.mirror)
        && usage::last_or_now(git_dir)? == found.used;
    if !is_as_found || stays(engine, &found.mirror)? {
        return Ok(false);
    }
    let identity = Identity::of(git_dir);
    edit::delete(engine, &found.mirror)?;
    let name = settings.name.to_string();
    let freed = byte_size(found.size as f64);
    tracing::info!("'{name}' is removed, and its next use makes it anew: {reason}; it had {freed}");
    let took = u64::try_from(began.elapsed().as_millis());
    let entry = Entry {
        at: journal::now(),
        mirror: name,
        what: What::Removal,
        cause: Cause::Schedule,
        milliseconds: took.unwrap_or(u64::MAX),
        bytes: found.size,
        refs: 0,
        outcome: Outcome::Removed(reason.to_string()),
    };
    engine.journal.record(identity, entry);
    Ok(true)
}

/// Whether a mirror has something that is nowhere else, or is not known to be, or that somebody counts on.
fn stays(engine: &Engine, mirror: &Mirror) -> io::Result<bool> {
    let Mirror { git_dir, settings } = mirror;
    let state = engine.state(mirror);
    // An upstream that does not answer, is gone or looks wiped may not give it again. One that only wants a login has it.
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
    Ok(
        !local_refs::list(&refs, track).is_empty()
            || history::lasts(&refs, SystemTime::now(), keep),
    )
}

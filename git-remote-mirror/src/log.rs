//! The helper's log: on stderr, when `MIRROR_LOG` is set.

use std::env;

use common::{
    log_level::{LOG_LEVELS, MIRROR_LOG, log_level_from_env},
    progress::tell,
};
use tracing::level_filters::LevelFilter;

/// Starts the log.
pub(crate) fn start() {
    if env::var_os(MIRROR_LOG).is_none_or(|level| level.is_empty()) {
        return;
    }
    let Some(level) = log_level_from_env() else {
        let levels = LOG_LEVELS.join(", ");
        return tell(&format!("warning: 'MIRROR_LOG' is none of {levels}"));
    };
    let level: LevelFilter = level.parse().unwrap_or(LevelFilter::OFF);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        // A line that cannot be written is lost; saying so on a broken stderr would be a panic.
        .log_internal_errors(false)
        .init();
}

//! How much a program logs, as `MIRROR_LOG` says.

use std::env;

/// The levels, from the fewest lines to the most.
pub const LOG_LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The environment variable that names a level.
pub const MIRROR_LOG: &str = "MIRROR_LOG";

/// The level that the environment names. None when the variable is not set, or is no level.
#[must_use]
pub fn log_level_from_env() -> Option<&'static str> {
    let named = env::var(MIRROR_LOG).ok()?;
    LOG_LEVELS.into_iter().find(|level| *level == named)
}

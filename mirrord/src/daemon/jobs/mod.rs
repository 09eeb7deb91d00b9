//! What the daemon does without being asked.

pub(crate) mod budgets;
pub(crate) mod scheduled;
pub(crate) mod sweeps;

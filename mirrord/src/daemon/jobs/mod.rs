//! What the daemon does without a request: scheduled syncs, sweeps, and the removal of unused mirrors.

pub(crate) mod budgets;
pub(crate) mod scheduled;
pub(crate) mod sweeps;

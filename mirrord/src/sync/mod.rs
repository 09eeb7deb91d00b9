//! Brings mirrors in step with their upstreams: one task per mirror, which drains its queue, runs one sync, and answers the
//! whole batch with what that sync really did.
//!
//! A request that arrives during a run is left in the queue: upstream may already have been asked, so only a later run
//! can vouch for what it has now. A batch is of one access; what one login may read says nothing about another.
//!
//! A request goes from `engine` (requests a sync) to `task` (waits for its turn) to `run` (the sync itself: `ask`,
//! `receive`, `judge`, `apply`; then `on_demand`, where a client wants more than what is tracked).

mod apply;
mod ask;
mod download;
mod engine;
mod guard;
mod hang;
mod job;
mod journal_entry;
mod judge;
mod memory;
mod on_demand;
pub(crate) mod open_pushes;
mod receive;
mod run;
mod siblings;
mod state;
mod status;
mod task;
mod trouble;
pub(crate) mod usage;

pub(crate) use self::{
    engine::Engine,
    job::{Create, Outcome, Pending, SyncOptions},
    trouble::{Failed, take_mended},
    usage::Download,
};

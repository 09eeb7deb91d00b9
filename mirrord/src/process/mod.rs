//! What every piece of work needs: children, progress and cancelling, questions to clients, files that last.

pub(crate) mod blocking;
pub(crate) mod checksum;
pub(crate) mod child;
pub(crate) mod durable;
pub(crate) mod id;
pub(crate) mod local_time;
pub(crate) mod memory;
pub(crate) mod no_progress;
pub(crate) mod questions;
pub(crate) mod relay;
pub(crate) mod watch;

//! The mirrors on disk, their settings, who uses them, and the journal of what happened.

pub(crate) mod config;
pub(crate) mod gate;
pub(crate) mod journal;
#[cfg(test)]
mod page;
pub(crate) mod registry;
pub(crate) mod repairs;
pub(crate) mod settings;
pub(crate) mod spelling;

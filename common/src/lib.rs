//! The contract between the programs: what crosses the socket, where things lie, what an upstream's address may be.
//!
//! Nothing here knows how a sync works; the helper depends on this crate alone and starts in a millisecond.

pub mod address;
pub mod client;
pub mod daemon_process;
pub mod git;
pub mod log_level;
pub mod no_progress;
pub mod packs;
pub mod paths;
pub mod private_dir;
pub mod progress;
pub mod protocol;
pub mod refspec;
pub mod text;

//! The contract between the programs: what crosses the socket, where things lie, what an upstream's address may be.
//!
//! Nothing here knows how a sync works; the helper depends on this crate alone and starts in a millisecond.

pub mod ask;
pub mod client;
pub mod complaint;
pub mod config_file;
pub mod derived;
pub mod digest;
pub mod errand;
pub mod git;
pub mod link;
pub mod name;
pub mod netrc;
pub mod paths;
pub mod policy;
pub mod progress;
pub mod protocol;
pub mod refspec;
pub mod running;
pub mod ssh;
pub mod stamps;
pub mod standing;
pub mod steps;
pub mod terminal;
pub mod upstream_url;
pub mod url_config;
pub mod verified;
pub mod wire;

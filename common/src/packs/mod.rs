//! Packs and refs as both programs read them: what was verified, what a sync brought, how a client is given it.

pub mod derived;
pub mod digest;
pub mod lease;
pub mod link;
pub mod listing;
pub mod stamps;
pub mod steps;
pub mod verified;

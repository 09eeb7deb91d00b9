//! Packs and refs as both programs read them: what was verified, what a sync brought, how a client is given it, and git's
//! formats of refs and packets.

pub mod derived;
pub mod digest;
pub mod lease;
pub mod link;
pub mod listing;
pub mod packed_refs;
pub mod pkt_line;
pub mod stamps;
pub mod steps;
pub mod verified;

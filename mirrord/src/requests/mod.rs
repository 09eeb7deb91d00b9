//! The requests that clients make, one module each.

pub(crate) mod add;
pub(crate) mod conversation;
pub(crate) mod credential;
pub(crate) mod edit;
pub(crate) mod expiry;
pub(crate) mod fetch;
pub(crate) mod freshness;
pub(crate) mod history;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod push;
pub(crate) mod show;

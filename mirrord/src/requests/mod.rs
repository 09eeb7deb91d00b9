//! The requests that clients make, one module each. Most begin in `resolve` (which mirror is meant), wait in `conversation`,
//! and fail with an `error`.

pub(crate) mod add;
pub(crate) mod complaint;
pub(crate) mod conversation;
pub(crate) mod credential;
pub(crate) mod edit;
pub(crate) mod error;
pub(crate) mod expiry;
pub(crate) mod fetch;
pub(crate) mod freshness;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod push;
pub(crate) mod resolve;
pub(crate) mod show;
pub(crate) mod sync;
pub(crate) mod test;

//! The requests that clients make, one module each. Most begin in `resolve` (which mirror is meant). `conversation` is the
//! connection to the client, and `error` how a request fails.

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
pub(crate) mod sync_command;
pub(crate) mod test;

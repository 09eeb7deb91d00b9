//! The daemon: its start and its end (`lifecycle`), its socket, its service, and what it does without being asked (`jobs`).
//! A request goes from `server` to `dispatch`, and on into the room `requests`.

pub(crate) mod activation;
pub(crate) mod connections;
mod dispatch;
pub(crate) mod jobs;
mod lifecycle;
pub(crate) mod lock;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod socket;
mod status;

pub(crate) use self::lifecycle::{Starter, run, stopped_by_signal};

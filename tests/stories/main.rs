//! Every story in one program, so that they share one build and run at once.

mod addresses;
mod clone;
mod credentials;
mod daemon;
mod differential;
mod errors;
mod fence;
mod fetch;
mod hostile;
mod http;
mod progress;
mod readme;
mod socket;
mod ssh;
mod ssh_errors;
mod ssh_own;
mod ssh_push;
mod stale;
mod stand_in;
mod sync;

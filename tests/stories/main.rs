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
mod push;
mod push_cuts;
mod push_like_git;
mod push_login;
mod push_pair;
mod push_races;
mod push_refs;
mod push_refused;
mod push_settings;
mod push_stale;
mod readme;
mod socket;
mod stale;
mod stand_in;
mod sync;

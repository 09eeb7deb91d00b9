//! The stage itself, tried with plain git: what the other stories stand on.

mod answers;
mod faults;
mod keyring;
mod projects;
mod stage;
mod terminal;

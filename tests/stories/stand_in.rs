//! The stage itself, tried with plain git: what the other stories stand on.

mod answers;
mod faults;
mod projects;
mod stage;
mod terminal;

//! How the programs write things for people and in files.

pub mod time;

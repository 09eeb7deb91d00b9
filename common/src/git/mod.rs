//! git: its children, its configuration, and the programs that it asks for logins.

pub mod ask;
pub mod child_log;
pub mod client_context;
mod command;
pub mod complaint;
pub mod config_file;
pub mod credential;
pub mod netrc;
pub mod progress_line;
pub mod reading_config;
mod remote_proxy;
pub mod shell;
pub mod ssh;
pub mod terminal;
pub mod transports;

pub use command::{
    GUARD, TOLERATED, add_alternate, as_user, at, carry_user, environment, fenced, found, found_on,
    hide_netrc, leave_repository, niced, of_user, of_user_at_large, to_upstream,
};

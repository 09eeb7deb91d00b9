//! The commands of `mirrord`, one file each. A command asks the daemon on its socket (`call`) and prints the reply
//! (`print`).

pub(crate) mod accept;
pub(crate) mod add;
mod argument;
mod call;
pub(crate) mod completions;
pub(crate) mod config;
mod credential;
mod health;
pub(crate) mod history;
pub(crate) mod keyring;
pub(crate) mod list;
pub(crate) mod log;
mod print;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod restore;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod set;
mod settings;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod sync;
pub(crate) mod test;
pub(crate) mod webhook;
pub(crate) mod why;

use std::io::{self, IsTerminal, Stderr};

use clap::Args;
use common::{progress::Renderer, protocol::Failure};

pub(crate) use self::print::{exit_code, print_error};
use self::{
    argument::{display_name, read_user_config, resolve_address, resolve_mirror},
    call::{block_on, call_daemon, call_for_list, call_running_daemon, read_list},
};

/// How much a command prints on stderr.
#[derive(Args)]
pub(crate) struct Verbosity {
    /// Print nothing but warnings and errors
    #[arg(short, long)]
    quiet: bool,
    /// Show progress even when stderr is not a terminal
    #[arg(long)]
    progress: bool,
}

impl Verbosity {
    fn renderer(&self) -> Renderer<Stderr> {
        Renderer::stderr(self.shows_progress())
    }

    /// Whether progress is shown, as git decides it: if asked for, or on a terminal unless quiet.
    fn shows_progress(&self) -> bool {
        self.progress || !self.quiet && io::stderr().is_terminal()
    }
}

/// Shows progress on stderr if that is a terminal.
fn terminal_renderer() -> Renderer<Stderr> {
    Renderer::stderr(io::stderr().is_terminal())
}

/// The hint of an error, if it has one.
fn hint_of(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Failure>()?.hint.as_deref()
}

//! `mirrord`: the daemon that keeps mirrors in step with their upstreams, and the commands that talk to it.

mod add;
mod ancestry;
mod children;
mod commands;
mod config;
mod conversation;
mod credentials;
mod daemon;
mod durable;
mod edit;
mod fetch;
mod freshness;
mod gate;
mod guard;
mod history;
mod local;
mod plan;
mod publish;
mod push;
mod pushes;
mod quarantine;
mod recall;
mod refs;
mod registry;
mod retrack;
#[cfg(test)]
mod sample;
mod server;
mod settings;
mod show;
mod sync;
mod upstream;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common::{paths::Paths, protocol::Failure};

/// Keeps local mirrors of git projects in step with their upstreams.
///
/// git starts the daemon itself: `git clone mirror::https://gitlab.example/group/project.git`
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(commands::run::Run),
    /// Stop the daemon, after what it is serving
    Stop,
    /// Say how the daemon is; exit code 3 when it does not run
    Status(commands::status::Status),
    /// List the mirrors
    #[command(visible_alias = "ls")]
    List(commands::list::List),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let result = Paths::from_env()
        .map_err(|err| Failure::from(err).into())
        .and_then(|paths| match command {
            Command::Run(run) => run.execute(paths),
            Command::Stop => commands::stop::execute(&paths),
            Command::Status(status) => status.execute(&paths),
            Command::List(list) => list.execute(&paths),
        });
    match result {
        Ok(code) => code,
        Err(error) => {
            commands::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The hint of an error, when it has one.
fn hint(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Failure>()?.hint.as_deref()
}

//! `mirrord`: the daemon that keeps mirrors in step with their upstreams, and the commands that talk to it.

mod commands;
mod credentials;
mod daemon;
mod mirrors;
mod process;
mod repository;
mod requests;
mod schedule;
mod sync;

mod upkeep;
mod upstream;
mod webhook;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use common::{git::ask, paths::Paths, protocol::Failure};

/// Keeps local mirrors of git projects in step with their upstreams
///
/// git starts the daemon by itself, and a clone makes a mirror:
///
///     git clone mirror::https://gitlab.example/group/project.git
///     mirrord list
///
/// A mirror can have a name, settings, and branches that never leave it; see
/// 'mirrord add --help'. Wherever a command wants the NAME of a mirror, its URL will do too.
#[derive(Parser)]
#[command(version, verbatim_doc_comment, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Add(commands::add::Add),
    Test(commands::test::Test),
    #[command(visible_alias = "ls")]
    List(commands::list::List),
    Show(commands::show::Show),
    Why(commands::why::Why),
    Sync(commands::sync::Sync),
    Set(commands::set::Set),
    Log(commands::log::Log),
    Webhook(commands::webhook::Webhook),
    History(commands::history::History),
    Restore(commands::restore::Restore),
    Accept(commands::accept::Accept),
    Rename(commands::rename::Rename),
    #[command(visible_alias = "rm")]
    Remove(commands::remove::Remove),
    Config(commands::config::Config),
    Status(commands::status::Status),
    Stop(commands::stop::Stop),
    Service(commands::service::Service),
    Run(commands::run::Run),
    Completions(commands::completions::Completions),
    #[command(hide = true)]
    Keyring(commands::keyring::Keyring),
}

fn main() -> ExitCode {
    ask::forbid_core_dumps();
    match execute(&Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            commands::print_error(&error);
            commands::exit_code(&error)
        }
    }
}

fn execute(command: &Command) -> anyhow::Result<ExitCode> {
    let paths = || Paths::from_env().map_err(Failure::from);
    match command {
        Command::Add(add) => add.execute(&paths()?),
        Command::Test(test) => test.execute(&paths()?),
        Command::List(list) => list.execute(&paths()?),
        Command::Show(show) => show.execute(&paths()?),
        Command::Sync(sync) => sync.execute(&paths()?),
        Command::Set(set) => set.execute(&paths()?),
        Command::Log(log) => log.execute(&paths()?),
        Command::History(history) => history.execute(&paths()?),
        Command::Restore(restore) => restore.execute(&paths()?),
        Command::Accept(accept) => accept.execute(&paths()?),
        Command::Rename(rename) => rename.execute(&paths()?),
        Command::Remove(remove) => remove.execute(&paths()?),
        Command::Config(config) => config.execute(&paths()?),
        Command::Webhook(webhook) => webhook.execute(&paths()?),
        Command::Status(status) => status.execute(&paths()?),
        Command::Why(why) => why.execute(&paths()?),
        Command::Stop(stop) => stop.execute(&paths()?),
        Command::Service(service) => service.execute(&paths()?),
        Command::Run(run) => run.execute(paths()?),
        Command::Keyring(keyring) => keyring.execute(),
        Command::Completions(completions) => completions.execute(Arguments::command()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_no_command_takes_are_refused_with_what_is_wrong() {
        let table: [&[&str]; 8] = [
            &["test"],
            &["frobnicate"],
            &["add", "project"],
            &["set", "project", "--keep"],
            &["sync"],
            &["sync", "--all", "project"],
            &["config", "--unset", "stale", "fresh-for"],
            &["restore", "project"],
        ];
        let mut all = String::new();
        for args in table {
            let parsed = Arguments::try_parse_from(["mirrord"].iter().chain(args));
            let refusal = parsed.err().expect("it is refused");
            assert_eq!(refusal.exit_code(), 2);
            let text = refusal.to_string();
            let (message, _) = text.split_once("\n\nUsage: ").expect("the usage");
            all.push_str(message);
            all.push('\n');
        }
        insta::assert_snapshot!(all, @"
        error: the following required arguments were not provided:
          <NAME|URL>
        error: unrecognized subcommand 'frobnicate'
        error: the following required arguments were not provided:
          <URL>
        error: the following required arguments were not provided:
          --track <REFSPEC>
        error: the following required arguments were not provided:
          <NAME>...
        error: the argument '--all' cannot be used with '[NAME]...'
        error: the argument '--unset <KEY>' cannot be used with '[KEY]'
        error: the following required arguments were not provided:
          <REF>
        ");
    }
}

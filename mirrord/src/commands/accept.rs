//! `mirrord accept`: takes an upstream as it is now, although it looks empty or replaced.

use std::process::ExitCode;

use clap::Args;
use common::{paths::Paths, protocol::Request};

use super::{Verbosity, print::print_json, read_user_config, resolve_address, sync::sync_mirror};

/// Take upstream as it is now, although it looks empty or replaced
///
/// When upstream suddenly has no branch any more, or most of its branches are gone, or all
/// of them are others, a sync stops and the mirror serves what it had. 'accept' makes the
/// mirror what upstream is now. What it had goes to the history, and 'mirrord restore'
/// brings it back; local branches are not touched.
///
///     mirrord accept project
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Accept {
    /// The mirror's name, or its URL
    name: String,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbosity: Verbosity,
}

impl Accept {
    /// Has the daemon sync the mirror without the guard against an upstream that looks wiped.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let config = read_user_config()?;
        let address = resolve_address(&self.name, &config)?;
        let synced = sync_mirror(paths, &address, &config, Request::Accept, &self.verbosity)?;
        if self.json {
            print_json(&synced.to_json())?;
        } else {
            synced.print(None, &self.verbosity)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

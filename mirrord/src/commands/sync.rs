//! `mirrord sync` and `mirrord accept`: bring mirrors in step now.

use std::process::ExitCode;

use clap::Args;
use common::{
    client::something_else,
    errand,
    name::Name,
    paths::Paths,
    progress::masked,
    protocol::{Failure, Fetch, Reply, Request},
    standing::UserConfig,
    upstream_url::Address,
};

use super::{
    Noise, address, called, carry_out, complain, converse,
    list::{NONE, mirrors},
    print::{count, print, warn},
    user_config,
};

/// Bring mirrors in step with upstream now, however fresh they are
///
/// Without a clone: for a machine that is about to go offline, or for one that does not
/// sync when it fetches. Local branches are not touched. One mirror that cannot be brought
/// in step does not keep the others from it; the exit code is then 1.
///
///     mirrord sync project
///     mirrord sync --all
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Sync {
    /// The mirrors' names, or URLs
    #[arg(value_name = "NAME", required_unless_present = "all")]
    names: Vec<String>,
    /// All mirrors that there are
    #[arg(long, conflicts_with = "names")]
    all: bool,
    #[command(flatten)]
    noise: Noise,
}

impl Sync {
    /// Syncs one after the other.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let config = user_config()?;
        let names = if self.all {
            let mirrors = converse(mirrors(paths))?;
            mirrors.into_iter().map(|mirror| mirror.name).collect()
        } else {
            self.names.clone()
        };
        if names.is_empty() && !self.noise.quiet {
            print(NONE)?;
        }
        let mut code = ExitCode::SUCCESS;
        for name in &names {
            let address = match self.all {
                // What is listed is a name, whatever git would read in it.
                true => Name::parse(name)
                    .map(Address::Name)
                    .map_err(|err| Failure::here(err.to_string())),
                false => address(name, &config),
            };
            let of = (names.len() > 1).then(|| called(name));
            let synced = address
                .map_err(Into::into)
                .and_then(|address| in_step(paths, &address, &config, Request::Sync, &self.noise));
            match (synced, of) {
                (Ok(warnings), of) => warn(of.as_deref(), &warnings),
                (Err(error), None) => return Err(error),
                (Err(error), Some(name)) => {
                    complain(&error.context(name));
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }
}

/// Take upstream as it is now, although it looks empty or replaced
///
/// When upstream suddenly has no branch any more, or most of its branches are gone, or all
/// of them are others, a sync stops and the mirror serves what it had. This says that it
/// is meant: the mirror becomes what upstream is. What it had goes to the history, from
/// where 'mirrord restore' brings it back; local branches are not touched.
///
///     mirrord accept project
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Accept {
    /// The mirror's name, or its URL
    name: String,
    #[command(flatten)]
    noise: Noise,
}

impl Accept {
    /// Syncs, believing what comes.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let config = user_config()?;
        let address = address(&self.name, &config)?;
        let warnings = in_step(paths, &address, &config, Request::Accept, &self.noise)?;
        warn(None, &warnings);
        Ok(ExitCode::SUCCESS)
    }
}

/// Brings one mirror in step and says what came of it; returns what the person should know.
fn in_step(
    paths: &Paths,
    address: &Address,
    config: &UserConfig,
    request: fn(Fetch) -> Request,
    noise: &Noise,
) -> anyhow::Result<Vec<String>> {
    let request = request(errand::request(address, config)?);
    let reply = converse(carry_out(paths, &request, noise.renderer()))?;
    let Reply::Synced {
        name,
        changed,
        warnings,
    } = reply
    else {
        return Err(something_else().into());
    };
    if !noise.quiet {
        let name = masked(name.as_bytes());
        print(&match changed {
            0 => format!("{name}: in step\n"),
            _ => format!("{name}: {} changed\n", count(changed, "ref")),
        })?;
    }
    Ok(warnings)
}

//! `mirrord sync` and `mirrord accept`: bring mirrors in step now.

use std::process::ExitCode;

use clap::Args;
use common::{
    address::{name::Name, resolve, upstream_url::Address},
    git::client_context::UserConfig,
    paths::Paths,
    progress::masked,
    protocol::{Failure, Fetch, Reply, Request, client::something_else},
};
use serde_json::{Value, json};

use super::{
    Noise, address, called, carry_out, complain, converse,
    list::{NONE, mirrors},
    print::{count, print, print_json, warn},
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
    /// Print what came of it as one JSON array
    #[arg(long)]
    json: bool,
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
        if names.is_empty() && !self.noise.quiet && !self.json {
            print(NONE)?;
        }
        let mut done = Vec::new();
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
                (Ok(in_step), _) if self.json => done.push(in_step.described()),
                (Ok(in_step), of) => in_step.say(of.as_deref(), &self.noise)?,
                (Err(error), None) => return Err(error),
                (Err(error), Some(name)) => {
                    complain(&error.context(name));
                    code = ExitCode::FAILURE;
                }
            }
        }
        if self.json {
            print_json(&json!(done))?;
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
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    noise: Noise,
}

impl Accept {
    /// Syncs, believing what comes.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let config = user_config()?;
        let address = address(&self.name, &config)?;
        let in_step = in_step(paths, &address, &config, Request::Accept, &self.noise)?;
        if self.json {
            print_json(&in_step.described())?;
        } else {
            in_step.say(None, &self.noise)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A mirror that is in step.
struct InStep {
    name: String,
    changed: u64,
    warnings: Vec<String>,
}

impl InStep {
    fn described(&self) -> Value {
        json!({ "name": self.name, "changed": self.changed, "warnings": self.warnings })
    }

    /// Says what came of it; `of` is its name where more than one is spoken of.
    fn say(&self, of: Option<&str>, noise: &Noise) -> anyhow::Result<()> {
        if !noise.quiet {
            let name = masked(self.name.as_bytes());
            print(&match self.changed {
                0 => format!("{name}: in step\n"),
                changed => format!("{name}: {} changed\n", count(changed, "ref")),
            })?;
        }
        warn(of, &self.warnings);
        Ok(())
    }
}

/// Brings one mirror in step.
fn in_step(
    paths: &Paths,
    address: &Address,
    config: &UserConfig,
    request: fn(Fetch) -> Request,
    noise: &Noise,
) -> anyhow::Result<InStep> {
    let request = request(resolve::request(address, config)?);
    match converse(carry_out(paths, &request, noise.renderer()))? {
        Reply::Synced {
            name,
            changed,
            warnings,
        } => Ok(InStep {
            name,
            changed,
            warnings,
        }),
        _ => Err(something_else().into()),
    }
}

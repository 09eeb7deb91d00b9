//! `mirrord sync`: syncs mirrors now.

use std::process::ExitCode;

use clap::Args;
use common::{
    address::{name::Name, upstream_url::Address},
    client::{resolve, something_else},
    git::client_context::UserConfig,
    paths::Paths,
    protocol::{Failure, Fetch, Reply, Request},
    text::masked,
};
use serde_json::{Value, json};

use super::{
    Verbosity, block_on, call_daemon, display_name,
    list::{NO_MIRRORS, list_mirrors},
    print::{count, print, print_error, print_json, print_warnings},
    read_user_config, resolve_address,
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
    verbosity: Verbosity,
}

impl Sync {
    /// Syncs one mirror after the other, and prints each result.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let config = read_user_config()?;
        let names = if self.all {
            let mirrors = block_on(list_mirrors(paths))?;
            mirrors.into_iter().map(|mirror| mirror.name).collect()
        } else {
            self.names.clone()
        };
        if names.is_empty() && !self.verbosity.quiet && !self.json {
            print(NO_MIRRORS)?;
        }
        let mut objects = Vec::new();
        let mut code = ExitCode::SUCCESS;
        for name in &names {
            let address = match self.all {
                // A listed mirror is meant by its name, even if an `insteadOf` would change that.
                true => Name::parse(name)
                    .map(Address::Name)
                    .map_err(|err| Failure::here(err.to_string())),
                false => resolve_address(name, &config),
            };
            let prefix = (names.len() > 1).then(|| display_name(name));
            let synced = address.map_err(Into::into).and_then(|address| {
                sync_mirror(paths, &address, &config, Request::Sync, &self.verbosity)
            });
            match (synced, prefix) {
                (Ok(synced), _) if self.json => objects.push(synced.to_json()),
                (Ok(synced), prefix) => synced.print(prefix.as_deref(), &self.verbosity)?,
                (Err(error), None) => return Err(error),
                (Err(error), Some(name)) => {
                    print_error(&error.context(name));
                    code = ExitCode::FAILURE;
                }
            }
        }
        if self.json {
            print_json(&json!(objects))?;
        }
        Ok(code)
    }
}

/// The result of a sync of one mirror.
pub(super) struct SyncedMirror {
    name: String,
    /// The number of refs that changed.
    changed: u64,
    warnings: Vec<String>,
}

impl SyncedMirror {
    /// The result for scripts.
    pub(super) fn to_json(&self) -> Value {
        json!({ "name": self.name, "changed": self.changed, "warnings": self.warnings })
    }

    /// Prints the result for people. `prefix` is the name of the mirror if the command is about several.
    pub(super) fn print(&self, prefix: Option<&str>, verbosity: &Verbosity) -> anyhow::Result<()> {
        if !verbosity.quiet {
            let name = masked(self.name.as_bytes());
            print(&match self.changed {
                0 => format!("{name}: in step\n"),
                changed => format!("{name}: {} changed\n", count(changed, "ref")),
            })?;
        }
        print_warnings(prefix, &self.warnings);
        Ok(())
    }
}

/// Has the daemon sync one mirror.
pub(super) fn sync_mirror(
    paths: &Paths,
    address: &Address,
    config: &UserConfig,
    request: fn(Fetch) -> Request,
    verbosity: &Verbosity,
) -> anyhow::Result<SyncedMirror> {
    let request = request(resolve::request(address, config)?);
    match block_on(call_daemon(paths, &request, verbosity.renderer()))? {
        Reply::Synced {
            name,
            changed,
            warnings,
        } => Ok(SyncedMirror {
            name,
            changed,
            warnings,
        }),
        _ => Err(something_else().into()),
    }
}

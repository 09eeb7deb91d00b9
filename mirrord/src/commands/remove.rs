//! `mirrord remove`: removes a mirror, unless it has local branches or tags.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use common::{
    client::{Client, something_else},
    paths::Paths,
    protocol::{Failure, LocalRef, Reply, Request},
    text::{masked, shell_word},
};
use serde_json::json;

use super::{
    block_on, display_name,
    print::{exit_code, print, print_error_with_list, print_json, print_warnings},
    resolve_mirror, terminal_renderer,
};

/// Remove a mirror and everything in it; upstream and clones are not touched
///
/// While it has local branches or tags, which may be nowhere else, it is not removed but
/// they are listed. With --force they are first written to a git bundle, a file with all
/// that is needed to bring them back, and it says where:
///
///     mirrord remove old-project --force
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Remove {
    /// The mirror's name, or its URL
    name: String,
    /// Also when it has local branches or tags; they are left in a bundle
    #[arg(long)]
    force: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// The answer of the daemon.
enum Outcome {
    /// The mirror is removed.
    Removed {
        /// The file with its local branches and tags, if it had any.
        bundle: Option<PathBuf>,
        warnings: Vec<String>,
    },
    /// The mirror is not removed, mostly because of its local branches and tags.
    NotRemoved {
        failure: Failure,
        locals: Vec<LocalRef>,
    },
}

impl Remove {
    /// Has the daemon remove the mirror, or lists the local refs that prevent it.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let request = Request::Remove {
            mirror: resolve_mirror(&self.name)?,
            force: self.force,
        };
        match block_on(call(paths, &request))? {
            Outcome::Removed { bundle, warnings } => {
                if self.json {
                    print_json(&json!({ "removed": display_name(&self.name), "bundle": bundle }))?;
                } else {
                    print(&format!("'{}' is removed\n", display_name(&self.name)))?;
                    if let Some(bundle) = bundle {
                        print(&bundle_text(&bundle))?;
                    }
                }
                print_warnings(None, &warnings);
                Ok(ExitCode::SUCCESS)
            }
            Outcome::NotRemoved { failure, locals } => {
                let error = failure.into();
                let names: Vec<_> = locals.iter().map(|local| masked(&local.name)).collect();
                print_error_with_list(&error, &names);
                Ok(exit_code(&error))
            }
        }
    }
}

/// Sends the request, and reads the local refs and the answer.
async fn call(paths: &Paths, request: &Request) -> Result<Outcome, Failure> {
    let mut client = Client::connect_or_start(paths).await?;
    let mut reply = client.converse(request, &mut terminal_renderer()).await?;
    let mut locals = Vec::new();
    loop {
        match reply {
            Reply::Locals(batch) => locals.extend(batch),
            Reply::Removed { bundle, warnings } => {
                return Ok(Outcome::Removed { bundle, warnings });
            }
            Reply::Failed(failure) => return Ok(Outcome::NotRemoved { failure, locals }),
            _ => return Err(something_else()),
        }
        reply = client.receive().await?;
    }
}

/// Where the local branches are, and the commands that list and clone them.
fn bundle_text(bundle: &Path) -> String {
    let bundle = masked(bundle.to_string_lossy().as_bytes());
    let quoted = shell_word(&bundle);
    format!(
        "local branches are in '{bundle}'\n    git bundle list-heads {quoted}\n    git clone {quoted}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_commands_are_quoted_for_a_shell() {
        let text = bundle_text(Path::new("/home/o'neil/a b.bundle"));
        assert!(
            text.ends_with("git clone '/home/o'\\''neil/a b.bundle'\n"),
            "{text}"
        );
    }
}

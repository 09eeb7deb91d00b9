//! `mirrord remove`: the end of a mirror.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use common::{
    paths::Paths,
    progress::masked,
    protocol::{
        Failure, LocalRef, Reply, Request,
        client::{Client, something_else},
    },
};
use serde_json::json;

use super::{
    called, converse, mirror, on_terminal,
    print::{complain_listing, exit_code, print, print_json, quoted, warn},
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

/// What became of it: it went, and its local branches are in a bundle when it had any; or they are in the way.
enum Outcome {
    Removed(Option<PathBuf>, Vec<String>),
    InTheWay(Failure, Vec<LocalRef>),
}

impl Remove {
    /// Has the daemon do it, and lists what is in the way.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let request = Request::Remove {
            mirror: mirror(&self.name)?,
            force: self.force,
        };
        match converse(ask(paths, &request))? {
            Outcome::Removed(bundle, warnings) => {
                if self.json {
                    print_json(&json!({ "removed": called(&self.name), "bundle": bundle }))?;
                } else {
                    print(&format!("'{}' is removed\n", called(&self.name)))?;
                    if let Some(bundle) = bundle {
                        print(&left(&bundle))?;
                    }
                }
                warn(None, &warnings);
                Ok(ExitCode::SUCCESS)
            }
            Outcome::InTheWay(failure, locals) => {
                let error = failure.into();
                let names: Vec<_> = locals.iter().map(|local| masked(&local.name)).collect();
                complain_listing(&error, &names);
                Ok(exit_code(&error))
            }
        }
    }
}

async fn ask(paths: &Paths, request: &Request) -> Result<Outcome, Failure> {
    let mut client = Client::connect_or_start(paths).await?;
    let mut reply = client.converse(request, &mut on_terminal()).await?;
    let mut locals = Vec::new();
    loop {
        match reply {
            Reply::Locals(batch) => locals.extend(batch),
            Reply::Removed { bundle, warnings } => return Ok(Outcome::Removed(bundle, warnings)),
            Reply::Failed(failure) => return Ok(Outcome::InTheWay(failure, locals)),
            _ => return Err(something_else()),
        }
        reply = client.hear().await?;
    }
}

/// Where the local branches are, and what to type to see them and to have them.
fn left(bundle: &Path) -> String {
    let bundle = masked(bundle.to_string_lossy().as_bytes());
    let quoted = quoted(&bundle);
    format!(
        "local branches are in '{bundle}'\n    git bundle list-heads {quoted}\n    git clone {quoted}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_type_works_as_it_is_printed() {
        let text = left(Path::new("/home/o'neil/a b.bundle"));
        assert!(
            text.ends_with("git clone '/home/o'\\''neil/a b.bundle'\n"),
            "{text}"
        );
    }
}

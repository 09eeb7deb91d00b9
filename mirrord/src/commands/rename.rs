//! `mirrord rename`: another name for a mirror.

use std::process::ExitCode;

use clap::Args;
use common::{
    paths::Paths,
    progress::masked,
    protocol::{Mirror, Reply, Request, client::something_else},
};

use super::{
    called, carry_out, converse, mirror, on_terminal,
    print::{advise, print, quoted, warn},
};

/// Give a mirror another name
///
/// Nothing else changes: its branches, local ones too, its settings and its history are
/// as they were. Clones that were made with the old name must be told the new one, each
/// with git remote set-url.
///
/// The mirror that a clone of a URL has made is used by its name alone from then on. The
/// next use of the URL makes another one, which takes the packs of this one.
///
///     mirrord rename project old-project
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Rename {
    /// The mirror's name, or its URL
    old: String,
    /// What it is to be called
    new: String,
}

impl Rename {
    /// Has the daemon do it.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let mirror = mirror(&self.old)?;
        let by_name = matches!(mirror, Mirror::Name(_));
        let request = Request::Rename(mirror, self.new.clone());
        let reply = converse(carry_out(paths, &request, on_terminal()))?;
        let Reply::Changed { name, warnings } = reply else {
            return Err(something_else().into());
        };
        let (old, name) = (called(&self.old), masked(name.as_bytes()));
        print(&format!("'{old}' is now '{name}'\n"))?;
        warn(None, &warnings);
        if by_name {
            advise(&format!(
                "each clone of mirror::{old} needs: git remote set-url origin {}",
                quoted(&format!("mirror::{name}"))
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

//! `mirrord rename`: gives a mirror another name.

use std::process::ExitCode;

use clap::Args;
use common::{
    client::something_else,
    paths::Paths,
    protocol::{Mirror, Reply, Request},
    text::{masked, shell_word},
};

use super::{
    block_on, call_daemon, display_name,
    print::{print, print_hint, print_warnings},
    resolve_mirror, terminal_renderer,
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
    /// Has the daemon rename the mirror, and prints what clones need.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let mirror = resolve_mirror(&self.old)?;
        let by_name = matches!(mirror, Mirror::Name(_));
        let request = Request::Rename(mirror, self.new.clone());
        let reply = block_on(call_daemon(paths, &request, terminal_renderer()))?;
        let Reply::Changed { name, warnings } = reply else {
            return Err(something_else().into());
        };
        let (old, name) = (display_name(&self.old), masked(name.as_bytes()));
        print(&format!("'{old}' is now '{name}'\n"))?;
        print_warnings(None, &warnings);
        if by_name {
            print_hint(&format!(
                "each clone of mirror::{old} needs: git remote set-url origin {}",
                shell_word(&format!("mirror::{name}"))
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}

//! `mirrord set`: changes the settings of a mirror, its upstream's address, or what it signs in with.

use std::process::ExitCode;

use clap::Args;
use common::{
    address::upstream_url::Address,
    client::something_else,
    paths::Paths,
    protocol::{self, Credential, Failure, FailureKind, Reply, Request},
    text::masked,
};

use super::{
    block_on, call_daemon, credential,
    print::{print, print_warnings},
    read_user_config, resolve_address, resolve_mirror,
    settings::{SettingOptions, not_a_url},
    show::show_mirror,
    terminal_renderer,
};

/// Change the settings of a mirror, or its upstream's address
///
/// Only what is given changes; 'mirrord show' says how everything is set. Nothing is
/// downloaded for it: the next fetch or sync goes by the new settings.
///
///     mirrord set project --fresh-for 10s --track "+refs/heads/*" --track "+refs/tags/*"
///
/// When --track changes which branches and tags follow upstream:
///
/// - One that is no longer tracked goes to the history, from where 'mirrord restore'
///   brings it back; with --keep it stays, as a local one. Where it differs from what
///   upstream had, it always stays.
/// - A local one that is tracked from now on is not overwritten when upstream has
///   another of that name: it is held, and 'mirrord show' and every fetch say so.
///
/// A mirror that was made by cloning a URL can be given settings in the same way.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Set {
    /// The mirror's name, or its URL
    name: String,
    /// The new address of the upstream, without a login in it. What was downloaded stays
    #[arg(long)]
    url: Option<String>,
    /// With --track: what is no longer tracked stays here, as local branches and tags
    #[arg(long, requires = "track")]
    keep: bool,
    /// Forget what the mirror signs in with: from now on it does as your git would
    #[arg(long, help_heading = "Signing in", conflicts_with_all = ["anonymous", "username", "ssh_key"])]
    forget_credential: bool,
    #[command(flatten)]
    credential: credential::CredentialOptions,
    #[command(flatten)]
    settings: SettingOptions,
}

impl Set {
    /// Has the daemon change the mirror.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let settings = self.settings.as_typed();
        let credential = if self.forget_credential {
            Some(Credential::AsGit)
        } else {
            let at = || self.origin(paths);
            self.credential.read(at, &read_user_config()?)?
        };
        if settings.is_empty() && self.url.is_none() && credential.is_none() {
            let failure = Failure::new(FailureKind::Usage, "there is nothing to change");
            return Err(failure
                .hinted("see 'mirrord set --help' for what there is")
                .into());
        }
        let request = Request::Set(protocol::Set {
            mirror: resolve_mirror(&self.name)?,
            url: self.url.as_deref().map(storable_url).transpose()?,
            settings,
            credential,
            keep: self.keep,
        });
        let reply = block_on(call_daemon(paths, &request, terminal_renderer()))?;
        let Reply::Changed { name, warnings } = reply else {
            return Err(something_else().into());
        };
        print(&format!("{}: changed\n", masked(name.as_bytes())))?;
        print_warnings(None, &warnings);
        Ok(ExitCode::SUCCESS)
    }

    /// The scheme, host and port that the mirror will sign in at.
    fn origin(&self, paths: &Paths) -> Result<String, Failure> {
        let url = match &self.url {
            Some(typed) => storable_url(typed)?,
            None => {
                let shown = block_on(show_mirror(paths, resolve_mirror(&self.name)?));
                let shown = shown.map_err(|err| {
                    err.downcast::<Failure>()
                        .unwrap_or_else(|_| something_else())
                })?;
                shown.mirror.health.info.url
            }
        };
        match Address::parse(&url) {
            Ok(Address::Url(url, _)) => Ok(url.origin()),
            _ => Ok(url),
        }
    }
}

/// Resolves the address of an upstream, and refuses one with a login in it: that would be stored in plain text.
fn storable_url(typed: &str) -> Result<String, Failure> {
    match resolve_address(typed, &read_user_config()?)? {
        Address::Url(url, None) => Ok(url.to_string()),
        Address::Url(url, Some(_)) => {
            let failure = format!("the address '{url}' was typed with a login in it");
            Err(Failure::new(FailureKind::Usage, failure)
                .hinted("leave it out: --username NAME gives the mirror one of its own, and otherwise git's credential helpers are asked"))
        }
        Address::Name(name) => Err(not_a_url(name.as_ref())),
    }
}

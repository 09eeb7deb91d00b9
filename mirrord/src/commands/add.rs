//! `mirrord add`: makes a mirror with a name and settings. The daemon tests the upstream first.

use std::process::ExitCode;

use clap::Args;
use common::{
    address::upstream_url::Address,
    client::{resolve, something_else},
    paths::Paths,
    protocol::{self, Credential, Reply, Request, Step},
    text::{masked, shell_word},
};

use super::{
    Verbosity, block_on, credential,
    print::{print, print_stderr, print_warnings},
    read_user_config, resolve_address,
    settings::{SettingOptions, not_a_url},
    test::{call_in_steps, step_line},
};

/// Make a mirror with a name and settings of its own
///
/// Upstream is tested first, and nothing is made when it cannot be read; then everything
/// that is tracked is downloaded. From then on the name is all that has to be typed:
/// git clone mirror::NAME.
///
///     mirrord add project https://gitlab.example/group/project.git --track refs/heads/main
///
/// Here main alone follows upstream. A branch with any other name can be pushed to the
/// mirror too: it is local, every clone of the mirror sees it, and upstream never does.
///
/// It signs in as your git would, unless --username, --ssh-key or --anonymous is given. The
/// password or passphrase is then asked for, and stored for scheduled syncs.
///
/// A clone of a URL makes a mirror by itself, which has the whole of upstream; 'add' makes
/// one beside it that is used by its name. Each takes the packs of the other and nothing
/// else. What is not set here is as 'mirrord config' says for new mirrors.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Add {
    /// What it is to be called
    name: String,
    /// The upstream, as git clone would take it. A login in it is used now and not stored
    url: String,
    /// Do not ask upstream whether it can be read ('mirrord test' does that alone)
    #[arg(long)]
    no_test: bool,
    /// Download nothing yet; the first fetch or 'mirrord sync' does
    #[arg(long)]
    no_sync: bool,
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(flatten)]
    credential: credential::CredentialOptions,
    // The settings come last: clap puts what follows a `next_help_heading` under the same heading.
    #[command(flatten)]
    settings: SettingOptions,
}

impl Add {
    /// Has the daemon make the mirror, and prints what to type next.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let config = read_user_config()?;
        let address = resolve_address(&self.url, &config)?;
        let Address::Url(url, _) = &address else {
            return Err(not_a_url(&self.url).into());
        };
        let credential = self.credential.read(|| Ok(url.origin()), &config)?;
        let request = Request::Add(protocol::Add {
            fetch: resolve::request(&address, &config)?,
            name: self.name.clone(),
            settings: self.settings.as_typed(),
            credential: credential.unwrap_or(Credential::AsGit),
            test: !self.no_test,
            watched: self.verbosity.shows_progress(),
            sync: !self.no_sync,
        });
        let mut unprinted = Vec::new();
        let on_step = |step: Step| match self.verbosity.shows_progress() {
            true => print_stderr(&step_line(&step)),
            false => unprinted.push(step),
        };
        let reply = block_on(call_in_steps(
            paths,
            &request,
            self.verbosity.renderer(),
            on_step,
        ));
        // Without progress the steps are printed only if one of them failed.
        if !self.verbosity.quiet && unprinted.last().is_some_and(Step::is_fatal) {
            let steps = unprinted.iter();
            steps.for_each(|step| print_stderr(&step_line(step)));
        }
        let Reply::Added {
            name,
            url,
            warnings,
        } = reply?
        else {
            return Err(something_else().into());
        };
        if !self.verbosity.quiet {
            let name = masked(name.as_bytes());
            print(&format!(
                "'{name}' mirrors {}\n    git clone {}\n",
                masked(url.as_bytes()),
                shell_word(&format!("mirror::{name}"))
            ))?;
        }
        print_warnings(None, &warnings);
        Ok(ExitCode::SUCCESS)
    }
}

//! `mirrord add`: a mirror with a name and settings of its own.

use std::process::ExitCode;

use clap::Args;
use common::{
    address::{resolve, upstream_url::Address},
    paths::Paths,
    progress::masked,
    protocol::{self, Credential, Reply, Request, Step, client::something_else},
};

use super::{
    Noise, address, converse, credential,
    print::{print, quoted, tell, warn},
    settings::{Options, no_url},
    test::{in_steps, line},
    user_config,
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
/// It signs in as your git would, unless --username, --ssh-key or --anonymous says otherwise.
/// What it then signs in with is asked for, and kept for syncs that nobody is there for.
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
    noise: Noise,
    #[command(flatten)]
    credential: credential::SigningIn,
    // The last: its heading would be that of all that follow.
    #[command(flatten)]
    options: Options,
}

impl Add {
    /// Has the daemon make it, and says what to type next.
    pub(crate) fn execute(&self, paths: &Paths) -> anyhow::Result<ExitCode> {
        let config = user_config()?;
        let address = address(&self.url, &config)?;
        let Address::Url(url, _) = &address else {
            return Err(no_url(&self.url).into());
        };
        let credential = self.credential.read(|| Ok(url.origin()), &config)?;
        let request = Request::Add(protocol::Add {
            fetch: resolve::request(&address, &config)?,
            name: self.name.clone(),
            settings: self.options.typed(),
            credential: credential.unwrap_or(Credential::AsGit),
            test: !self.no_test,
            watched: self.noise.is_loud(),
            sync: !self.no_sync,
        });
        let mut unseen = Vec::new();
        let done = |step: Step| match self.noise.is_loud() {
            true => tell(&line(&step)),
            false => unseen.push(step),
        };
        let reply = converse(in_steps(paths, &request, self.noise.renderer(), done));
        // How far it came is worth seeing where it came no further.
        if !self.noise.quiet && unseen.last().is_some_and(Step::is_fatal) {
            unseen.iter().for_each(|step| tell(&line(step)));
        }
        let Reply::Added {
            name,
            url,
            warnings,
        } = reply?
        else {
            return Err(something_else().into());
        };
        if !self.noise.quiet {
            let name = masked(name.as_bytes());
            print(&format!(
                "'{name}' mirrors {}\n    git clone {}\n",
                masked(url.as_bytes()),
                quoted(&format!("mirror::{name}"))
            ))?;
        }
        warn(None, &warnings);
        Ok(ExitCode::SUCCESS)
    }
}

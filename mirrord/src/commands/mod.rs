//! One file a command, or a few that belong together: ask the socket, print.

pub(crate) mod add;
pub(crate) mod completions;
pub(crate) mod config;
mod credential;
mod health;
pub(crate) mod history;
pub(crate) mod keyring;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod print;
pub(crate) mod remove;
pub(crate) mod rename;
pub(crate) mod run;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod sync;
pub(crate) mod test;
pub(crate) mod webhook;
pub(crate) mod why;

use std::io::{self, IsTerminal, Stderr};

use clap::Args;
use common::{
    address::{
        resolve,
        upstream_url::{Address, redact},
    },
    git::client_context::UserConfig,
    paths::Paths,
    progress::{Renderer, masked},
    protocol::{
        Failure, Mirror, OrFailure, Reply, Request,
        client::{Client, ConnectError, something_else},
    },
    running,
};

pub(crate) use print::{complain, exit_code};

/// How much is said of what takes long.
#[derive(Args)]
pub(crate) struct Noise {
    /// Print nothing but warnings and errors
    #[arg(short, long)]
    quiet: bool,
    /// Show progress even when stderr is not a terminal
    #[arg(long)]
    progress: bool,
}

impl Noise {
    /// Shows progress where git would: when asked to, or on a terminal unless quiet.
    fn renderer(&self) -> Renderer<Stderr> {
        Renderer::stderr(self.is_loud())
    }

    fn is_loud(&self) -> bool {
        self.progress || !self.quiet && io::stderr().is_terminal()
    }
}

/// Shows progress on a terminal.
fn on_terminal() -> Renderer<Stderr> {
    Renderer::stderr(io::stderr().is_terminal())
}

/// Runs one conversation.
fn converse<T, E: Into<anyhow::Error>>(
    conversation: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(conversation)
        .map_err(Into::into)
}

/// Asks the daemon that runs; `None` when none does.
async fn ask(paths: &Paths, request: &Request) -> anyhow::Result<Option<(Client, Reply)>> {
    // Behind the socket of a service one would be started for whoever connects.
    if crate::daemon::service::is_installed(paths)
        && matches!(running::holder(&paths.lock()), Ok(None))
    {
        return Ok(None);
    }
    let mut client = match Client::connect(paths).await {
        Err(ConnectError::NotRunning) => return Ok(None),
        client => client.map_err(Failure::from)?,
    };
    client.say(request).await?;
    let reply = client.hear().await?;
    Ok(Some((client, reply)))
}

/// Has the daemon do something, starting it when it does not run, until it has come to something.
async fn carry_out(
    paths: &Paths,
    request: &Request,
    mut renderer: Renderer<Stderr>,
) -> Result<Reply, Failure> {
    let (_, reply) = Client::carry_out(paths, request, &mut renderer).await?;
    Ok(reply)
}

/// Asks for a list, starting the daemon when it does not run; `batch` takes a part of it from a reply.
async fn listed<T>(
    paths: &Paths,
    request: &Request,
    batch: fn(Reply) -> Option<Vec<T>>,
) -> Result<Vec<T>, Failure> {
    let mut client = Client::connect_or_start(paths).await?;
    client.say(request).await?;
    rest(&mut client, batch).await
}

/// Hears the rest of a list.
async fn rest<T>(
    client: &mut Client,
    batch: fn(Reply) -> Option<Vec<T>>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    loop {
        match client.hear().await? {
            Reply::Done => return Ok(all),
            Reply::Failed(failure) => return Err(failure),
            reply => all.extend(batch(reply).ok_or_else(something_else)?),
        }
    }
}

/// What git would read where the person stands.
fn user_config() -> Result<UserConfig, Failure> {
    UserConfig::read().or_failure("cannot read git's configuration")
}

/// What a person means by a name or an address.
fn address(typed: &str, config: &UserConfig) -> Result<Address, Failure> {
    resolve::resolve(bare(typed), config)
}

/// A name or an address as it is printed: what was typed, without a login that may be in it.
fn called(typed: &str) -> String {
    masked(redact(bare(typed)).as_bytes())
}

/// Either may be typed as it is given to git.
fn bare(typed: &str) -> &str {
    typed.strip_prefix("mirror::").unwrap_or(typed)
}

/// Which mirror a person means.
fn mirror(typed: &str) -> Result<Mirror, Failure> {
    Ok(match address(typed, &user_config()?)? {
        Address::Url(url, _) => Mirror::Url(url.to_string()),
        Address::Name(name) => Mirror::Name(name),
    })
}

/// The hint of an error, when it has one.
fn hint(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<Failure>()?.hint.as_deref()
}

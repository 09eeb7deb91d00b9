//! One file a command: ask the socket, print.

pub(crate) mod list;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod stop;

use std::io::{self, Write};

use common::{
    client::{Client, ConnectError},
    paths::Paths,
    progress::tell,
    protocol::{Reply, Request},
};

/// Prints an error, with what to do about it, where people read errors.
pub(crate) fn complain(error: &anyhow::Error) {
    tell(&format!("error: {error:#}"));
    if let Some(hint) = crate::hint(error) {
        tell(&format!("hint: {hint}"));
    }
}

/// Prints facts. A reader that went away, such as `head`, is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(err.into()),
        _ => Ok(()),
    }
}

/// Runs one conversation.
fn converse<T>(conversation: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(conversation)
}

/// Asks the daemon that runs; `None` when none does.
async fn ask(paths: &Paths, request: &Request) -> anyhow::Result<Option<(Client, Reply)>> {
    let mut client = match Client::connect(paths).await {
        Err(ConnectError::NotRunning) => return Ok(None),
        client => client.map_err(common::protocol::Failure::from)?,
    };
    client.say(request).await?;
    let reply = client.hear().await?;
    Ok(Some((client, reply)))
}

/// A time span as people say it.
fn ago(seconds: u64) -> String {
    common::progress::span(seconds)
}

//! How a command asks the daemon: one request on its socket, and the replies to it.

use std::io::Stderr;

use common::{
    client::{Client, ConnectError, something_else},
    daemon_process,
    paths::Paths,
    progress::Renderer,
    protocol::{Failure, Reply, Request},
};

use crate::daemon::service;

/// Runs the conversation of a command with the daemon to its end.
pub(super) fn block_on<T, E: Into<anyhow::Error>>(
    conversation: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(conversation)
        .map_err(Into::into)
}

/// Sends a request to the daemon and returns its answer; starts the daemon if it does not run.
pub(super) async fn call_daemon(
    paths: &Paths,
    request: &Request,
    mut renderer: Renderer<Stderr>,
) -> Result<Reply, Failure> {
    let (_, reply) = Client::carry_out(paths, request, &mut renderer).await?;
    Ok(reply)
}

/// Sends a request to the daemon and returns its first reply; `None` if the daemon does not run.
pub(super) async fn call_running_daemon(
    paths: &Paths,
    request: &Request,
) -> anyhow::Result<Option<(Client, Reply)>> {
    // The service manager listens at the socket of a service, and would start a daemon for this connection.
    if service::is_installed(paths)
        && matches!(daemon_process::lock_holder(&paths.lock()), Ok(None))
    {
        return Ok(None);
    }
    let mut client = match Client::connect(paths).await {
        Err(ConnectError::NotRunning) => return Ok(None),
        client => client.map_err(Failure::from)?,
    };
    client.send_request(request).await?;
    let reply = client.receive().await?;
    Ok(Some((client, reply)))
}

/// Sends a request that is answered by a list; starts the daemon if it does not run. `take_batch` takes the part of the
/// list that is in one reply.
pub(super) async fn call_for_list<T>(
    paths: &Paths,
    request: &Request,
    take_batch: fn(Reply) -> Option<Vec<T>>,
) -> Result<Vec<T>, Failure> {
    let mut client = Client::connect_or_start(paths).await?;
    client.send_request(request).await?;
    read_list(&mut client, take_batch).await
}

/// Reads the replies of which a list consists, up to the end of the list.
pub(super) async fn read_list<T>(
    client: &mut Client,
    take_batch: fn(Reply) -> Option<Vec<T>>,
) -> Result<Vec<T>, Failure> {
    let mut list = Vec::new();
    loop {
        match client.receive().await? {
            Reply::Done => return Ok(list),
            Reply::Failed(failure) => return Err(failure),
            reply => list.extend(take_batch(reply).ok_or_else(something_else)?),
        }
    }
}

//! The helper's side of a fetch: asks the daemon to bring the mirror in step, shows how far it is, answers its
//! questions, and says how fresh the result is.

use common::{
    client::{Client, resolve, something_else},
    paths::Paths,
    progress::{Renderer, tell},
    protocol::{Failure, Fetch, Lack, Open, Ready, Reply, Request},
    text::{masked, time_span},
};

use crate::helper::Invocation;

/// Makes the mirror fresh. The returned client is the lease: it stays for as long as the mirror is read.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn fetch(
    invocation: &Invocation,
    lacks: Lack,
) -> Result<(Client, Ready), Failure> {
    let request = resolve::request(&invocation.address, &invocation.config)?;
    let request = Request::Fetch(Fetch { lacks, ..request });
    match converse(invocation, &request).await? {
        (client, Reply::Ready(ready)) => Ok((client, ready)),
        _ => Err(something_else()),
    }
}

/// Makes the mirror fresh and opens a push to it, which is open for as long as the returned client.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn open_push(invocation: &Invocation) -> Result<(Client, Open), Failure> {
    let request = Request::Push(resolve::request(&invocation.address, &invocation.config)?);
    match converse(invocation, &request).await? {
        (client, Reply::Open(open)) => Ok((client, open)),
        _ => Err(something_else()),
    }
}

async fn converse(invocation: &Invocation, request: &Request) -> Result<(Client, Reply), Failure> {
    let paths = Paths::from_env()?;
    let mut renderer =
        Renderer::stderr(invocation.options.progress && invocation.options.verbosity > 0);
    let (client, reply) = Client::carry_out(&paths, request, &mut renderer).await?;
    if let Reply::Ready(ready) | Reply::Open(Open { ready, .. }) = &reply {
        warn(ready);
    }
    Ok((client, reply))
}

/// Says what keeps the answer from being what upstream has now. Nothing is said when nothing does.
fn warn(ready: &Ready) {
    if let Some(aged) = &ready.stale {
        tell(&format!("warning: {}", aged.reason));
        tell(&match aged.seconds {
            Some(seconds) => format!("hint: serving the copy synced {} ago", time_span(seconds)),
            None => "hint: serving a copy of unknown age".to_owned(),
        });
        if let Some(hint) = &aged.hint {
            tell(&format!("hint: {}", masked(hint.as_bytes())));
        }
    }
    for warning in &ready.warnings {
        tell(&format!("warning: {}", masked(warning.as_bytes())));
    }
}

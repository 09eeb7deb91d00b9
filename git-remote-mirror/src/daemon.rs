//! The calls to the daemon. [`open_fetch`] and [`open_push`] show its progress and answer its questions meanwhile; [`ask`]
//! and [`start_and_ask`] only wait for a reply. The daemon's side begins in mirrord's `daemon/server`.

use common::{
    address::name::Name,
    client::{Client, resolve, something_else},
    paths::Paths,
    progress::{Renderer, tell},
    protocol::{Failure, FailureKind, Fetch, Lack, Mirror, Open, OrFailure, Ready, Reply, Request},
    text::{masked, time_span},
};

use tokio::runtime::{self, Runtime};

use crate::{invocation::Invocation, on_demand};

/// The runtime in which a process of the helper talks to the daemon.
///
/// # Errors
/// Fails when the system refuses one.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().build().or_failure("cannot start")
}

/// Has the daemon sync the mirror. `lacks` says what the client lacks, and so whether an older copy will do. The daemon
/// keeps the mirror while the returned client is connected.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn open_fetch(
    invocation: &Invocation,
    lacks: Lack,
) -> Result<(Client, Ready), Failure> {
    let request = resolve::request(&invocation.address, &invocation.config)?;
    let request = Request::Fetch(Fetch {
        lacks,
        on_demand: on_demand::of_fetch(invocation).sources(),
        ..request
    });
    match carry_out(invocation, &request).await? {
        (client, Reply::Ready(ready)) => Ok((client, ready)),
        _ => Err(something_else()),
    }
}

/// Has the daemon sync the mirror and open a push to it, which is open while the returned client is connected.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) async fn open_push(invocation: &Invocation) -> Result<(Client, Open), Failure> {
    let request = resolve::request(&invocation.address, &invocation.config)?;
    let request = Request::Push(Fetch {
        on_demand: on_demand::of_push(invocation).sources(),
        ..request
    });
    match carry_out(invocation, &request).await? {
        (client, Reply::Open(open)) => Ok((client, open)),
        _ => Err(something_else()),
    }
}

/// Has the daemon sync the mirror, whatever its settings say of when.
///
/// # Errors
/// Fails with what the person should read.
pub(crate) fn sync(invocation: &Invocation) -> Result<(), Failure> {
    let request = Request::Sync(resolve::request(&invocation.address, &invocation.config)?);
    let carried_out = async { carry_out(invocation, &request).await.map(drop) };
    runtime()?.block_on(carried_out)
}

async fn carry_out(invocation: &Invocation, request: &Request) -> Result<(Client, Reply), Failure> {
    let paths = Paths::from_env()?;
    let mut renderer = Renderer::stderr(invocation.options.shows_progress());
    let (client, reply) = Client::carry_out(&paths, request, &mut renderer).await?;
    if let Reply::Ready(ready) | Reply::Open(Open { ready, .. }) = &reply {
        warn(ready);
    }
    Ok((client, reply))
}

/// Asks the daemon that runs, and returns its reply. Progress before the reply is not shown.
///
/// # Errors
/// Fails when no daemon runs, and with the failure that the daemon replies.
pub(crate) fn ask(request: &Request) -> Result<Reply, Failure> {
    runtime()?.block_on(ask_running(request))
}

/// Asks the daemon as [`ask`] does, in the runtime of the caller.
///
/// # Errors
/// Fails as [`ask`] does.
pub(crate) async fn ask_running(request: &Request) -> Result<Reply, Failure> {
    let paths = Paths::from_env()?;
    reply(Client::connect(&paths).await?, request).await
}

/// Asks the daemon as [`ask`] does, and starts it first when none runs.
///
/// # Errors
/// Fails when the daemon does not start, and with the failure that the daemon replies.
pub(crate) fn start_and_ask(request: &Request) -> Result<Reply, Failure> {
    let paths = Paths::from_env()?;
    runtime()?.block_on(async { reply(Client::connect_or_start(&paths).await?, request).await })
}

/// Whether a mirror is called so.
///
/// # Errors
/// Fails when the daemon does not start, and when it cannot tell.
pub(crate) fn has_mirror(name: &Name) -> Result<bool, Failure> {
    match start_and_ask(&Request::PassesThrough(Mirror::Name(name.clone()))) {
        Err(failure) if failure.kind == FailureKind::NoMirror => Ok(false),
        reply => reply.map(|_| true),
    }
}

async fn reply(mut client: Client, request: &Request) -> Result<Reply, Failure> {
    client.send_request(request).await?;
    loop {
        match client.receive().await? {
            Reply::Progress(_) => {}
            Reply::Failed(failure) => return Err(failure),
            reply => return Ok(reply),
        }
    }
}

/// Prints why the mirror may differ from what upstream has now, and the daemon's other warnings.
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

//! Syncs without a client: scheduled ones, and the first one of a mirror that nobody waits for. The daemon is its own
//! client then, which can ask nobody, and sends along what the user's git reads in any directory.

use std::sync::Arc;

use common::{
    git::{
        client_context::UserConfig,
        credential::{Asked, FoundLogins},
        transports,
    },
    protocol::{Cause, Failure, Fetch, Lack, Mirror as Wanted, OrFailure, Reply, wire},
};
use interprocess::local_socket::tokio::Stream;
use tokio::{net::UnixStream, task::spawn_blocking};

use super::{MirrorRequest, Purpose};
use crate::{
    mirrors::registry::Mirror,
    requests::{
        conversation::Conversation,
        error::RequestError,
        resolve::{Resolved, resolve},
    },
    sync::{Engine, SyncOptions},
};

/// Syncs a mirror without a client. The mirror's task records how the sync ends.
///
/// # Errors
/// Fails where the mirror is not in step afterwards.
pub(crate) async fn sync_mirror(
    engine: &Arc<Engine>,
    mirror: &Mirror,
    config: &UserConfig,
    cause: Cause,
) -> Result<(), Failure> {
    let fetch = Fetch {
        mirror: Wanted::Name(mirror.settings.name.clone()),
        login: None,
        username: None,
        context: config.client_context(),
        transports: transports::allowed(config),
        redirect_transports: transports::allowed_for_redirects(config),
        stale: None,
        can_ask: false,
        lacks: Lack::News,
        on_demand: Vec::new(),
    };
    let resolved = Resolved {
        typed: mirror.settings.url.clone(),
        target: mirror.target(),
    };
    run_without_client(
        engine,
        fetch,
        resolved,
        Purpose::Sync(SyncOptions::new(cause)),
    )
    .await
}

/// Makes the mirror of a URL of which a client has passed a part through, and does not wait for it. Returns at once. A
/// failure is logged, and the next request for the URL tries again.
pub(crate) fn make_mirror(engine: &Arc<Engine>, fetch: Fetch) {
    let engine = engine.clone();
    tokio::spawn(async move {
        let fetch = Fetch {
            can_ask: false,
            ..fetch
        };
        let made = match resolve(&engine, &fetch.mirror) {
            Ok(resolved) => {
                engine.usage.record_use(&resolved.target.git_dir);
                run_without_client(&engine, fetch, resolved, Purpose::Read).await
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = made {
            tracing::info!("no mirror is made of what was passed through: {failure}");
        }
    });
}

/// Carries out a request whose client is the daemon itself.
async fn run_without_client(
    engine: &Arc<Engine>,
    fetch: Fetch,
    resolved: Resolved,
    purpose: Purpose,
) -> Result<(), Failure> {
    let (daemon, client) = UnixStream::pair().or_failure("cannot talk to itself")?;
    let mut conversation = Conversation::new(Stream::UdSocket(daemon.into()), None);
    let mut request = MirrorRequest::new(engine, &mut conversation, fetch, resolved)?;
    tokio::select! {
        synced = request.sync_with_logins(&purpose) => match synced {
            Ok(_) => Ok(()),
            Err(RequestError::Failed(failure)) => Err(failure),
            Err(RequestError::Disconnected(err)) => {
                Err(Failure::here(format!("cannot talk to itself: {err}")))
            }
        },
        () = answer_as_client(client) => Ok(()),
    }
}

/// Plays the client: answers questions for a login with what git's credential helpers know, and asks no person.
async fn answer_as_client(stream: UnixStream) {
    let mut stream = Stream::UdSocket(stream.into());
    let mut logins = FoundLogins::default();
    while let Ok(reply) = wire::recv::<Reply>(&mut stream).await {
        if !matches!(
            reply,
            Reply::Ask(_) | Reply::LoginAccepted { .. } | Reply::LoginRefused { .. }
        ) {
            continue;
        }
        // git and its helpers may take their time.
        let asking = spawn_blocking(move || {
            let answer = match &reply {
                Reply::Ask(question) => Some(logins.ask(question, Asked::Programs)),
                Reply::LoginAccepted { url } => {
                    logins.approve(url);
                    None
                }
                Reply::LoginRefused { url, challenges } => {
                    logins.reject(url, challenges);
                    None
                }
                _ => None,
            };
            (logins, answer)
        });
        let Ok((known, answer)) = asking.await else {
            return;
        };
        logins = known;
        if let Some(answer) = answer
            && wire::send(&mut stream, &answer).await.is_err()
        {
            return;
        }
    }
}

//! Syncs that nobody asked for. The daemon is its own client then: one that can ask nobody, and sends along what the
//! user's git reads wherever they stand.

use std::sync::Arc;

use common::{
    address::upstream_url::UpstreamUrl,
    git::{ask, client_context::UserConfig, transports},
    protocol::{Cause, Failure, Fetch, Lack, Mirror as Wanted, OrFailure, Reply, wire},
};
use interprocess::local_socket::tokio::Stream;
use tokio::{net::UnixStream, task::spawn_blocking};

use super::{Purpose, Request, resolve};
use crate::{
    mirrors::registry::{Mirror, Target},
    requests::conversation::Conversation,
    sync::{Engine, Wish},
};

/// Brings a mirror in step although nobody asks for it. How that ends its task notes, for all who want to know.
pub(crate) async fn unasked(
    engine: &Arc<Engine>,
    mirror: &Mirror,
    config: &UserConfig,
    cause: Cause,
) -> Result<(), Failure> {
    let fetch = Fetch {
        mirror: Wanted::Name(mirror.settings.name.clone()),
        login: None,
        username: None,
        standing: config.standing(),
        transports: transports::allowed(config),
        stale: None,
        can_ask: false,
        lacks: Lack::News,
    };
    let url = mirror.settings.url.clone();
    let purpose = Purpose::Sync(Wish::new(cause));
    alone(engine, fetch, url, mirror.target(), purpose).await
}

/// Makes the mirror that somebody has wanted a part of, and does not wait for. Returns at once; what fails is told in the
/// log, and tried again by whoever wants it next.
pub(crate) fn download(engine: &Arc<Engine>, fetch: Fetch) {
    let engine = engine.clone();
    tokio::spawn(async move {
        let fetch = Fetch {
            can_ask: false,
            ..fetch
        };
        let downloaded = match resolve(&engine, &fetch.mirror) {
            Ok((url, target)) => {
                engine.usage.note(&target.git_dir);
                alone(&engine, fetch, url, target, Purpose::Read).await
            }
            Err(failure) => Err(failure),
        };
        if let Err(failure) = downloaded {
            tracing::info!("no mirror is made of what was passed through: {failure}");
        }
    });
}

/// Carries a request out without a client.
async fn alone(
    engine: &Arc<Engine>,
    fetch: Fetch,
    url: UpstreamUrl,
    target: Target,
    purpose: Purpose,
) -> Result<(), Failure> {
    let (ours, theirs) = UnixStream::pair().or_failure("cannot talk to itself")?;
    let mut conversation = Conversation::new(Stream::UdSocket(ours.into()), None);
    let mut request = Request::new(engine, &mut conversation, fetch, url, target)?;
    tokio::select! {
        fetched = request.run(&purpose) => match fetched {
            Ok(fetched) => fetched.map(drop),
            Err(err) => Err(Failure::here(format!("cannot talk to itself: {err}"))),
        },
        () = answer(theirs) => Ok(()),
    }
}

/// The client's side: what programs know without disturbing anybody.
async fn answer(stream: UnixStream) {
    let mut stream = Stream::UdSocket(stream.into());
    let mut found = None;
    while let Ok(reply) = wire::recv::<Reply>(&mut stream).await {
        match reply {
            Reply::Ask(question) => {
                let asking = spawn_blocking(move || ask::login_of_programs(&question));
                let Ok((answer, login)) = asking.await else {
                    return;
                };
                found = login;
                if wire::send(&mut stream, &answer).await.is_err() {
                    return;
                }
            }
            Reply::LoginAccepted => tell(found.take(), ask::Found::approve).await,
            Reply::LoginRefused => tell(found.take(), ask::Found::reject).await,
            _ => {}
        }
    }
}

/// Tells the user's helpers how a login of theirs went.
async fn tell(found: Option<ask::Found>, how: fn(&ask::Found)) {
    if let Some(found) = found {
        let _ = spawn_blocking(move || how(&found)).await;
    }
}

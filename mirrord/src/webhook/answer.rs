//! Answers one delivery: finds its mirror (`hooks`), authenticates it (`auth`), drops replays (`replay`), and has
//! the schedule plan a sync of that mirror (`notify_changed`). The content of a delivery is never used. The answer does not wait for the sync.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::post,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::{Instant, timeout};

use super::{
    auth::{self, HeaderCheck},
    hooks::{Hook, Hooks, MirrorHook, is_id},
    host_check::{OwnHosts, Refusal},
    listener::Slot,
    replay::ReplayCache,
};
use crate::{mirrors::registry::Mirror, sync::Engine};

/// The size of a body. GitLab sends up to 25 MB; a delivery of a push is far smaller, and nothing in it is used.
const MAX_BODY_BYTES: usize = 1 << 20;

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a body is read and discarded before a refusal. A client that is still sending does not read the answer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers the deliveries for all mirrors.
pub(super) struct Receiver {
    /// The engine, whose schedule plans the syncs.
    pub engine: Arc<Engine>,
    /// The hooks of all mirrors, by id.
    pub hooks: Arc<Hooks>,
    /// The deliveries of the last minutes.
    pub replays: Arc<ReplayCache>,
    /// The host names under which the listener is reached.
    pub own_hosts: OwnHosts,
}

/// The routes of the listener: `POST /hooks/ID`, and nothing else.
pub(super) fn router(receiver: Receiver) -> Router {
    let receiver = Arc::new(receiver);
    Router::new()
        .route("/hooks/{id}", post(deliver))
        .fallback(|| async { plain_text(StatusCode::NOT_FOUND, "there is nothing here") })
        .layer(from_fn_with_state(receiver.clone(), check_host))
        .with_state(receiver)
}

/// Refuses requests for other hosts and from browsers, before they are routed.
async fn check_host(
    State(receiver): State<Arc<Receiver>>,
    request: Request,
    next: Next,
) -> Response {
    match receiver.own_hosts.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            drain(request.into_body()).await;
            refusal.into_response()
        }
    }
}

/// Answers `POST /hooks/ID`.
async fn deliver(
    State(receiver): State<Arc<Receiver>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let slot = request.extensions().get::<Arc<Slot>>().cloned();
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    match receiver
        .accept(id, &parts.headers, &mut body, slot.as_deref())
        .await
    {
        Ok(()) => plain_text(StatusCode::ACCEPTED, "accepted"),
        Err(refusal) => {
            if let Some(body) = body {
                drain(body).await;
            }
            refusal.into_response()
        }
    }
}

impl Receiver {
    /// Authenticates a delivery and asks for a sync of its mirror. Takes the body out of `body` if it reads it.
    async fn accept(
        &self,
        id: String,
        headers: &HeaderMap,
        body: &mut Option<Body>,
        slot: Option<&Slot>,
    ) -> Result<(), Refusal> {
        let unknown = Refusal::new(StatusCode::NOT_FOUND, "there is no such hook");
        if !is_id(&id) {
            return Err(unknown);
        }
        let found = self.find(id).await?.ok_or(unknown)?;
        let MirrorHook { mirror, hook } = &*found;
        if !is_json(headers) {
            let why = "a delivery is of type application/json";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let unauthorized = Refusal::new(
            StatusCode::UNAUTHORIZED,
            "the secret token or the signature is not right",
        );
        let header_check = auth::check_headers(hook, headers);
        if header_check == HeaderCheck::Refused {
            self.log_refusal(mirror, hook);
            return Err(unauthorized);
        }
        let body = read_body(headers, body).await?;
        if let Some(slot) = slot {
            slot.set_answering();
        }
        let is_new = match header_check {
            HeaderCheck::Signed => match auth::verify_signature(hook, headers, &body) {
                Some(key) => self.replays.insert(key, Instant::now()),
                None => {
                    self.log_refusal(mirror, hook);
                    return Err(unauthorized);
                }
            },
            // A sender that has the token could send as many new deliveries: a check for replays would gain nothing.
            _ => true,
        };
        if is_new {
            self.engine.notify_changed(mirror);
        }
        tracing::debug!("a delivery for '{}', new: {is_new}", mirror.settings.name);
        Ok(())
    }

    /// Returns the mirror and the hook of an id, from memory if the files have not changed.
    async fn find(&self, id: String) -> Result<Option<Arc<MirrorHook>>, Refusal> {
        if let Some(found) = self.hooks.find_cached(&id) {
            return Ok(Some(found));
        }
        if !self.hooks.contains(&id) {
            return Ok(None);
        }
        let hooks = self.hooks.clone();
        let found = tokio::task::spawn_blocking(move || hooks.find(&id)).await;
        let broken = Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the hook cannot be read; the daemon's log says why",
        );
        found.map_err(|_| broken)?.map_err(|failure| {
            tracing::warn!("a delivery came to nothing: {failure}");
            broken
        })
    }

    /// Logs that deliveries of a hook are refused, once a minute: they must not fill the log.
    fn log_refusal(&self, mirror: &Mirror, hook: &Hook) {
        let key = auth::refusal_key(hook);
        if self.replays.insert(key, Instant::now()) {
            let name = &mirror.settings.name;
            tracing::warn!(
                "deliveries for '{name}' do not prove that they come from who they should"
            );
        }
    }
}

/// Reads the body, up to the limits of size and time.
async fn read_body(headers: &HeaderMap, body: &mut Option<Body>) -> Result<Bytes, Refusal> {
    let too_long = Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "a delivery has at most 1 MiB",
    );
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_long);
    }
    let Some(body) = body.take() else {
        return Ok(Bytes::new());
    };
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(err)) if err.is::<LengthLimitError>() => Err(too_long),
        Ok(Err(_)) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "the body is not whole",
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long",
        )),
    }
}

/// Reads a body and discards it, for a limited time and size.
async fn drain(mut body: Body) {
    let _ = timeout(DRAIN_TIMEOUT, async {
        let mut left = 2 * MAX_BODY_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    })
    .await;
}

/// Whether there is one `Content-Type`, and it is JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(mime), None) = (types.next(), types.next()) else {
        return false;
    };
    let mime = mime.to_str().unwrap_or_default();
    let mime = mime.split(';').next().unwrap_or_default().trim();
    mime.eq_ignore_ascii_case("application/json")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        plain_text(self.status, self.reason)
    }
}

fn plain_text(status: StatusCode, message: &str) -> Response {
    let line = format!("{message}\n");
    (status, [(header::CONTENT_TYPE, "text/plain")], line).into_response()
}

//! Answers one delivery. What it says is never believed: it is a hint that something may be new, and who may send one is
//! decided before anything comes of it. The answer does not wait for what comes of it.

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
    auth::{self, AtFirstSight},
    hooks::{Found, Hook, Hooks, is_id},
    host::Names,
    replay::Seen,
    slots::Slot,
};
use crate::{mirrors::registry::Mirror, sync::Engine};

/// Longer bodies are not read. GitLab's may have 25 MB, and nothing in them matters.
const MAX_BODY_BYTES: usize = 1 << 20;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// A body that nobody needs is read away for so long: whoever still sends does not hear the answer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What it takes to answer.
pub(super) struct Receiver {
    /// What syncs.
    pub engine: Arc<Engine>,
    /// Where the ids lead.
    pub hooks: Arc<Hooks>,
    /// What has come before.
    pub seen: Arc<Seen>,
    /// The names that are ours.
    pub names: Names,
}

/// What is not a delivery that counts, and why.
type Refusal = (StatusCode, &'static str);

/// Everything that there is below the address.
pub(super) fn router(receiver: Receiver) -> Router {
    let receiver = Arc::new(receiver);
    Router::new()
        .route("/hooks/{id}", post(deliver))
        .fallback(|| async { said((StatusCode::NOT_FOUND, "there is nothing here")) })
        .layer(from_fn_with_state(receiver.clone(), meant_for_us))
        .with_state(receiver)
}

async fn meant_for_us(
    State(receiver): State<Arc<Receiver>>,
    request: Request,
    next: Next,
) -> Response {
    match receiver.names.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            read_away(request.into_body()).await;
            said(refusal)
        }
    }
}

async fn deliver(
    State(receiver): State<Arc<Receiver>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let slot = request.extensions().get::<Arc<Slot>>().cloned();
    let (parts, body) = request.into_parts();
    let mut body = Some(body);
    match receiver
        .take(id, &parts.headers, &mut body, slot.as_deref())
        .await
    {
        Ok(()) => said((StatusCode::ACCEPTED, "accepted")),
        Err(refusal) => {
            if let Some(body) = body {
                read_away(body).await;
            }
            said(refusal)
        }
    }
}

impl Receiver {
    async fn take(
        &self,
        id: String,
        headers: &HeaderMap,
        body: &mut Option<Body>,
        slot: Option<&Slot>,
    ) -> Result<(), Refusal> {
        let unknown = (StatusCode::NOT_FOUND, "there is no such hook");
        if !is_id(&id) {
            return Err(unknown);
        }
        let found = self.find(id).await?.ok_or(unknown)?;
        let (mirror, hook) = &*found;
        if !is_json(headers) {
            let why = "a delivery is of type application/json";
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
        }
        let unproven = (
            StatusCode::UNAUTHORIZED,
            "the secret token or the signature is not right",
        );
        let at_first_sight = auth::at_first_sight(hook, headers);
        if at_first_sight == AtFirstSight::Refused {
            self.note_unproven(mirror, hook);
            return Err(unproven);
        }
        let text = read(headers, body).await?;
        if let Some(slot) = slot {
            slot.is_answered();
        }
        let is_news = match at_first_sight {
            AtFirstSight::Signed => match auth::signed(hook, headers, &text) {
                Some(mark) => self.seen.is_news(mark, Instant::now()),
                None => {
                    self.note_unproven(mirror, hook);
                    return Err(unproven);
                }
            },
            // Whoever has the token need not repeat what somebody else has sent.
            _ => true,
        };
        if is_news {
            self.engine.hint(mirror);
        }
        tracing::debug!("a delivery for '{}', news: {is_news}", mirror.settings.name);
        Ok(())
    }
}

impl Receiver {
    async fn find(&self, id: String) -> Result<Option<Found>, Refusal> {
        if let Some(found) = self.hooks.as_before(&id) {
            return Ok(Some(found));
        }
        if !self.hooks.knows(&id) {
            return Ok(None);
        }
        let hooks = self.hooks.clone();
        let found = tokio::task::spawn_blocking(move || hooks.find(&id)).await;
        let broken = (
            StatusCode::INTERNAL_SERVER_ERROR,
            "the hook cannot be read; the daemon's log says why",
        );
        found.map_err(|_| broken)?.map_err(|failure| {
            tracing::warn!("a delivery came to nothing: {failure}");
            broken
        })
    }

    /// Whoever sends one after the other must not fill the log.
    fn note_unproven(&self, mirror: &Mirror, hook: &Hook) {
        let mark = auth::unproven(hook);
        if self.seen.is_news(mark, Instant::now()) {
            let name = &mirror.settings.name;
            tracing::warn!(
                "deliveries for '{name}' do not prove that they come from who they should"
            );
        }
    }
}

async fn read(headers: &HeaderMap, body: &mut Option<Body>) -> Result<Bytes, Refusal> {
    let too_long = (
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
        Ok(Err(_)) => Err((StatusCode::BAD_REQUEST, "the body is not whole")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    }
}

/// Reads what nobody needs, and not for long.
async fn read_away(mut body: Body) {
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

fn is_json(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return false;
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

fn said((status, words): Refusal) -> Response {
    let line = format!("{words}\n");
    (status, [(header::CONTENT_TYPE, "text/plain")], line).into_response()
}

//! Sends a push to an upstream on the web over the connection that syncs use. The client's git makes the request and reads
//! the answer; the daemon passes them on.

use std::{io, sync::Arc, time::Duration};

use common::protocol::{Answer, Failure, Reply, SendPush, SignIn, wire::WireError};
use http_body_util::channel::{Channel, Sender};
use hyper::body::Bytes;
use reqwest::{Body, Response};
use tokio::sync::Notify;

use super::{login::login_id, no_longer_open};
use crate::{
    requests::{conversation::Conversation, error::RequestError},
    sync::Engine,
    upstream::{Beginning, Known, ReceivePack, Unanswered},
};

/// A request up to this size is sent with its length, as git's `http.postBuffer` has it; a longer one in chunks.
const MAX_MEASURED_BYTES: usize = 1 << 20;

/// The most bytes of one reply.
const MAX_REPLY_BYTES: usize = 64 << 10;

/// The longest beginning of an advertisement, up to its capabilities.
const MAX_BEGINNING_BYTES: usize = 128 << 10;

/// How often upstream's clock is set back while the client has nothing to send.
const CLIENT_INTERVAL: Duration = Duration::from_millis(500);

/// How many parts of a request wait for upstream.
const WAITING_PARTS: usize = 2;

/// Sends an open push.
///
/// # Errors
/// Fails where the push is no longer open, and where nobody knows whether upstream has it.
pub(crate) async fn send(
    engine: &Arc<Engine>,
    conversation: &mut Conversation,
    request: SendPush,
) -> Result<Reply, RequestError> {
    // The push is not kept open: what its client has ended is not sent.
    let (mut sending, is_in_step) = {
        let opened = engine.pushes.get(&request.id).ok_or_else(no_longer_open)?;
        let Some(upstream) = opened.receive_pack.clone() else {
            return Ok(Reply::NotTaken(None));
        };
        let host = opened.mirror.settings.url.host().unwrap_or("upstream");
        let sending = Sending {
            engine,
            conversation,
            upstream,
            login: opened.login.clone(),
            host: host.to_owned(),
        };
        (sending, opened.is_in_step)
    };
    // Of what is held back the mirror does not know what upstream has.
    let asks = request.asks || !is_in_step;
    match sending.send(asks).await {
        Ok(()) => Ok(Reply::Bytes(Vec::new())),
        Err(Stop::NotTaken(reason)) => Ok(Reply::NotTaken(reason)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

/// Why a push was not sent to the end.
enum Stop {
    /// Upstream has nothing of it, for this reason; where none is given, a git may know another way.
    NotTaken(Option<Failure>),
    /// Upstream may have it, or the client has gone.
    Failed(RequestError),
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Self::Failed(error.into())
    }
}

struct Sending<'c> {
    engine: &'c Arc<Engine>,
    conversation: &'c mut Conversation,
    upstream: ReceivePack,
    /// The sign-in that the client was given.
    login: SignIn,
    /// The host that the client is told it waits for.
    host: String,
}

impl Sending<'_> {
    async fn send(&mut self, asks: bool) -> Result<(), Stop> {
        let session = self.upstream.session();
        let capabilities = &self.engine.upstreams.push_capabilities;
        match capabilities.get(session.url(), session.access()) {
            Some(Known::Refuses) => return Err(Stop::NotTaken(None)),
            Some(Known::Capabilities(capabilities)) if !asks => {
                let reply = Reply::Capabilities(capabilities);
                self.conversation.send(&reply).await?;
            }
            _ => self.advertise().await?,
        }
        let mut response = self.pass_on_request().await?;
        while let Some(part) = self.next(&mut response).await? {
            self.reply(&part).await?;
        }
        self.record_accepted();
        Ok(())
    }

    /// Passes upstream's advertisement on to the client, and learns its capabilities.
    async fn advertise(&mut self) -> Result<(), Stop> {
        let upstream = self.upstream.clone();
        let asked = self.wait(upstream.advertisement()).await?;
        let mut response = match asked {
            Ok(response) => response,
            // Nothing has been sent yet.
            Err(Unanswered::Unknown(_)) => return Err(Stop::NotTaken(None)),
            Err(unanswered) => return Err(self.stop(unanswered).await),
        };
        let mut beginning = Vec::new();
        let at = loop {
            match Beginning::read(&beginning) {
                Beginning::Complete { at, capabilities } => {
                    let session = upstream.session();
                    let known = &self.engine.upstreams.push_capabilities;
                    known.record(session.url(), session.access(), &capabilities);
                    break at;
                }
                Beginning::Incomplete if beginning.len() < MAX_BEGINNING_BYTES => {}
                Beginning::Incomplete | Beginning::NotGit => return Err(Stop::NotTaken(None)),
            }
            match self.wait(upstream.next(&mut response)).await? {
                Ok(Some(part)) => beginning.extend_from_slice(&part),
                Ok(None) | Err(_) => return Err(Stop::NotTaken(None)),
            }
        };
        self.reply(&beginning[at..]).await?;
        while let Some(part) = self
            .wait(upstream.next(&mut response))
            .await?
            .map_err(|_| Stop::NotTaken(None))?
        {
            self.reply(&part).await?;
        }
        self.conversation.send(&Reply::Bytes(Vec::new())).await?;
        Ok(())
    }

    /// Passes git's request on to upstream, and returns the answer.
    async fn pass_on_request(&mut self) -> Result<Response, Stop> {
        let mut measured = Vec::new();
        let mut is_whole = false;
        while !is_whole && measured.len() < MAX_MEASURED_BYTES {
            let part = receive(self.conversation).await?;
            is_whole = part.is_empty();
            measured.extend(part);
        }
        let upstream = self.upstream.clone();
        let progress = Notify::new();
        let answered = if is_whole {
            let answer = upstream.send(Body::from(measured), &progress);
            self.wait(answer).await?
        } else {
            let (sender, parts) = Channel::<Bytes, io::Error>::new(WAITING_PARTS);
            let answer = upstream.send(Body::wrap(parts), &progress);
            tokio::pin!(answer);
            let early = {
                let passing_on = pass_on(self.conversation, sender, measured, &progress);
                tokio::pin!(passing_on);
                tokio::select! {
                    biased;
                    answered = &mut answer => {
                        // The client hears of it when it has sent everything.
                        passing_on.await?;
                        Some(answered)
                    }
                    passed_on = &mut passing_on => {
                        passed_on?;
                        None
                    }
                }
            };
            match early {
                Some(answered) => answered,
                None => self.wait(answer).await?,
            }
        };
        match answered {
            Ok(response) => Ok(response),
            Err(unanswered) => Err(self.stop(unanswered).await),
        }
    }

    /// What a request without an answer means. A login that is refused is not tried again by the client's git.
    async fn stop(&self, unanswered: Unanswered) -> Stop {
        let failure = match unanswered {
            Unanswered::NotTaken => return Stop::NotTaken(None),
            Unanswered::Unknown(failure) => return Stop::Failed(failure.into()),
            Unanswered::LoginWanted(failure) => failure,
        };
        let (session, upstreams) = (self.upstream.session(), &self.engine.upstreams);
        let access = session.access();
        if let Some(login) = access.login.clone() {
            let (engine, origin) = (self.engine.clone(), session.url().origin());
            let is_own = access.has_own_login();
            // The hash of a login is slow by design.
            let recording = tokio::task::spawn_blocking(move || {
                let trials = &engine.upstreams.trials;
                trials.record_push_refused(&origin, &login, is_own);
            });
            if let Err(panic) = recording.await {
                tracing::error!("recording how a login was taken broke: {panic}");
            }
        } else {
            let known = &upstreams.push_capabilities;
            known.record_refusal(session.url(), access);
        }
        if let Some(id) = login_id(&self.login) {
            upstreams.logins.withdraw(id);
        }
        match self.login {
            SignIn::LoginAlone(_) => Stop::NotTaken(Some(failure)),
            _ => Stop::NotTaken(None),
        }
    }

    async fn next(&mut self, response: &mut Response) -> Result<Option<Bytes>, Stop> {
        let upstream = self.upstream.clone();
        let next = self.wait(upstream.next(response)).await?;
        next.map_err(|failure| Stop::Failed(failure.into()))
    }

    async fn reply(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        for part in bytes.chunks(MAX_REPLY_BYTES) {
            self.conversation.send(&Reply::Bytes(part.to_vec())).await?;
        }
        Ok(())
    }

    async fn wait<T>(&mut self, future: impl Future<Output = T>) -> Result<T, WireError> {
        let (_, mut no_progress) = tokio::sync::broadcast::channel(1);
        self.conversation
            .wait(&self.host, &mut no_progress, future)
            .await
    }

    /// Forgets that upstream has refused this login in a push.
    fn record_accepted(&self) {
        let session = self.upstream.session();
        let Some(login) = session.access().login.clone() else {
            return;
        };
        let (engine, origin) = (self.engine.clone(), session.url().origin());
        tokio::task::spawn_blocking(move || {
            engine
                .upstreams
                .trials
                .record_push_accepted(&origin, &login);
        });
    }
}

/// Receives the next part of git's request; the last one is empty.
async fn receive(conversation: &mut Conversation) -> Result<Vec<u8>, WireError> {
    match conversation.receive().await? {
        Answer::Bytes(part) => Ok(part),
        _ => Err(WireError::Closed),
    }
}

/// Receives the next part, and notifies `progress` meanwhile: nobody waits for upstream.
async fn receive_while(
    conversation: &mut Conversation,
    progress: &Notify,
) -> Result<Vec<u8>, WireError> {
    let receiving = receive(conversation);
    tokio::pin!(receiving);
    loop {
        tokio::select! {
            part = &mut receiving => return part,
            () = tokio::time::sleep(CLIENT_INTERVAL) => progress.notify_one(),
        }
    }
}

/// Passes a request on to its end. What upstream no longer reads is dropped.
async fn pass_on(
    conversation: &mut Conversation,
    mut sender: Sender<Bytes, io::Error>,
    measured: Vec<u8>,
    progress: &Notify,
) -> Result<(), WireError> {
    let mut part = measured;
    while !part.is_empty() {
        if sender.send_data(part.into()).await.is_ok() {
            progress.notify_one();
        }
        part = match receive_while(conversation, progress).await {
            Ok(part) => part,
            Err(err) => {
                // What has no end is no request.
                sender.abort(io::Error::other("the client has gone"));
                return Err(err);
            }
        };
    }
    Ok(())
}

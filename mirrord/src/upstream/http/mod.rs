//! Speaks http to an upstream: gix-transport's smart protocol over one pooled reqwest client.
//!
//! gix brings no http client that honours a proxy, a certificate authority or a cancel, and its own leaks credentials
//! on redirects; so the requests are made here. A login goes to the exact scheme, host and port it was given for.
//! [`redirects`] says which redirects are followed.

mod bodies;
mod clients;
mod plain_text;
mod receive_pack;
mod redirects;
mod single_request;

use crate::process::watch::{Watch, cancelled};
use std::{
    any::Any,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use common::{address::upstream_url::UpstreamUrl, no_progress::NoProgress, protocol::Failure};
use gix::error::ErrorExt;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use parking_lot::{Mutex, MutexGuard};
use reqwest::{
    RequestBuilder,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use tokio::{
    runtime::Handle,
    time::{timeout, timeout_at},
};

use self::bodies::{Body, Head, Post};
pub(crate) use self::receive_pack::{Beginning, ReceivePack, Unanswered};
pub(super) use self::{clients::Clients, single_request::Answer};
use super::{Access, Trouble, answers, proxy::authorization};

/// How long, and how much, is read of an answer that nobody needs.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_DRAIN_BYTES: usize = 1 << 16;

/// The http side of one session. Clones share its state: gix has one, the session the other.
#[derive(Clone)]
pub(crate) struct HttpSession(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    access: Access,
    /// The URL that was asked for; after a redirect `base` is another one.
    url: UpstreamUrl,
    state: Mutex<State>,
}

struct State {
    base: UpstreamUrl,
    watch: Watch,
    /// The failure in our words: gix wraps and rewords errors that pass through it.
    trouble: Option<Trouble>,
    /// The response whose body is being read.
    response: Option<reqwest::Response>,
    no_progress: NoProgress,
}

impl HttpSession {
    /// Prepares to talk to `url`; nothing is sent yet.
    pub(crate) fn new(
        url: &UpstreamUrl,
        access: &Access,
        clients: &Clients,
        watch: &Watch,
    ) -> Result<Self, Failure> {
        let client = clients.get(&access.http)?;
        let state = State {
            base: url.clone(),
            watch: watch.clone(),
            trouble: None,
            response: None,
            no_progress: NoProgress::new(access.http.no_progress),
        };
        Ok(Self(Arc::new(Inner {
            client,
            access: access.clone(),
            url: url.clone(),
            state: Mutex::new(state),
        })))
    }

    /// The URL that is asked.
    pub(crate) fn url(&self) -> &UpstreamUrl {
        &self.0.url
    }

    /// How it is signed in.
    pub(crate) fn access(&self) -> &Access {
        &self.0.access
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    /// Sets the sync for which the next requests are made.
    pub(crate) fn set_watch(&self, watch: &Watch) {
        self.state().watch = watch.clone();
    }

    fn watch(&self) -> Watch {
        self.state().watch.clone()
    }

    /// Takes what went wrong since the last call.
    pub(crate) fn take_trouble(&self) -> Option<Trouble> {
        self.state().trouble.take()
    }

    /// The URL to which upstream has redirected.
    pub(crate) fn moved_to(&self) -> Option<UpstreamUrl> {
        let base = self.state().base.clone();
        (base != self.0.url).then_some(base)
    }

    /// Reads what is left of a response, so that its connection serves the next request.
    pub(crate) fn drain(&self) {
        self.read_rest();
    }

    /// Returns the rest of a response, as far as it comes soon and is short. A longer one is dropped with its connection.
    fn read_rest(&self) -> Vec<u8> {
        let Some(mut response) = self.state().response.take() else {
            return Vec::new();
        };
        let mut rest = Vec::new();
        let reading = async {
            while let Ok(Some(piece)) = response.chunk().await {
                rest.extend_from_slice(&piece);
                if rest.len() > MAX_DRAIN_BYTES {
                    break;
                }
            }
        };
        let _ = Handle::current().block_on(timeout(DRAIN_TIMEOUT, reading));
        rest
    }

    fn fail(&self, trouble: Trouble) -> io::Error {
        let error = io::Error::other(trouble.failure.message.clone());
        self.state().trouble = Some(trouble);
        error
    }

    /// Waits for upstream until there is no progress for too long, or the sync is cancelled.
    fn wait<T>(&self, future: impl Future<Output = reqwest::Result<T>>) -> Result<T, Trouble> {
        let watch = self.watch();
        let limit = self.0.access.http.no_progress;
        let deadline = {
            let clock = &mut self.state().no_progress;
            clock.resume(Instant::now());
            clock.deadline().unwrap_or_else(Instant::now)
        };
        let waited = Handle::current().block_on(async {
            tokio::select! {
                result = timeout_at(deadline.into(), future) => match result {
                    Ok(result) => result.map_err(|err| answers::unreachable(&self.0.url, &err)),
                    Err(_) => Err(answers::timed_out(&self.0.url, limit)),
                },
                () = watch.cancelled() => Err(cancelled().into()),
            }
        });
        self.state().no_progress.pause(Instant::now());
        waited
    }

    /// Records progress.
    fn progressed(&self) {
        self.state().no_progress.progress(Instant::now());
    }

    /// Whether a URL is where the login belongs.
    fn takes_login(&self, to: &UpstreamUrl) -> bool {
        to.origin() == self.0.access.login_origin(&self.0.url)
    }

    fn headers<'h>(
        &self,
        to: &UpstreamUrl,
        lines: impl IntoIterator<Item = impl AsRef<str> + 'h>,
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |line: &str| {
            let Some((name, value)) = line.split_once(':') else {
                return;
            };
            let (Ok(name), Ok(mut value)) = (
                HeaderName::try_from(name.trim()),
                HeaderValue::try_from(value.trim()),
            ) else {
                return;
            };
            value.set_sensitive(name == AUTHORIZATION);
            headers.append(name, value);
        };
        for line in lines {
            // gix names itself as the user agent; our client has a name of its own.
            if !line.as_ref().starts_with("User-Agent:") {
                add(line.as_ref());
            }
        }
        // To another origin go neither the login nor the headers of the user, which may hold one.
        if to.origin() == self.0.url.origin() {
            self.0.access.http.headers.iter().for_each(|line| add(line));
        }
        headers
    }

    /// A request with the login, where it goes to where that belongs.
    fn build_request(
        &self,
        method: reqwest::Method,
        to: &UpstreamUrl,
        url: &str,
        headers: HeaderMap,
    ) -> RequestBuilder {
        let request = self.0.client.request(method, url).headers(headers);
        let Some(login) = self
            .0
            .access
            .login
            .as_ref()
            .filter(|_| self.takes_login(to))
        else {
            return request;
        };
        match &login.authtype {
            None => request.basic_auth(&login.username, Some(&login.password)),
            // A credential that no header can have is one that upstream refuses.
            Some(authtype) => match authorization(authtype, &login.password) {
                Some(value) => request.header(AUTHORIZATION, value),
                None => request,
            },
        }
    }

    fn send(
        &self,
        method: reqwest::Method,
        to: &UpstreamUrl,
        url: &str,
        headers: HeaderMap,
        body: Option<Vec<u8>>,
    ) -> Result<reqwest::Response, Trouble> {
        let mut request = self.build_request(method, to, url, headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        self.watch().asking();
        self.progressed();
        let response = self.wait(request.send())?;
        self.progressed();
        self.watch().record_progress();
        Ok(response)
    }

    /// Explains an answer of `base` whose status is not 200.
    fn refused(&self, response: reqwest::Response, base: &UpstreamUrl) -> Trouble {
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
        // A folded one has the blanks in it that each of its lines began with.
        let unfolded = |value: &HeaderValue| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let challenges: Vec<_> = challenges.map(unfolded).collect();
        let retry_after = answers::retry_after::read(status, response.headers(), SystemTime::now());
        self.state().response = Some(response);
        let text = plain_text::read(&kind.unwrap_or_default(), &self.read_rest());
        let refusal = answers::Refusal {
            status,
            text,
            challenges,
            retry_after,
        };
        let (url, access) = (&self.0.url, &self.0.access);
        if base == url {
            return refusal.explain(url, access);
        }
        // What was not sent there was not refused there.
        let asked_at = Some(Box::new(base.clone()));
        let trouble = match self.takes_login(base) {
            true => refusal.explain(base, access),
            false => refusal.explain(base, &access.without_login()),
        };
        Trouble {
            asked_at,
            ..trouble
        }
    }
}

impl Http for HttpSession {
    type Headers = Head;
    type ResponseBody = Body;
    type PostBody = Post;

    fn get(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Head, Body>> {
        let lines: Vec<String> = headers
            .into_iter()
            .map(|line| line.as_ref().to_owned())
            .collect();
        let (response, base) = self
            .discover(url, lines)
            .map_err(|trouble| self.fail(trouble).raise())?;
        self.state().base = base;
        if let Err(trouble) = answers::check_content_type(
            &self.0.url,
            response.headers(),
            "upload-pack-advertisement",
        ) {
            self.state().response = Some(response);
            let trouble = match answers::is_ref_file(&self.read_rest()) {
                true => answers::file_server(&self.0.url),
                false => trouble,
            };
            return Err(self.fail(trouble).raise());
        }
        let head = Head::of(response.headers());
        self.state().response = Some(response);
        Ok(GetResponse {
            headers: head,
            body: Body::new(self),
        })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Head, Body, Post>> {
        let lines = headers.into_iter().map(|line| line.as_ref().to_owned());
        let (post_body, headers) = bodies::post(self, url, lines.collect());
        Ok(PostResponse {
            post_body,
            headers,
            body: Body::new(self),
        })
    }

    fn configure(&mut self, _config: &dyn Any) -> gix::Result<()> {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.moved_to().map(|url| url.as_str().to_owned())
    }
}

//! A push over http (gitprotocol-http(5)): upstream's advertisement for pushes, and the request that changes its refs. The
//! server keeps no state between the two, so that the request alone is enough where the advertisement is known.

use std::time::Duration;

use common::{packs::pkt_line::Header, protocol::Failure};
use hyper::body::Bytes;
use reqwest::{
    Body, Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use tokio::{sync::Notify, time::timeout};

use super::{HttpSession, plain_text};
use crate::upstream::answers::{self, Refusal};

/// How much of a page is read that says why a request is refused.
const MAX_PAGE_BYTES: usize = 1 << 16;

/// Upstream's `git receive-pack`, over the connection that syncs use.
#[derive(Clone)]
pub(crate) struct ReceivePack(HttpSession);

/// Why a request has no answer.
pub(crate) enum Unanswered {
    /// Upstream has certainly done nothing: it was not reached, or takes no such request.
    NotTaken,
    /// Upstream has done nothing, and wants another login than it was given, if any.
    LoginWanted(Failure),
    /// Upstream may have done what was asked.
    Unknown(Failure),
}

/// What an advertisement begins with.
pub(crate) enum Beginning {
    /// More of it has to come.
    Incomplete,
    /// It is none.
    NotGit,
    /// It is one.
    Complete {
        /// Where the packets begin that a client of another transport gets as well.
        at: usize,
        /// The capabilities.
        capabilities: Vec<u8>,
    },
}

impl ReceivePack {
    /// The one with which this session talks.
    pub(crate) fn new(session: HttpSession) -> Self {
        Self(session)
    }

    /// The session.
    pub(crate) fn session(&self) -> &HttpSession {
        &self.0
    }

    /// Asks for the advertisement.
    pub(crate) async fn advertisement(&self) -> Result<Response, Unanswered> {
        let request = self.request(Method::GET, "/info/refs?service=git-receive-pack");
        let response = self.answer(request, &Notify::new()).await?;
        let kind = "receive-pack-advertisement";
        match answers::check_content_type(&self.0.0.url, response.headers(), kind) {
            Ok(()) => Ok(response),
            Err(_) => Err(Unanswered::NotTaken),
        }
    }

    /// Sends a request that changes refs. `progress` is notified of each part of it that is on its way.
    pub(crate) async fn send(&self, body: Body, progress: &Notify) -> Result<Response, Unanswered> {
        let request = self
            .request(Method::POST, "/git-receive-pack")
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-git-receive-pack-request"),
            )
            .header(
                ACCEPT,
                HeaderValue::from_static("application/x-git-receive-pack-result"),
            )
            .body(body);
        let response = self.answer(request, progress).await?;
        let kind = "receive-pack-result";
        match answers::check_content_type(&self.0.0.url, response.headers(), kind) {
            Ok(()) => Ok(response),
            Err(trouble) => Err(Unanswered::Unknown(*trouble.failure)),
        }
    }

    /// Returns the next part of an answer; None at its end.
    pub(crate) async fn next(&self, response: &mut Response) -> Result<Option<Bytes>, Failure> {
        let (url, limit) = (&self.0.0.url, self.0.0.access.http.no_progress);
        match timeout(limit, response.chunk()).await {
            Ok(part) => part.map_err(|err| *answers::unreachable(url, &err).failure),
            Err(_) => Err(*answers::timed_out(url, limit).failure),
        }
    }

    fn request(&self, method: Method, below: &str) -> RequestBuilder {
        let url = &self.0.0.url;
        let no_lines: [&str; 0] = [];
        let headers = self.0.headers(url, no_lines);
        self.0
            .build_request(method, url, &format!("{url}{below}"), headers)
    }

    async fn answer(
        &self,
        request: RequestBuilder,
        progress: &Notify,
    ) -> Result<Response, Unanswered> {
        let (url, access) = (&self.0.0.url, &self.0.0.access);
        let limit = access.http.no_progress;
        let answer = request.send();
        tokio::pin!(answer);
        let answered = loop {
            tokio::select! {
                answered = &mut answer => break answered,
                () = progress.notified() => {}
                () = tokio::time::sleep(limit) => {
                    return Err(Unanswered::Unknown(*answers::timed_out(url, limit).failure));
                }
            }
        };
        let response = match answered {
            Err(err) if err.is_connect() => return Err(Unanswered::NotTaken),
            Err(err) => {
                return Err(Unanswered::Unknown(
                    *answers::unreachable(url, &err).failure,
                ));
            }
            Ok(response) => response,
        };
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED => {
                Err(Unanswered::LoginWanted(self.refused(response, limit).await))
            }
            status if status.is_redirection() || status.is_client_error() => {
                Err(Unanswered::NotTaken)
            }
            _ => Err(Unanswered::Unknown(self.refused(response, limit).await)),
        }
    }

    /// Explains an answer that is no success.
    async fn refused(&self, mut response: Response, limit: Duration) -> Failure {
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let (status, mut body) = (response.status(), Vec::new());
        while body.len() < MAX_PAGE_BYTES
            && let Ok(Ok(Some(part))) = timeout(limit, response.chunk()).await
        {
            body.extend_from_slice(&part);
        }
        let refusal = Refusal {
            status,
            text: plain_text::read(&kind.unwrap_or_default(), &body),
            challenges: Vec::new(),
            retry_after: None,
        };
        *refusal.explain(&self.0.0.url, &self.0.0.access).failure
    }
}

impl Beginning {
    /// Reads the beginning of an advertisement: over http a line that names the service comes before it.
    pub(crate) fn read(advertisement: &[u8]) -> Self {
        let mut at = 0;
        let mut begin = None;
        loop {
            let Some(digits) = advertisement.get(at..at + 4) else {
                return Self::Incomplete;
            };
            let digits = digits.try_into().unwrap_or_default();
            let length = match Header::parse(digits) {
                Some(Header::Line(length)) => length,
                Some(Header::Flush) => {
                    at += 4;
                    continue;
                }
                _ => return Self::NotGit,
            };
            let Some(line) = advertisement.get(at + 4..at + 4 + length) else {
                return Self::Incomplete;
            };
            if let Some(zero) = line.iter().position(|byte| *byte == 0) {
                return Self::Complete {
                    at: begin.unwrap_or(at),
                    capabilities: line[zero + 1..].trim_ascii_end().to_vec(),
                };
            }
            if begin.is_some() || !line.starts_with(b"# service=") {
                return Self::NotGit;
            }
            at += 4 + length;
            begin = Some(at + 4);
        }
    }
}
